"""Motion in files: a performance saved as it was shown, to be replayed on any portrait; and tables of it.

What is saved is raw motion as it was rendered, after every edit, and the portrait's own motion. So a replay
on the same portrait is the same video to the bit, whatever options made it, and on another it is moved to
that portrait's own pose by the difference of the two. Motion before retargeting is not kept: nothing but the
pose of a portrait was added to it.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vasa.checkpoint import CheckpointError, atomic_path, read_file, write_file
from vasa.face.keypoints.space import EXPRESSION_NAMES, KeypointFace
from vasa.face.space import FaceSpace
from vasa.records import CONTROL_NAMES, POSE_NAMES, VIDEO_FPS

KIND = "saved motion"
ENDING = ".motion.safetensors"
CSV_ENDING = ".motion.csv"
AT_ONCE = 256
ANGLES = ("yaw", "pitch", "roll", "gaze_yaw", "gaze_pitch")
"""Columns of a table that are in degrees."""


@dataclass(slots=True)
class SavedMotion:
    """values: (T, E) float32 raw motion as shown. portrait: (1, E), of what it was shown on. face_hash: of
    the motion encoders whose language it speaks.
    """

    values: Tensor
    portrait: Tensor
    face_hash: str
    seed: int = 0
    fps: int = VIDEO_FPS

    def save(self, path: Path) -> None:
        """Writes a file. Raises: OSError."""
        config = {"face_hash": self.face_hash, "fps": self.fps}
        write_file(
            path, KIND, {"values": self.values, "portrait": self.portrait}, config, {"seed": self.seed}
        )

    @classmethod
    def load(cls, path: Path, face_hash: str, width: int) -> SavedMotion:
        """Reads a file. Raises: FileNotFoundError; CheckpointError for another file, or another face space's.

        face_hash, width: of the face space that will show it.
        """
        if not path.is_file():
            raise FileNotFoundError(
                f"motion {str(path)!r} does not exist; give one made by save_motion=true."
            )
        file = read_file(path, KIND)
        config, values = file.config, file.tensors["values"]
        if config["face_hash"] != face_hash:
            raise CheckpointError(
                f"motion {str(path)!r} was saved with motion encoders {config['face_hash'][:12]}, but this "
                f"checkpoint has {face_hash[:12]}; replay it with the checkpoint that made it."
            )
        if config["fps"] != VIDEO_FPS or values.ndim != 2 or values.shape[1] != width or not len(values):
            raise CheckpointError(
                f"motion {str(path)!r} holds {tuple(values.shape)} at {config['fps']} fps; wanted "
                f"(T, {width}) at {VIDEO_FPS}."
            )
        return cls(values, file.tensors["portrait"], face_hash, int(file.meta.get("seed", 0)))

    def chunks(self) -> Iterator[Tensor]:
        """Its values (t, E), some at a time."""
        yield from self.values.split(AT_ONCE)


class MotionRecorder:
    """An ``Edit`` that changes nothing and remembers everything: the last one. Ten minutes are 2 MB."""

    def __init__(self) -> None:
        self._chunks: list[Tensor] = []

    def __call__(self, motion: Tensor, first: int) -> Tensor:
        self._chunks.append(motion.detach().to("cpu", torch.float32, copy=True))
        return motion

    @property
    def values(self) -> Tensor:
        """(T, E), of the frames made so far."""
        return torch.cat(self._chunks)


@torch.inference_mode()
def write_table(path: Path, motion: Tensor, face: FaceSpace, device: torch.device) -> None:
    """Raw motion (T, E) as CSV, a row a frame: time in seconds, pose and the eleven controls in the units of
    records.py, angles in degrees; of a keypoint space, in place of controls, each point's expression. To be
    read by people and programs; only safetensors is replayed.
    """
    if isinstance(face, KeypointFace):
        said, named = motion[:, face.layout.dynamics], EXPRESSION_NAMES
    else:
        said, named = face.controls(motion.to(device)).cpu(), CONTROL_NAMES
    numbers = torch.cat([motion[:, face.layout.pose], said], 1).double().numpy()
    names = (*POSE_NAMES, *named)
    numbers *= [math.degrees(1) if name in ANGLES else 1.0 for name in names]
    place = names.index("log_scale")
    numbers[:, place] = np.exp(numbers[:, place])
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time", *names[:place], "scale", *names[place + 1 :]])
        for number, row in enumerate(numbers):
            writer.writerow([f"{number / VIDEO_FPS:.2f}", *(f"{value:.5g}" for value in row)])
