"""Stretches of one face: every picture has one fate, and what is held stays small.

The finder is made up here; a real one looks in test_cut_input.py.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from vasa.preprocess.config import SegmentConfig
from vasa.preprocess.crop import Crop
from vasa.preprocess.picture import Picture
from vasa.preprocess.segments import cut_frames, place
from vasa.preprocess.tracking import FACE, MOVING, NO_FACE, TOO_SHORT, TWO_FACES, Region, Tracker

SIZE = 64


def picture(height=120, width=200, level=90):
    luma = np.full((height, width), level, np.uint8)
    chroma = np.full((height // 2, width // 2), 128, np.uint8)
    return Picture(luma, chroma, chroma, 2, 0)


def crop(x=100.0, y=60.0, side=50.0):
    return Crop(x, y, side, SIZE)


class Finder:
    """Finds what a table says, by the number of the picture, which its first pixel tells in steps."""

    def __init__(self, fates):
        self.fates, self.number, self.looks = fates, 0, []

    def look(self, _, last=None):
        self.looks.append((self.number, last))
        fate = self.fates(self.number)
        return (FACE, fate) if isinstance(fate, Crop) else (fate, None)


def track(fates, count, cuts=(), config=None, pictures=None):
    """Stretches of ``count`` pictures; the finder, and the most parts that were ever held."""
    finder = Finder(fates)
    tracker = Tracker(finder, config or SegmentConfig(min_seconds=1, max_seconds=2, detect_hz=5))
    stretches, held, one = [], 0, picture()
    for number in range(count):
        finder.number = number
        stretches += tracker.feed(
            number, pictures(number) if pictures else one, number in cuts or number == 0
        )
        held = max(held, len(tracker._run.pictures) if tracker._run else 0)
    stretches += tracker.finish()
    at = 0
    for stretch in stretches:
        assert stretch.first == at < stretch.stop, "no gap, no overlap"
        assert len(stretch.pictures) == (
            stretch.stop - stretch.first if stretch.status in (FACE, TOO_SHORT) else 0
        )
        at = stretch.stop
    assert at == count
    return [(s.status, s.first, s.stop) for s in stretches], SimpleNamespace(
        finder=finder, held=held, all=stretches
    )


def test_a_long_run_becomes_parts_of_allowed_length():
    for count in range(25, 300, 7):
        parts, seen = track(lambda n: crop(), count)
        assert all(status == FACE and 25 <= stop - first <= 50 for status, first, stop in parts)
        assert seen.held <= 75
    assert [stop - first for _, first, stop in track(lambda n: crop(), 60)[0]] == [30, 30]
    assert track(lambda n: crop(), 24)[0] == [(TOO_SHORT, 0, 24)]


def test_looks_are_made_at_the_start_of_shots_and_some_each_second():
    parts, seen = track(lambda n: crop(), 60, cuts={33})
    assert [number for number, _ in seen.finder.looks] == [*range(0, 33, 5), *range(33, 60, 5)]
    assert parts == [(FACE, 0, 33), (FACE, 33, 60)]
    assert seen.finder.looks[0][1] is None and seen.finder.looks[1][1] == crop()


def test_pictures_between_a_look_that_found_and_one_that_did_not_are_nobodys():
    parts, _ = track(lambda n: crop() if n < 42 else TWO_FACES, 80)
    assert parts == [(FACE, 0, 41), (TWO_FACES, 41, 80)]
    parts, _ = track(lambda n: crop() if n < 42 else crop(x=160), 80)
    assert parts == [(FACE, 0, 41), (MOVING, 41, 45), (FACE, 45, 80)]
    parts, _ = track(lambda n: crop() if n < 42 else crop(side=90), 80)
    assert parts == [(FACE, 0, 41), (MOVING, 41, 45), (FACE, 45, 80)]


def test_one_miss_is_the_finders_and_two_are_nobody():
    assert track(lambda n: NO_FACE if n == 20 else crop(), 45)[0] == [(FACE, 0, 45)]
    parts, _ = track(lambda n: NO_FACE if n in (30, 35) else crop(), 80)
    assert parts == [(FACE, 0, 26), (NO_FACE, 26, 40), (FACE, 40, 80)]
    parts, _ = track(lambda n: NO_FACE if n >= 40 else crop(), 43)
    assert parts == [(FACE, 0, 36), (NO_FACE, 36, 43)]
    assert track(lambda n: NO_FACE, 30)[0] == [(NO_FACE, 0, 30)]
    parts, _ = track(lambda n: NO_FACE if n < 10 else TWO_FACES, 30)
    assert parts == [(NO_FACE, 0, 10), (TWO_FACES, 10, 30)]


def test_a_face_that_wanders_out_of_what_is_kept_begins_anew():
    """Slowly, so that no two looks disagree."""
    parts, seen = track(lambda n: crop(x=60 + n * 0.6, side=40), 125)
    faces = [stretch for stretch in seen.all if stretch.region]
    assert len({stretch.region.x0 for stretch in faces}) > 2 and (MOVING, 31, 35) in parts
    assert all(stretch.region.holds(look) for stretch in faces for _, look in stretch.looks)


def test_another_size_of_picture_is_another_shot():
    parts, _ = track(lambda n: crop(), 70, pictures=lambda n: picture() if n < 35 else picture(100, 180))
    assert parts == [(FACE, 0, 35), (FACE, 35, 70)]


@pytest.mark.parametrize("side", [20.0, 50.0, 500.0])
def test_what_is_kept_is_small_and_holds_the_crop(side):
    one = picture(1080, 1920)
    region = Region.around(crop(960, 540, side), one)
    part = region.of(one)
    assert max(part.luma.shape) <= max(1.25 * 1.9 * SIZE, 1.9 * side if side < 1.25 * SIZE else 0) + 4
    assert region.holds(crop(960, 540, side)) and region.holds(crop(960 + 0.4 * side, 540, side))
    assert not region.holds(crop(960 + 0.6 * side, 540, side))
    edge = Region.around(crop(5, 540, side), one)
    assert edge.holds(crop(5, 540, side)), "beyond the picture there is nothing to hold"


def test_one_square_is_the_median_of_the_looks_and_says_how_far_they_stray():
    def seen(number):
        return crop(x=100 + (8 if number == 10 else 0.5 * (number % 2)), side=50 + (number % 3))

    (stretch,) = track(seen, 30)[1].all
    where = place(stretch)
    assert (where.crop.centre_x, where.crop.side, where.looks) == (100.5, 51.0, 6)
    assert where.drift == pytest.approx(7.5 / 51)
    assert where.stability_px == pytest.approx(0.5 * SIZE / 51)
    assert where.enlarged == pytest.approx(64 / 51)
    frames = cut_frames(stretch, where.crop)
    assert frames.shape == (30, SIZE, SIZE, 3) and np.ptp(frames) == 0


def test_a_way_down_counts_more_than_one_aside_because_the_chin_leaves_the_picture_sooner():
    def drift(**moved):
        (stretch,) = track(lambda number: crop(**(moved if number == 10 else {})), 30)[1].all
        return place(stretch).drift

    assert drift(y=68.0) == pytest.approx(1.5 * 8 / 50) and drift(x=108.0) == pytest.approx(8 / 50)
