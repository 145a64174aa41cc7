"""Where faces are in a photograph: insightface's SCRFD where its file is, else the frontal cascade that
scikit-image carries.

Both give boxes and five points (eyes, nose tip, mouth corners) in pixels of the photograph, the largest face
first. The cascade's points are only where a level face has them on average; ``preprocess/align.py`` refines
them. Knows no crop rule.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from vasa.pretrained.config import DetectorConfig

SCRFD_PX = 640
log = logging.getLogger(__name__)


@dataclass(slots=True)
class FaceBox:
    """One face. box: (x0, y0, x1, y1) and points (5, 2), viewer's left first, in pixels of the photograph.
    score in [0, 1].
    """

    box: np.ndarray
    points: np.ndarray
    score: float

    @property
    def area(self) -> float:
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


class Detector(Protocol):
    """name: what reports call this way of finding a face. is_exact: whether the points are measured, not
    typical.
    """

    name: str
    is_exact: bool

    def detect(self, photo: np.ndarray, smallest: float = 0.0) -> list[FaceBox]:
        """Faces of a photograph (H, W, 3) uint8 RGB, the largest first. smallest: pixels of a box's side;
        where it is known, as of a face seen a moment before, smaller ones are not looked for, and none at
        length.
        """
        ...


def build_detector(config: DetectorConfig) -> Detector:
    """SCRFD where the config names its file, else the bundled cascade. Raises: FileNotFoundError when a named
    file is missing.
    """
    return ScrfdDetector(config) if config.scrfd else CascadeDetector(config)


class ScrfdDetector:
    """SCRFD (Guo et al. 2021, "Sample and Computation Redistribution for Efficient Face Detection") through
    insightface.

    Released models see a fixed 640 x 640 picture and miss a face that nearly fills it, so a photograph
    without a finding is looked at again with a quarter and a half of its size added on every side. The
    network is convolutional, so its file serves pictures of ``scrfd_px`` too: 320 takes a quarter of the
    time, and moves the crop of a large face by 2 px of 256 (three seconds each of eight clips).
    """

    name, is_exact = "scrfd", True
    paddings = (0.0, 0.25, 0.5)

    def __init__(self, config: DetectorConfig) -> None:
        path = config.scrfd
        if path is None or not path.is_file():
            raise FileNotFoundError(
                f"detector.scrfd={str(path)!r} does not exist; give insightface's scrfd .onnx file, or "
                "leave it out."
            )
        self._model: Any = _scrfd(path, config.scrfd_px)
        self._model.prepare(ctx_id=-1, input_size=(config.scrfd_px,) * 2, det_thresh=config.min_score)

    def detect(self, photo: np.ndarray, smallest: float = 0.0) -> list[FaceBox]:
        """See ``Detector``; it takes the same time for all sizes."""
        for share in self.paddings:
            pad = round(share * max(photo.shape[:2]))
            padded = np.pad(photo, ((pad, pad), (pad, pad), (0, 0)))
            boxes, points = self._model.detect(np.ascontiguousarray(padded[:, :, ::-1]))
            if len(boxes):
                faces = [
                    FaceBox(b[:4] - pad, p - pad, float(b[4])) for b, p in zip(boxes, points, strict=True)
                ]
                return sorted(faces, key=lambda face: -face.area)
        return []


def _scrfd(path: Path, px: int) -> Any:
    """insightface's reader of the file, for pictures of px * px, on as many threads as torch uses."""
    import onnx
    import onnxruntime
    from insightface.model_zoo import get_model
    from insightface.model_zoo.scrfd import SCRFD

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    providers = ["CPUExecutionProvider"]
    model = get_model(str(path), providers=providers, sess_options=options)
    if not isinstance(model, SCRFD):
        raise ValueError(
            f"detector.scrfd={str(path)!r} is not a face detector; give insightface's scrfd .onnx file."
        )
    if px == SCRFD_PX:
        return model
    graph = onnx.load(path)
    for size in graph.graph.input[0].type.tensor_type.shape.dim[2:]:
        size.dim_value = px
    for output in graph.graph.output:
        output.type.tensor_type.shape.dim[-2].dim_param = f"anchors_{output.name}"  # follow from the size
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=providers)
    return SCRFD(model_file=None, session=session)


