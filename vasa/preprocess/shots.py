"""Where a recording is cut: the first pictures of shots, found while it is read.

A cut changes the picture everywhere and what it shows in all (differences of thumbnails, distances of
histograms), at once, and for good: a flash or a damaged picture goes by, and what is after it resembles
what was before. So a cut is told three pictures late. A head that moves changes thumbnails but hardly
histograms. Fades and dissolves are not looked for: no two neighbours differ much in them; what then shows
another face elsewhere is the tracker's to see. Knows no face.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from vasa.preprocess.picture import Picture

CHANGE = 0.06
"""Mean difference of thumbnails, of the range, from which two neighbours may be of two shots."""
OTHER_COLOURS = 0.15
"""Half the summed difference of histograms (0 the same, 1 disjoint) which they must then reach too."""
UNUSUAL = 3.0
"""How many times the change must exceed that between the pictures before: all is in motion in some shots."""
FLASH_PICTURES = 3
_MEMORY = 12
_THUMB = 32


@dataclass(slots=True)
class _Glance:
    """What is compared. thumb: float32 (32, 32, 3) luma, twice the colours. histogram: (16 + 64,) shares."""

    thumb: np.ndarray
    histogram: np.ndarray

    @classmethod
    def at(cls, picture: Picture) -> _Glance:
        planes = [_small(plane) for plane in (picture.luma, picture.blue, picture.red)]
        luma = np.bincount(planes[0].ravel() // 16, minlength=16)
        colours = np.bincount((planes[1].ravel() // 32) * 8 + planes[2].ravel() // 32, minlength=64)
        thumb = np.stack(planes, -1).astype(np.float32) / 255
        thumb[..., 1:] *= 2
        return cls(thumb, np.concatenate([luma, colours]) / _THUMB**2)

    def change(self, other: _Glance) -> tuple[float, float]:
        thumbs = float(np.abs(self.thumb - other.thumb).mean())
        return thumbs, float(np.abs(self.histogram - other.histogram).sum()) / 4


def _small(plane: np.ndarray) -> np.ndarray:
    step = max(1, min(plane.shape) // (4 * _THUMB))  # of large pictures every few pixels are enough
    return cv2.resize(
        np.ascontiguousarray(plane[::step, ::step]), (_THUMB, _THUMB), interpolation=cv2.INTER_AREA
    )


def mark_shots(pictures: Iterable[tuple[int, Picture]]) -> Iterator[tuple[int, Picture, bool]]:
    """(number, picture) -> (number, picture, whether it is the first of a shot).

    The very first is one, and so is one behind a gap in the numbers. A few pictures are held back.
    """
    before: deque[_Glance] = deque(maxlen=FLASH_PICTURES + 1)
    changes: deque[float] = deque(maxlen=_MEMORY)
    ahead: deque[tuple[int, Picture, _Glance]] = deque()
    last = None
    source = _with_glances(pictures)
    while True:
        ahead.extend(itertools.islice(source, FLASH_PICTURES + 1 - len(ahead)))
        if not ahead:
            return
        number, picture, glance = ahead.popleft()
        is_first = not before or number != (last or 0) + 1
        if not is_first and glance is not before[-1]:
            change = before[-1].change(glance)[0]
            usual = float(np.median(changes)) if changes else 0.0
            after = [glance, *(item[2] for item in ahead)]
            is_first = change >= max(CHANGE, UNUSUAL * usual) and _are_apart(before, after)
            changes.append(change)
        if is_first:
            changes.clear()
            before.clear()
        yield number, picture, is_first
        before.append(glance)
        last = number


def _are_apart(before: Iterable[_Glance], after: Iterable[_Glance]) -> bool:
    """Whether no picture before a place resembles one behind it: else a flash has begun or ended there."""
    changes = (one.change(other) for one, other in itertools.product(before, after))
    return all(thumbs >= CHANGE and colours >= OTHER_COLOURS for thumbs, colours in changes)


def _with_glances(pictures: Iterable[tuple[int, Picture]]) -> Iterator[tuple[int, Picture, _Glance]]:
    """Each picture with its glance; one that stands for several numbers is looked at once."""
    last: Picture | None = None
    for number, picture in pictures:
        if last is None or picture is not last:
            glance, last = _Glance.at(picture), picture
        yield number, picture, glance
