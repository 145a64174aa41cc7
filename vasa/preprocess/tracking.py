"""Who is in the pictures: looks at a few of them, and what lies between two looks at the same one face.

The first picture of each shot is looked at, then some each second. A look finds one face, none, or two of
comparable size. As long as looks agree on one face, a square around it is kept of every picture; nothing else
is, so that memory does not depend on the size of the picture or the length of the recording. Pictures between
a look that found the face and one that did not are nobody's. Knows the crop rule and nothing of files.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from vasa.preprocess.align import FaceAligner
from vasa.preprocess.config import SegmentConfig
from vasa.preprocess.crop import Crop
from vasa.preprocess.picture import Picture
from vasa.pretrained.config import DetectorConfig
from vasa.records import VIDEO_FPS

FACE, NO_FACE, TWO_FACES, MOVING, TOO_SHORT = "face", "no_face", "two_faces", "moving", "too_short"
LOOK_PX = 960
"""Longer pictures are reduced to look at them; the detector sees 640 px."""
QUICK_PX = 320
QUICK_SIDE = 0.3
"""Crop's side, of the picture's longer one, from which SCRFD looks for a face in 320 px where it was a moment
before: its box is then 40 px or more.
"""
ROOM = 1.9
"""Sides of the crop at first sight that are kept around a face."""
SPARE = 1.25
"""Resolution that is kept, of what the crop needs: the final square is smaller or larger than the first."""
SAME_FACE = 0.5
"""Of the smaller of two squares, how much the other must cover if they are of one face."""
LIKE_SIZE = 1.5
"""How many times one may be as large as the other."""


@dataclass(slots=True)
class Region:
    """The part of the pictures that is kept: (x0, y0) to (x1, y1), even pixels of a picture (height, width),
    reduced to ``size`` (width, height)."""

    x0: int
    y0: int
    x1: int
    y1: int
    picture: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def around(cls, crop: Crop, picture: Picture) -> Region:
        half = ROOM * crop.side / 2
        x0, y0 = (max(0, 2 * int((c - half) / 2)) for c in (crop.centre_x, crop.centre_y))
        x1 = min(picture.width, 2 * int((crop.centre_x + half) / 2 + 1))
        y1 = min(picture.height, 2 * int((crop.centre_y + half) / 2 + 1))
        scale = min(1.0, SPARE * crop.size / crop.side)
        size = tuple(max(2, 2 * round(scale * side / 2)) for side in (x1 - x0, y1 - y0))
        return cls(x0, y0, x1, y1, (picture.height, picture.width), (size[0], size[1]))

    def of(self, picture: Picture) -> Picture:
        part = picture.part(self.x0, self.y0, self.x1, self.y1)
        return part if self.size == (part.width, part.height) else part.reduced(*self.size)

    def holds(self, crop: Crop) -> bool:
        """Whether all of a crop that lies in the picture lies in the region."""
        height, width = self.picture
        low_x, low_y, high_x, high_y = _edges(crop)
        return (
            max(low_x, 0) >= self.x0
            and max(low_y, 0) >= self.y0
            and min(high_x, width) <= self.x1
            and min(high_y, height) <= self.y1
        )

    def crop(self, crop: Crop) -> Crop:
        """A crop of the picture as one of the region."""
        scale_x, scale_y = self.size[0] / (self.x1 - self.x0), self.size[1] / (self.y1 - self.y0)
        x, y = (crop.centre_x - self.x0) * scale_x, (crop.centre_y - self.y0) * scale_y
        return replace(crop, centre_x=x, centre_y=y, side=crop.side * (scale_x + scale_y) / 2)


@dataclass(slots=True)
class Stretch:
    """Pictures ``first`` to ``stop`` - 1 that share a fate. status: FACE, or why they are not of use.

    Of a face: looks (number, crop), and pictures: one part, by ``region``, for each number. Of the others:
    a small picture of the whole, where there was a look at it.
    """

    status: str
    first: int
    stop: int
    looks: list[tuple[int, Crop]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    region: Region | None = None


class FaceFinder:
    """Looks at whole pictures. Slow to build, and the same for all inputs."""

    def __init__(self, detector: DetectorConfig, size: int, second_face: float) -> None:
        """size: px of the crops. second_face: from ``SegmentConfig``."""
        self._careful = FaceAligner(detector, remarks=logging.DEBUG)
        self._quick: FaceAligner | None = None
        if detector.scrfd and detector.scrfd_px > QUICK_PX:
            self._quick = FaceAligner(replace(detector, scrfd_px=QUICK_PX), remarks=logging.DEBUG)
        self.size, self._second_face = size, second_face

    def look(self, picture: Picture, last: Crop | None = None) -> tuple[str, Crop | None]:
        """FACE and its crop, or NO_FACE or TWO_FACES. last: where the face was; a large one is looked for
        quickly first."""
        scale = min(1.0, LOOK_PX / max(picture.width, picture.height))
        width, height = (max(2, 2 * round(scale * side / 2)) for side in (picture.width, picture.height))
        photo = (picture if scale == 1 else picture.reduced(width, height)).rgb()
        was = _scaled(last, width / picture.width, height / picture.height) if last else None
        aligners = [self._careful]
        if was and self._quick and was.side > QUICK_SIDE * max(width, height):
            aligners.insert(0, self._quick)
        for aligner in aligners:
            try:
                found = aligner.find(photo, self.size, self.size, last=was)
            except ValueError:
                continue
            if found.second_share >= self._second_face:
                return TWO_FACES, None
            return FACE, _scaled(found.crop, picture.width / width, picture.height / height)
        return NO_FACE, None


class Tracker:
    """Takes pictures one after the other and gives stretches as they are over, without gaps or overlaps."""

    def __init__(self, finder: FaceFinder, config: SegmentConfig) -> None:
        self._finder = finder
        self._every = max(1, round(VIDEO_FPS / config.detect_hz))
        self._min, self._max = (round(s * VIDEO_FPS) for s in (config.min_seconds, config.max_seconds))
        self._run: Stretch | None = None
        self._unsure: list[Picture] = []
        """Parts of the pictures since the last look that found the run's face."""
        self._missed = False  # whether one look since then found no face
        self._bad: Stretch | None = None
        self._next_look = self._last = -1
        self._part: tuple[Picture, Picture] | None = None  # the last picture, and its part: it may come again

    @property
    def needs_from(self) -> int:
        """The earliest number of which something is still held."""
        return self._run.first if self._run else self._last

    def feed(self, number: int, picture: Picture, is_first: bool) -> Iterator[Stretch]:
        """One more picture; is_first: of a shot. Gives the stretches that are over."""
        region = self._run.region if self._run else None
        if is_first or (region and region.picture != (picture.height, picture.width)):
            yield from self.finish()
            self._next_look = number
        if number >= self._next_look:
            self._next_look = number + self._every
            yield from self._judge(number, picture)
        elif self._run:
            self._unsure.append(self._part_of(picture))
        self._last = number
        yield from self._long_enough()

    def finish(self) -> Iterator[Stretch]:
        """The shot is over: what is left."""
        stop = self._last + 1
        if self._run:
            if not self._missed:
                self._settle()
            run, self._run = self._run, None
            run.stop = run.first + len(run.pictures)
            yield from self._halves(run)
            if self._unsure:
                yield Stretch(NO_FACE, run.stop, stop)
        if self._bad:
            self._bad.stop = stop
            yield self._bad
        self._bad, self._missed = None, False
        self._unsure.clear()

    def _judge(self, number: int, picture: Picture) -> Iterator[Stretch]:
        run = self._run
        status, crop = self._finder.look(picture, run.looks[-1][1] if run else None)
        if run and run.region:
            if crop and _is_same(run.looks[-1][1], crop) and run.region.holds(crop):
                self._unsure.append(self._part_of(picture))
                self._settle()
                run.looks.append((number, crop))
                return
            if status == NO_FACE and not self._missed:  # one miss may be the finder's
                self._missed = True
                self._unsure.append(self._part_of(picture))
                return
            yield from self._lose(MOVING if crop else status, number, picture)
        if crop is None:
            if self._bad and self._bad.status != status:
                self._bad.stop = number
                yield self._bad
                self._bad = None
            self._bad = self._bad or Stretch(status, number, number)
            return
        if self._bad:
            self._bad.stop = number
            yield self._bad
            self._bad = None
        region = Region.around(crop, picture)
        self._part = None
        self._run = Stretch(FACE, number, number, [(number, crop)], [], region)
        self._run.pictures.append(self._part_of(picture))

    def _lose(self, status: str, number: int, picture: Picture) -> Iterator[Stretch]:
        """The run is over at its last sure picture; what is unsure begins the bad stretch."""
        run, self._run = self._run, None
        assert run is not None
        run.stop = run.first + len(run.pictures)
        yield from self._halves(run)
        if self._unsure:
            self._bad = Stretch(status, run.stop, number)
        self._unsure.clear()
        self._missed = False

    def _settle(self) -> None:
        assert self._run is not None
        self._run.pictures.extend(self._unsure)
        self._unsure.clear()
        self._missed = False

    def _part_of(self, picture: Picture) -> Picture:
        assert self._run is not None and self._run.region is not None
        if self._part is None or self._part[0] is not picture:
            self._part = (picture, self._run.region.of(picture))
        return self._part[1]

    def _long_enough(self) -> Iterator[Stretch]:
        """A part of the greatest length, as soon as what is left is sure to make another."""
        while self._run and len(self._run.pictures) >= self._max + self._min:
            head, self._run = _split(self._run, self._max)
            yield head

    def _halves(self, run: Stretch) -> Iterator[Stretch]:
        """The end of a run, in one part or two equal ones, or as too short."""
        count = len(run.pictures)
        if count < self._min:
            yield replace(run, status=TOO_SHORT)
        elif count <= self._max:
            yield run
        else:
            yield from _split(run, count // 2)


def _split(run: Stretch, count: int) -> tuple[Stretch, Stretch]:
    """The first ``count`` pictures of a run, and the others; each with its looks, or the nearest."""
    middle = run.first + count
    head = [look for look in run.looks if look[0] < middle] or run.looks[:1]
    tail = [look for look in run.looks if look[0] >= middle] or run.looks[-1:]
    stop = run.first + len(run.pictures)
    return (
        Stretch(FACE, run.first, middle, head, run.pictures[:count], run.region),
        Stretch(FACE, middle, stop, tail, run.pictures[count:], run.region),
    )


def _edges(crop: Crop) -> tuple[float, float, float, float]:
    half = crop.side / 2
    return crop.centre_x - half, crop.centre_y - half, crop.centre_x + half, crop.centre_y + half


def _is_same(one: Crop, other: Crop) -> bool:
    a, b = _edges(one), _edges(other)
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    covered = max(width, 0) * max(height, 0) > SAME_FACE * min(one.side, other.side) ** 2
    return covered and max(one.side, other.side) < LIKE_SIZE * min(one.side, other.side)


def _scaled(crop: Crop, across: float, down: float) -> Crop:
    """A crop in a picture that is so many times as wide and as high."""
    return replace(
        crop, centre_x=crop.centre_x * across, centre_y=crop.centre_y * down, side=crop.side * across
    )
