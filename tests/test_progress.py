"""A line of progress: there for whoever looks, gone afterwards, and nowhere else."""

from __future__ import annotations

import io

import pytest

from vasa.progress import Progress, counted, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_how_far_it_is_and_is_left_clean() -> None:
    seen = Terminal()
    with Progress("frames", 3, seen) as shown:
        for done in (1, 2, 3):
            shown(done)
    *_, last, blank, end = seen.getvalue().split("\r")
    assert last.startswith("3 of 3 frames, ") and "0:00:00 left" in last
    assert blank == " " * len(last.rstrip()) and end == "", (
        "what comes next begins at the start of an empty line"
    )


def test_shorter_lines_leave_nothing_of_longer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("vasa.progress.time.monotonic", lambda: now[0])
    seen = Terminal()
    shown = Progress("frames", 100, seen)
    for done, at in ((1, 1000.0), (99, 1001.0)):
        now[0] = at
        shown(done)
    _, long, short = seen.getvalue().split("\r")
    assert len(short) == len(long) > len(short.rstrip())


@pytest.mark.parametrize("shows", ["a pipe", "a later process"])
def test_where_nobody_looks_nothing_is_written(shows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = io.StringIO() if shows == "a pipe" else Terminal()
    if shows == "a later process":
        monkeypatch.setenv("RANK", "1")
    with Progress("frames", 2, seen) as shown:
        shown(1)
        shown(2)
    assert seen.getvalue() == ""


def test_it_says_rate_and_time_left() -> None:
    assert Progress("frames", 100).text(20, 10.0) == "20 of 100 frames, 2.0/s, 0:00:40 left"
    assert Progress("videos", 4).text(1, 90.0) == "1 of 4 videos, 90.0 s each, 0:04:30 left"
    assert Progress("frames").text(50, 2.0) == "50 frames, 25.0/s"
    assert Progress("frames", 9).text(0, 2.0) == "0 of 9 frames"
    assert duration(3725.4) == "1:02:05"


def test_counting_gives_every_item_and_ends_with_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Terminal()
    monkeypatch.setattr("sys.stderr", seen)
    assert list(counted("clips", ["a", "b"])) == ["a", "b"]
    assert "2 of 2 clips" in seen.getvalue() and seen.getvalue().endswith("\r")
    assert list(counted("clips", iter("abc"), 3)) == ["a", "b", "c"]
    assert "3 of 3 clips" in seen.getvalue()