class CascadeDetector:
    """Viola and Jones' cascade on local binary patterns, level frontal faces, with the file that scikit-image
    carries.

    It is trained on level faces with some room around them, so a photograph without a finding is looked at
    again with room added and turned by 20 degrees either way.
    """

    name, is_exact = "cascade", False
    attempts = ((0.0, 0.0, 6), (0.25, 0.0, 8), (0.1, 20.0, 8), (0.1, -20.0, 8))
    """(Room added on each side, degrees turned, hits that must agree.) Faces in 15 photographs and paintings
    had 8 hits or more at the first attempt, and 17 pictures without a face never reached these numbers.
    """

    TYPICAL_POINTS = np.array([[-0.19, -0.11], [0.19, -0.11], [0.0, 0.12], [-0.145, 0.285], [0.145, 0.285]])
    """Five points of a level face in the cascade's box, in box sides from its middle: means over portraits
    and paintings.
    """

    def __init__(self, config: DetectorConfig) -> None:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade

        self._cascade = Cascade(lbp_frontal_face_cascade_filename())
        self._work_px = config.cascade_px

    def detect(self, photo: np.ndarray, smallest: float = 0.0) -> list[FaceBox]:
        """See ``Detector``; most of the time goes into the smallest."""
        grey = Image.fromarray(photo).convert("L")
        scale = self._work_px / max(grey.size)
        grey = grey.resize(
            [max(1, round(side * scale)) for side in grey.size],
            Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC,
        )
        for room, degrees, agreeing in self.attempts[:1] if smallest else self.attempts:
            pad = round(room * max(grey.size))
            faces = self._look(grey, scale, pad, degrees, agreeing, smallest * scale)
            if faces:
                return faces
        return []

    def _look(
        self, grey: Image.Image, scale: float, pad: int, degrees: float, agreeing: int, smallest: float
    ) -> list[FaceBox]:
        """Faces of the picture padded and turned counter-clockwise, in pixels of the photograph it is a copy
        of at ``scale``. smallest: px of the copy.
        """
        padded = Image.fromarray(np.pad(np.asarray(grey), pad, mode="edge"))
        turned = np.asarray(padded.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=128))
        shortest = min(turned.shape)
        least = min(max(24, round(0.09 * shortest), round(smallest)), shortest)
        found = self._cascade.detect_multi_scale(turned, 1.15, 1, (least,) * 2, (shortest,) * 2, agreeing)
        middle = np.array([padded.width / 2, padded.height / 2])
        angle = np.deg2rad(degrees)
        back = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

        def face(hit: dict[str, int]) -> FaceBox:
            centre = np.array([hit["c"] + hit["width"] / 2, hit["r"] + hit["height"] / 2])
            centre = back @ (centre - middle) + middle - pad
            points = self.TYPICAL_POINTS @ back.T * hit["width"] + centre
            half = np.array([hit["width"], hit["height"]]) / 2
            return FaceBox(np.concatenate([centre - half, centre + half]) / scale, points / scale, 1.0)

        return _without_nested(sorted(map(face, found), key=lambda f: -f.area))


def _without_nested(faces: list[FaceBox]) -> list[FaceBox]:
    """Leaves out a box whose middle lies in a larger one: the cascade finds a face at several sizes."""
    kept: list[FaceBox] = []
    for face in faces:
        x, y = (face.box[:2] + face.box[2:]) / 2
        if not any(k.box[0] < x < k.box[2] and k.box[1] < y < k.box[3] for k in kept):
            kept.append(face)
    return kept
