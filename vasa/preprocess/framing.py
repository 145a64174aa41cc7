"""The frames of a clip as every network here expects a face: cut by the crop rule, from anybody's video.

A face is looked for in some frames, spread evenly; between them its place and size are interpolated, unless
it hardly moves: then one crop serves the whole clip, so that the finder's noise does not become head motion.
"""

from __future__ import annotations

import numpy as np

from vasa.preprocess.align import FaceAligner
from vasa.preprocess.crop import Crop, cut
from vasa.pretrained.config import DetectorConfig

LOOKS = 8
"""Frames of a clip in which the face is looked for, at least; one a second in longer clips."""
FRAMES_PER_LOOK = 25
MIN_FOUND = 0.6
"""Share of the looks that must find a face."""
STILL_SHARE = 0.1
"""Of the crop's side: a face that wanders or grows less keeps one crop."""


class ClipFramer:
    """Crops clips to ``size`` px; the last clip's crop is kept, since every metric asks for it."""

    def __init__(self, detector: DetectorConfig, size: int = 256) -> None:
        self.aligner, self.size = FaceAligner(detector), size
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 (T, H, W, 3) RGB -> uint8 (T, size, size, 3).

        Raises: ValueError where most looks find no face.
        """
        if self._last is None or self._last[0] is not frames:
            self._last = frames, self._framed(frames)
        return self._last[1]

    def _framed(self, frames: np.ndarray) -> np.ndarray:
        count = min(len(frames), max(LOOKS, len(frames) // FRAMES_PER_LOOK))
        places = np.linspace(0, len(frames) - 1, count).round().astype(int)
        seen, found = [], []
        for place in places:
            try:
                crop = self.aligner.find(frames[place], self.size, self.size).crop
            except ValueError:
                continue
            seen.append(place)
            found.append((crop.centre_x, crop.centre_y, crop.side))
        if len(seen) < max(MIN_FOUND * count, 1):
            raise ValueError(f"no face in {count - len(seen)} of {count} looks")
        track = self._track(np.array(seen), np.array(found), len(frames))
        crops = [Crop(x, y, side, self.size) for x, y, side in track]
        return np.stack([cut(frame, crop) for frame, crop in zip(frames, crops, strict=True)])

    @staticmethod
    def _track(seen: np.ndarray, crops: np.ndarray, num_frames: int) -> np.ndarray:
        """Centre and side (T, 3) for every frame."""
        middle = np.median(crops, 0)
        if (np.abs(crops - middle).max(0) < STILL_SHARE * middle[2]).all():
            return np.tile(middle, (num_frames, 1))
        moments = np.arange(num_frames)
        return np.stack([np.interp(moments, seen, crops[:, axis]) for axis in range(3)], 1)
