"""Landmarks all over a face, more than a detector's five: 203 by LivePortrait's landmark.onnx, 106 by
insightface's 2d106det.onnx, 68 by face-alignment's FAN. Each is used where its file is; none ships.

A network sees one square picture and gives points in its image coordinates. Where that square lies is
``preprocess/face_landmarks.py``'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from vasa.pretrained.config import DenseLandmarksConfig
from vasa.pretrained.fan import SIZE as FAN_PX
from vasa.pretrained.fan import FanNet
from vasa.pretrained.registry import NETWORKS
from vasa.pretrained.store import place_of

NAMES = {203: "landmarks_203", 106: "landmarks_106", 68: "fan_3d"}
"""In the registry, by number of points."""


class DenseNetwork(Protocol):
    """count: of its points. size: px of the picture that it sees."""

    count: int
    size: int

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """uint8 (size, size, 3) RGB -> points (count, 2) in its image coordinates, float64."""
        ...


def build_dense(config: DenseLandmarksConfig) -> dict[int, DenseNetwork]:
    """Every network whose file is there, by its number of points.

    Raises: FileNotFoundError where a named file is missing; ValueError, CheckpointError where a file is
    another one.
    """
    made: dict[int, DenseNetwork] = {}
    builders: dict[int, Any] = {203: Landmarks203, 106: Landmarks106, 68: Landmarks68}
    for count, build in builders.items():
        path = _file_of(count, getattr(config, f"points{count}"))
        if path is not None:
            made[count] = build(path)
    return made


def how_to_get() -> str:
    """What to do where no file is there, for messages."""
    return (
        "get LivePortrait's landmark.onnx (scripts/weights.py action=fetch names=[landmarks_203]), or name a "
        "file by landmarks.points203, landmarks.points106 or landmarks.points68"
    )


def _file_of(count: int, given: Path | None) -> Path | None:
    known = NETWORKS[NAMES[count]]
    if given is None:
        place = place_of(known)
        return place if place is not None and place.is_file() else None
    if not given.is_file():
        raise FileNotFoundError(
            f"landmarks.points{count}={str(given)!r} does not exist; get {Path(known.file).name} from "
            f"{known.source}, or leave the option out."
        )
    return given


class Landmarks203:
    """LivePortrait's: RGB in 0..1, 224 px; its third output is points in shares of the picture."""

    count, size = 203, 224

    def __init__(self, path: Path) -> None:
        self._session, self._input = _opened(path, self.size)
        outputs = self._session.get_outputs()
        if len(outputs) < 3:
            raise ValueError(f"{path} gives {len(outputs)} outputs; wanted three, as landmark.onnx does.")
        self._output, self._path = outputs[2].name, path

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """See ``DenseNetwork``."""
        given = _batch(picture) / np.float32(255)
        found = self._session.run([self._output], {self._input: given})[0]
        return _points(found, self.count, self._path) * 2 - 1


class Landmarks106:
    """insightface's: RGB in 0..255, 192 px, points from -1 to 1. A file whose graph does not normalise by
    itself takes (x - 127.5) / 128, as insightface tells it by its first layers.
    """

    count, size = 106, 192

    def __init__(self, path: Path) -> None:
        import onnx

        self._session, self._input = _opened(path, self.size)
        self._path = path
        first = [node.name for node in onnx.load(path).graph.node[:8]]
        subtracts = any(name.startswith(("Sub", "_minus")) for name in first)
        multiplies = any(name.startswith(("Mul", "_mul")) for name in first)
        self._is_raw = (subtracts and multiplies) or "bn_data" in first[:3]

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """See ``DenseNetwork``."""
        given = _batch(picture)
        if not self._is_raw:
            given = (given - np.float32(127.5)) / np.float32(128)
        return _points(self._session.run(None, {self._input: given})[0], self.count, self._path)


class Landmarks68:
    """face-alignment's 3DFAN: RGB in 0..1, 256 px."""

    count, size = 68, FAN_PX

    def __init__(self, path: Path) -> None:
        self._network = FanNet.from_published(path)

    @torch.inference_mode()
    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """See ``DenseNetwork``."""
        return self._network(torch.from_numpy(_batch(picture)) / 255)[0].double().numpy()


def _opened(path: Path, size: int) -> tuple[Any, str]:
    """An ONNX file on as many threads as torch uses, and its input's name. Raises: ValueError."""
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import InvalidProtobuf

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except InvalidProtobuf as error:
        raise ValueError(f"{path} is damaged, or no ONNX file: get it again.") from error
    given = session.get_inputs()[0]
    side = given.shape[2:] if len(given.shape) == 4 else given.shape
    if len(side) != 2 or any(isinstance(px, int) and px != size for px in side):
        raise ValueError(f"{path} takes {given.shape}; wanted pictures (1, 3, {size}, {size}).")
    return session, given.name


def _batch(picture: np.ndarray) -> np.ndarray:
    """uint8 (S, S, 3) -> float32 (1, 3, S, S)."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)


def _points(found: np.ndarray, count: int, path: Path) -> np.ndarray:
    if found.size != 2 * count:
        raise ValueError(f"{path} gives {found.shape}; wanted {count} points of two numbers.")
    return found.reshape(count, 2).astype(np.float64)
