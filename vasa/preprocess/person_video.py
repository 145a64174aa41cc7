"""Reads the video of one person, for ``scripts/personalise.py``: finds the face, follows it, cuts it out.

Looks at some frames of each second; between looks the face is where they say it is. Where it stays in place
one square serves the whole video, as in every clip here; where it wanders the square goes along, smoothly.
Refuses what is not a video of one person alone. Goes through the file twice, so that memory holds small crops
only.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from vasa.data.person_video import PersonVideo, as_frames
from vasa.preprocess.align import FaceAligner, FoundFace
from vasa.preprocess.crop import Crop, cut
from vasa.preprocess.framing import WANDERS
from vasa.pretrained.config import DetectorConfig
from vasa.progress import counted
from vasa.records import VIDEO_FPS
from vasa.video import VideoReader, frame_count

log = logging.getLogger(__name__)

LOOK_EVERY = 5  # frames
MIN_SECONDS = 1.0
MIN_FOUND = 0.6  # share of the looks that must find a face
SECOND_FACE, MAX_CROWDED = 0.3, 0.3
"""Area of another face, of the largest, from which it counts; and the share of looks that may show one."""
JUMP = 0.6
"""Of the square's side: farther apart in two looks, a fifth of a second, faces are not one person's."""
SMOOTH = 3.0
"""Frames: standard deviation of the smoothing of a way that is followed."""


@dataclass(slots=True)
class PersonReader:
    """max_seconds: of a video that are read, from its start."""

    detector: DetectorConfig
    max_seconds: float

    def __call__(self, path: Path, size: int) -> PersonVideo:
        """Crops of ``size`` px of the frames of a video in which the face is seen.

        Raises: FileNotFoundError; ValueError for a file that is no video, is too short, or does not show one
        person alone.
        """
        reader = VideoReader(path)
        count = frame_count(reader.duration_s)
        if reader.duration_s < MIN_SECONDS:
            raise ValueError(
                f"video {path.name!r} lasts {reader.duration_s:.1f} s; wanted at least {MIN_SECONDS:g} s, "
                "better a minute."
            )
        longest = int(self.max_seconds * VIDEO_FPS)
        if count > longest:
            log.info("%s: its first %g s are used.", path.name, self.max_seconds)
            count = longest
        looks = self._look(reader, count, size)
        _check(path.name, looks)
        squares, seen = _track(looks, count)
        numbers = np.flatnonzero(seen)
        pictures = [
            cut(frame, _crop(squares[number], size))
            for number, frame in enumerate(counted("frames", reader.resampled(stop=count), count))
            if seen[number]
        ]
        points = np.full((5, 2), np.nan)
        first = looks[0]
        if first is not None and first.points is not None:
            points = _crop(squares[numbers[0]], size).to_crop(first.points)
        return PersonVideo(
            as_frames(pictures),
            torch.from_numpy(squares[numbers]).float(),
            torch.from_numpy(numbers),
            torch.from_numpy(points).float(),
        )

    def _look(self, reader: VideoReader, count: int, size: int) -> list[FoundFace | None]:
        """What every LOOK_EVERY-th frame shows; None: no face."""
        aligner = FaceAligner(self.detector, remarks=logging.DEBUG)
        found: list[FoundFace | None] = []
        last: Crop | None = None
        frames = counted("frames looked at", reader.resampled(stop=count), count)
        for frame in islice(frames, 0, None, LOOK_EVERY):
            try:
                found.append(aligner.find(frame, size, size, last=last))
                last = found[-1].crop if found[-1] else last
            except ValueError:
                found.append(None)
                last = None
        return found


def read_fine(path: Path, video: PersonVideo, places: Sequence[int], size: int) -> Tensor:
    """Frames of a video cut anew at ``size`` px: uint8 (N, 3, size, size). places: ascending."""
    wanted = {int(video.numbers[place]): _crop(video.squares[place].numpy(), size) for place in places}
    stop = max(wanted) + 1
    frames = enumerate(VideoReader(path).resampled(stop=stop))
    return as_frames([cut(f, wanted[number]) for number, f in frames if number in wanted])


def _crop(square: np.ndarray, size: int) -> Crop:
    x, y, side = square.tolist()
    return Crop(x, y, side, size)


def _check(name: str, looks: list[FoundFace | None]) -> None:
    """Raises: ValueError where the looks are not those at one person."""
    found = [look for look in looks if look is not None]
    if len(found) < max(1.0, MIN_FOUND * len(looks)):
        raise ValueError(
            f"video {name!r} shows no face in {len(looks) - len(found)} of {len(looks)} looks; give one in "
            "which the person's face is seen all the time, from the front."
        )
    crowded = sum(look.second_share >= SECOND_FACE for look in found)
    if crowded > MAX_CROWDED * len(found):
        raise ValueError(
            f"video {name!r} shows two people in {crowded} of {len(found)} looks; give one of the "
            "person alone."
        )
    for number, (before, after) in enumerate(zip(looks[:-1], looks[1:], strict=True), 1):
        if before is None or after is None:
            continue
        way = np.hypot(after.crop.centre_x - before.crop.centre_x, after.crop.centre_y - before.crop.centre_y)
        if way > JUMP * before.crop.side:
            raise ValueError(
                f"video {name!r} jumps from one face to another at {number * LOOK_EVERY / VIDEO_FPS:.1f} s; "
                "give one uncut shot of the person alone."
            )


def _track(looks: list[FoundFace | None], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Squares (T, 3), centre and side of each frame's, and in which frames (T,) the face was seen."""
    places = np.array([LOOK_EVERY * n for n, look in enumerate(looks) if look is not None])
    crops = [look.crop for look in looks if look is not None]
    centres = np.array([[crop.centre_x, crop.centre_y] for crop in crops])
    side = float(np.median([crop.side for crop in crops]))
    middle = np.median(centres, 0)
    if np.hypot(*(centres - middle).T).max() < WANDERS * side:
        way = np.tile(middle, (count, 1))
    else:
        frames = np.arange(count)
        raw = np.stack([np.interp(frames, places, axis) for axis in centres.T], 1)
        way = gaussian_filter1d(raw, SMOOTH, axis=0, mode="nearest")
    far = np.abs(np.arange(count)[:, None] - places[None]).min(1)
    return np.concatenate([way, np.full((count, 1), side)], 1), far < LOOK_EVERY
