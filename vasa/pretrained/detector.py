"""Where faces are in a photograph: insightface's SCRFD where its file is, else the frontal cascade that
scikit-image carries.

Both give boxes and five points (eyes, nose tip, mouth corners) in pixels of the photograph, the largest face
first. The cascade's points are only where a level face has them on average; ``preprocess/align.py`` refines
them. Knows no crop rule.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from vasa.pretrained.config import DetectorConfig

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

    def detect(self, photo: np.ndarray) -> list[FaceBox]:
        """Faces of a photograph (H, W, 3) uint8 RGB, the largest first."""
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
    without a finding is looked at again with a quarter and a half of its size added on every side.
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
        from insightface.model_zoo import get_model

        self._model: Any = get_model(str(path), providers=["CPUExecutionProvider"])
        if self._model is None or not hasattr(self._model, "detect"):
            raise ValueError(
                f"detector.scrfd={str(path)!r} is not a face detector; give insightface's scrfd .onnx file."
            )
        self._model.prepare(ctx_id=-1, input_size=(640, 640), det_thresh=config.min_score)

    def detect(self, photo: np.ndarray) -> list[FaceBox]:
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

    def detect(self, photo: np.ndarray) -> list[FaceBox]:
        grey = Image.fromarray(photo).convert("L")
        scale = self._work_px / max(grey.size)
        grey = grey.resize(
            [max(1, round(side * scale)) for side in grey.size],
            Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC,
        )
        for room, degrees, agreeing in self.attempts:
            faces = self._look(grey, scale, round(room * max(grey.size)), degrees, agreeing)
            if faces:
                return faces
        return []

    def _look(
        self, grey: Image.Image, scale: float, pad: int, degrees: float, agreeing: int
    ) -> list[FaceBox]:
        """Faces of the picture padded and turned counter-clockwise, in pixels of the photograph it is a copy
        of at ``scale``.
        """
        padded = Image.fromarray(np.pad(np.asarray(grey), pad, mode="edge"))
        turned = np.asarray(padded.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=128))
        shortest = min(turned.shape)
        smallest = (max(24, round(0.09 * shortest)),) * 2
        found = self._cascade.detect_multi_scale(turned, 1.15, 1, smallest, (shortest,) * 2, agreeing)
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
