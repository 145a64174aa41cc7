"""How far long work is, in one line of a terminal: done of how many, rate, time left. Torch-free.

    with Progress("frames", total) as shown:
        for done, item in enumerate(work, 1):
            shown(done)

    for clip in counted("clips", clips): ...  # the same

Where nobody looks (a pipe, a file, a job of a cluster) nothing is written, and of several processes only the
first writes. What must be kept of a long run is logged by whoever does it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Self, TextIO, TypeVar

EVERY_S = 0.2
"""Between two showings: often enough to the eye, too seldom to cost anything."""
_Item = TypeVar("_Item")


class Progress:
    """what: is counted, in the plural. total: None where nobody knows. stream: None is standard error."""

    def __init__(self, what: str, total: int | None = None, stream: TextIO | None = None) -> None:
        self._what, self._total = what, total
        self._stream = sys.stderr if stream is None else stream
        self._is_seen = self._stream.isatty() and _is_first()
        self._begun, self._shown, self._width = time.monotonic(), 0.0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, done: int, total: int | None = None) -> None:
        """``done`` of ``total`` are done; total: None keeps what was said before."""
        self._total = self._total if total is None else total
        now = time.monotonic()
        if self._is_seen and (now - self._shown >= EVERY_S or done == self._total):
            self._shown = now
            self._write(self.text(done, now - self._begun))

    def text(self, done: int, seconds: float) -> str:
        """What is shown after some seconds."""
        rate = done / max(seconds, 1e-9)
        words = f"{done} of {self._total} {self._what}" if self._total else f"{done} {self._what}"
        words += f", {rate:.1f}/s" if rate >= 1 else f", {1 / max(rate, 1e-9):.1f} s each" if done else ""
        if self._total and done:
            words += f", {duration((self._total - done) / rate)} left"
        return words

    def close(self) -> None:
        """Takes the line away: what comes after begins where it was."""
        if self._width:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()
            self._width = 0

    def _write(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)


def counted(what: str, items: Iterable[_Item], total: int | None = None) -> Iterator[_Item]:
    """The items, and meanwhile how many of them are done. total: None asks them, if they know."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(what, total) as shown:
        for done, item in enumerate(items, 1):
            yield item
            shown(done)


def _is_first() -> bool:
    """Whether this is the first of those that do the same: no child's process, no later one of torchrun's."""
    return multiprocessing.parent_process() is None and os.environ.get("RANK", "0") == "0"


def duration(seconds: float) -> str:
    """As hours, minutes and seconds: 0:01:05."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
