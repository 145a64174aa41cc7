"""The line in which visitors wait: one renders, some wait, nobody twice. Knows nothing of rendering."""

from __future__ import annotations

import threading
from types import TracebackType


class Line:
    """One queue for everything that the page makes, whichever tab asks. most: visitors in it behind the
    first."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._places: list[Place] = []

    def join(self, visitor: str) -> Place:
        """The last place; leave it by its ``with`` block.

        Raises: ValueError when this visitor has a place already, or all are taken.
        """
        with self._lock:
            if any(place.visitor == visitor for place in self._places):
                raise ValueError("A video of yours is being made; wait for it, or stop it.")
            if len(self._places) > self._most:
                raise ValueError(
                    f"Busy: one video is being made and {self._most} wait; try again in a minute."
                )
            place = Place(self, visitor)
            self._places.append(place)
            return place

    def __len__(self) -> int:
        return len(self._places)

    def _ahead(self, place: Place) -> int:
        with self._lock:
            return self._places.index(place)

    def _leave(self, place: Place) -> None:
        with self._lock:
            self._places.remove(place)


class Place:
    """A place in the line, held for the length of a ``with`` block."""

    def __init__(self, line: Line, visitor: str) -> None:
        self._line, self.visitor = line, visitor

    @property
    def ahead(self) -> int:
        """How many are before it; 0: it is its turn."""
        return self._line._ahead(self)

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line._leave(self)
