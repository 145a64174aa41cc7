"""What inference hands around: a portrait made ready, and the frames of one video."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from vasa.inference.paste import Surround
from vasa.preprocess.align import FoundFace
from vasa.preprocess.plate import Backdrop
from vasa.records import VIDEO_FPS


@dataclass(slots=True)
class Portrait:
    """A portrait made ready once, for any number of videos. picture: its crop, uint8 (H, H, 3). motion:
    (1, E), its own. backdrop: what frames are laid over; None: they stay as rendered. surround: the larger
    picture that they are put back into; None: none. openings: (3,), of its eyes and lips, where landmarks
    that tell them were seen.
    """

    picture: np.ndarray
    found: FoundFace
    appearance: Any
    motion: Tensor
    seconds: float
    backdrop: Backdrop | None = None
    surround: Surround | None = None
    openings: np.ndarray | None = None


@dataclass(slots=True)
class Generation:
    """The frames of one video, made as they are asked for; iterate once. timings: seconds spent so far, by
    part. shape: height and width of the frames.
    """

    portrait: Portrait
    num_frames: int
    seed: int
    timings: dict[str, float]
    shape: tuple[int, int]
    _frames: Iterator[np.ndarray]
    fps: int = field(default=VIDEO_FPS)

    @property
    def size(self) -> int:
        """Height and width of the portrait's crop."""
        return self.portrait.picture.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._frames

    def close(self) -> None:
        """No more frames are wanted: what makes them ends."""
        if isinstance(self._frames, Generator):
            self._frames.close()
