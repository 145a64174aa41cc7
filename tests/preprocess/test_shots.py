"""Cuts between two people are found to the picture; talk, flashes and fades are none."""

import numpy as np
import pytest
from recordings import record, talk

from vasa.preprocess.media import MediaReader
from vasa.preprocess.shots import mark_shots


def shots(path, frames, **options):
    with MediaReader(record(path, frames, **options), None, False) as reader:
        marked = list(mark_shots(reader.pictures()))
    assert [number for number, _, _ in marked] == sorted(number for number, _, _ in marked)
    return [number for number, _, is_first in marked if is_first], len(marked)


def test_people_joined_are_told_apart_to_the_picture(tmp_path):
    frames = np.concatenate([talk(0, 37), talk(1, 20), talk(0, 2), talk(1, 30)])
    found, count = shots(tmp_path / "a.mp4", frames)
    assert count == 89 and found[:2] == [0, 37]
    assert not {57, 59} & set(found), "what comes back at once is a flash"


def test_talk_is_no_cut(tmp_path):
    for person in (0, 1):
        assert shots(tmp_path / "a.mp4", talk(person, 70))[0] == [0]


def test_cuts_are_found_where_frames_stand_for_several(tmp_path):
    frames = np.concatenate([talk(0, 30)[::3], talk(1, 30)[::3]])
    found, count = shots(tmp_path / "a.mp4", frames, fps=25 / 3)
    assert len(found) == 2 and abs(found[1] - 30) <= 2 and abs(count - 60) <= 2


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_cut(tmp_path, length):
    frames = talk(0, 37)
    frames[15 : 15 + length] = 128 + frames[15 : 15 + length] // 2
    frames[25 : 25 + length, ::2] = 0
    assert shots(tmp_path / "a.mp4", frames)[0] == [0]


def test_a_fade_is_not_looked_for(tmp_path):
    """What the module says of itself: half a second from one person to another is no cut."""
    share = np.clip((np.arange(37) - 12) / 13, 0, 1)[:, None, None, None]
    frames = (talk(0, 37) * (1 - share) + talk(1, 37) * share).astype(np.uint8)
    assert shots(tmp_path / "a.mp4", frames)[0] == [0]


def test_a_gap_begins_a_shot(tmp_path):
    times = np.arange(37) / 25 + 4 * (np.arange(37) >= 20)
    assert shots(tmp_path / "a.mkv", talk(0, 37), times=times)[0] == [0, 120]
