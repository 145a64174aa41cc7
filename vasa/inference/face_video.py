"""A video of a face at 25 frames a second, and the square around the face in every frame.

The file is gone through once to look for the face, five times a second, so that "no face in it" is said
before anything is made; then its frames can be had again and again, any stretch, in any order. What is kept
of a frame is the square: memory hardly grows with the length. A face that stays where it was keeps the
first square; else the square follows it smoothly, and ``in_first_square`` takes that out of the motion again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import median_filter, uniform_filter1d
from torch import Tensor

from vasa.preprocess.align import FaceAligner, FoundFace
from vasa.preprocess.crop import Crop, picture_size
from vasa.preprocess.tracking import LOOK_PX
from vasa.progress import counted
from vasa.records import MotionLayout
from vasa.video import VideoReader, resample_indices

WORK_PX = 1920
"""Longest side of frames; larger ones are reduced."""
LOOK_EVERY = 5
"""Frames from one look for the face to the next."""
PATIENCE = 1
"""Looks in a row that may miss the face while it is taken to be there still."""
SHIFT_LIMIT, ZOOM_LIMIT = 0.1, 1.2
"""A face that wanders farther than this, in sides of its first square, or changes its size by more, is
followed."""
SMOOTH = 11
"""Frames over which a square that follows is averaged."""

Square = Callable[[np.ndarray, FoundFace], Crop]
"""Of a frame (H, W, 3) and the face that was found in it: the square that is cut."""


class FaceVideo:
    """crops: (T, 3) centre_x, centre_y and side, pixels of a frame, NaN nowhere. seen: (T,) whether the face
    is there. name: for messages.
    """

    def __init__(
        self,
        path: Path,
        aligner: FaceAligner,
        framed: bool = False,
        most: int | None = None,
        name: str = "driving",
        square: Square | None = None,
    ) -> None:
        """framed: frames are cut by the crop rule already, and nothing is searched. most: frames to use.
        square: of a frame and the face in it, where another rule than the crop rule shall hold.

        Raises: FileNotFoundError; ValueError where it is no video, or no look finds a face.
        """
        self.path, self._reader, self._square = path, VideoReader(path), square
        self._indices = resample_indices(self._reader.times_s, self._reader.duration_s)[:most]
        if framed:
            height, width = next(self.frames(0, 1)).shape[:2]
            if height != width:
                raise ValueError(
                    f"{name} {str(path)!r} has frames of {width}x{height} pixels; wanted square ones, cut by "
                    "the crop rule."
                )
            self.crops = np.tile([width / 2, width / 2, float(width)], (len(self), 1))
            self.seen = np.ones(len(self), bool)
        else:
            self.crops, self.seen = self._searched(aligner, name)

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def start_s(self) -> float:
        """When the first frame is shown on the file's own clock, which its sound shares."""
        return self._reader.start_s

    @property
    def first(self) -> int:
        """The first frame that shows the face: whose square is the framing of all motion."""
        return int(np.argmax(self.seen))

    def frames(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames ``start`` to ``stop`` - 1, uint8 (H, W, 3) RGB."""
        for frame in self._reader.at(self._indices[start:stop]):
            yield _reduced(frame, WORK_PX)

    def crop(self, number: int, min_size: int, max_size: int) -> Crop:
        """The square of a frame, as a picture whose size is between two bounds and the same in all."""
        x, y, side = self.crops[number].tolist()
        return Crop(x, y, side, picture_size(self.crops[self.first, 2], min_size, max_size))

    def in_first_square(self, motion: Tensor, start: int, layout: MotionLayout) -> Tensor:
        """Raw motion (t, E) read in the squares of frames from ``start`` on, as seen in the first square."""
        crops, first = self.crops[start : start + len(motion)], self.crops[self.first]
        larger = crops[:, 2:] / first[2]
        moved = (crops[:, :2] - first[:2]) / (first[2] / 2) * [1, -1]  # a pose's y points up
        motion = motion.clone()
        ratio, shift = (torch.from_numpy(v).to(motion) for v in (larger, moved))
        motion[:, layout.translation] = motion[:, layout.translation] * ratio + shift
        motion[:, layout.scale] += ratio.log()
        return motion

    def _searched(self, aligner: FaceAligner, name: str) -> tuple[np.ndarray, np.ndarray]:
        places = np.unique([*range(0, len(self), LOOK_EVERY), len(self) - 1])
        looks, last = np.full((len(places), 3), np.nan), None
        seen = counted(
            f"looks at {name} {self.path.name}", self._reader.at(self._indices[places]), len(places)
        )
        for look, frame in enumerate(seen):
            frame = _reduced(frame, WORK_PX)
            small = _reduced(frame, LOOK_PX)
            scale = frame.shape[1] / small.shape[1]
            try:
                found = aligner.find(small, 16, LOOK_PX, last=last)
            except ValueError:
                continue
            last = found.crop
            place = last if self._square is None else self._square(small, found)
            looks[look] = np.array([place.centre_x, place.centre_y, place.side]) * scale
        found_at = np.flatnonzero(np.isfinite(looks[:, 0]))
        if len(found_at) == 0:
            raise ValueError(
                f"no face was found in {name} {str(self.path)!r} ({len(places)} looks); give a video of a "
                "face seen from the front."
            )
        return _followed(looks, places, found_at, len(self)), _seen(places, found_at, len(self))


def _reduced(frame: np.ndarray, longest: int) -> np.ndarray:
    """A frame whose longest side is at most ``longest``, each pixel the mean of what it stands for."""
    scale = longest / max(frame.shape[:2])
    if scale >= 1:
        return frame
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))


def _seen(places: np.ndarray, found_at: np.ndarray, num_frames: int) -> np.ndarray:
    """(T,): not before the first look that finds the face, nor after the last, nor between two that are more
    than ``PATIENCE`` missed looks apart.
    """
    seen = np.zeros(num_frames, bool)
    for here, there in pairwise(found_at):
        if there - here <= PATIENCE + 1:
            seen[places[here] : places[there] + 1] = True
    seen[places[found_at]] = True
    return seen


def _followed(looks: np.ndarray, places: np.ndarray, found_at: np.ndarray, num_frames: int) -> np.ndarray:
    """Squares (T, 3) from those that looks found (L, 3): the first for all, or along with the face."""
    found = looks[found_at]
    if len(found) > 2:
        found = median_filter(found, (3, 1), mode="nearest")  # a look that took something else for the face
    first = found[0]
    far = np.abs(found[:, :2] - first[:2]).max() / first[2]
    zoom = np.abs(np.log(found[:, 2] / first[2])).max()
    if far < SHIFT_LIMIT and zoom < math.log(ZOOM_LIMIT):
        return np.tile(first, (num_frames, 1))
    ticks = np.arange(num_frames)
    path = np.stack([np.interp(ticks, places[found_at], found[:, i]) for i in range(3)], 1)
    return uniform_filter1d(path, SMOOTH, axis=0, mode="nearest")
