"""Leaving nothing half-written, however a run ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vasa.video import remove_abandoned


@contextmanager
def tidy(folders: Iterable[Path], stopped: str) -> Iterator[None]:
    """Takes away what killed processes left half-written in ``folders``, before and after; and, where this
    process is stopped, what it was at itself.

    SIGTERM stops as Ctrl-C does; a second signal does not disturb the tidying that the first one began. A
    signal may come in any line, also between making a folder and remembering it, so only a look at the disk
    tells what is left. stopped: what is then said.
    """
    places = set(folders)
    with _stopping_once(stopped):
        for folder in places:
            remove_abandoned(folder)
        try:
            yield
        except KeyboardInterrupt:
            for folder in places:
                remove_abandoned(folder, also_own=True)
            raise
        finally:
            for folder in places:
                remove_abandoned(folder)


@contextmanager
def _stopping_once(said: str) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, frame: Any) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt(said)

    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
