"""One person's video as it is learned from: frames cut by the crop rule. Who cuts them is preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vasa.checkpoint import CheckpointError, read_file, write_file

KIND = "person_video"


@dataclass(slots=True)
class PersonVideo:
    """frames (T, 3, S, S) uint8, those of the video at 25 fps in which the face was seen. squares (T, 3):
    centre and side of each one's crop, pixels of the video. numbers (T,): which of the video's frames they
    are. points (5, 2): eyes, nose and mouth corners of the first, image coordinates; not finite where
    unknown.
    """

    frames: Tensor
    squares: Tensor
    numbers: Tensor
    points: Tensor

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def side_px(self) -> float:
        """Pixels of the video that a crop's side covers."""
        return float(self.squares[:, 2].median())

    def write(self, path: Path, key: dict[str, object]) -> None:
        """key: what the frames were made of, which ``read`` asks for."""
        tensors = {name: getattr(self, name) for name in ("frames", "squares", "numbers", "points")}
        write_file(path, KIND, tensors, key, {})

    @classmethod
    def read(cls, path: Path, key: dict[str, object]) -> PersonVideo | None:
        """What ``write`` wrote under the same key; None where there is none, or a damaged one."""
        try:
            stored = read_file(path, KIND)
        except (FileNotFoundError, CheckpointError):
            return None
        return cls(**stored.tensors) if stored.config == key else None


ReadVideo = Callable[[Path, int], PersonVideo]
"""A video and S, px."""
ReadFine = Callable[[Path, PersonVideo, Sequence[int], int], Tensor]
"""Some frames (their places in PersonVideo.frames, ascending) cut anew at another size: uint8 (N, 3, H,
H)."""


def as_frames(pictures: Sequence[np.ndarray]) -> Tensor:
    """uint8 (H, W, 3) each -> (N, 3, H, W)."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
