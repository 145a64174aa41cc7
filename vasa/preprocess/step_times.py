"""What each step of preprocessing takes of the processor, though steps run inside one another."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

READ, SHOTS, FACES, CUT, QUALITY, SIGNALS, OFFSET, MASKS, ENCODE = (
    "read", "shots", "faces", "cut", "quality", "signals", "offset", "masks", "encode",
)  # fmt: skip
"""Steps that are timed; "cut": the one square of a stretch, and its pictures."""
_Item = TypeVar("_Item")


class StepTimes:
    """seconds: processor time of this process by step, each without the steps inside it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """All that is done inside, but for steps inside that."""
        self._settle()
        self._open.append(name)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def each(self, name: str, items: Iterable[_Item]) -> Iterator[_Item]:
        """The items; what it takes to make them counts, and what is done with them does not."""
        iterator, end = iter(items), object()
        while True:
            with self.step(name):
                item = next(iterator, end)
            if item is end:
                return
            yield item  # type: ignore[misc]

    def taken(self) -> dict[str, float]:
        """The seconds since this was last asked."""
        found = dict(self.seconds)
        self.seconds.clear()
        return found

    def _settle(self) -> None:
        now = time.process_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now
