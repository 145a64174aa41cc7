"""The frames of a clip as every network here expects a face: cut by the crop rule, from anybody's video.

One square serves the whole clip. A square that followed the face would take the head's own motion out of the
frames, and put the finder's noise in.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from vasa.preprocess.align import FaceAligner
from vasa.preprocess.crop import Crop, cut
from vasa.pretrained.config import DetectorConfig

LOOKS = 8
"""Frames of a clip, spread evenly, in which the face is looked for; in long clips one every two seconds."""
FRAMES_PER_LOOK = 50
WANDERS = 0.1
"""A face that wanders more than this share of its crop is followed where frames must show it whole: a fixed
crop would ask for a ghost of the background."""
MIN_FOUND = 0.6
"""Share of the looks that must find a face."""


def look_places(num_frames: int) -> np.ndarray:
    """Numbers of the frames of a clip in which the face is looked for."""
    count = min(num_frames, max(LOOKS, num_frames // FRAMES_PER_LOOK))
    return np.linspace(0, num_frames - 1, count).round().astype(int)


class ClipFramer:
    """Cuts clips to ``size`` px squares around the median of the places where the face was found."""

    def __init__(self, detector: DetectorConfig, size: int = 256) -> None:
        self.aligner, self.size = FaceAligner(detector, remarks=logging.DEBUG), size

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 (T, H, W, 3) RGB -> uint8 (T, size, size, 3).

        Raises: ValueError where most looks find no face.
        """
        crop, _ = self.place(frames[place] for place in look_places(len(frames)))
        return np.stack([cut(frame, crop) for frame in frames])

    def place(self, looks: Iterable[np.ndarray]) -> tuple[Crop, float]:
        """One square for the clip of which ``looks``, frames (H, W, 3), are some; and its drift: the farthest
        that a found face's square lies from its middle, in sides.

        Raises: ValueError where most looks find no face.
        """
        found, count = [], 0
        for frame in looks:
            count += 1
            try:
                crop = self.aligner.find(frame, self.size, self.size).crop
            except ValueError:
                continue
            found.append((crop.centre_x, crop.centre_y, crop.side))
        if len(found) < max(MIN_FOUND * count, 1):
            raise ValueError(f"no face in {count - len(found)} of {count} looks")
        x, y, side = np.median(found, 0).tolist()
        drift = np.abs(np.array(found)[:, :2] - [x, y]).max() / side
        return Crop(x, y, side, self.size), float(drift)
