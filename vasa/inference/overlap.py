"""An iterator that is gone through in a thread of its own, a few items ahead of who takes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
LOOK_S = 0.1
"""Seconds after which a thread that waits looks whether it is still wanted."""
_END: Any = object()


def ahead(
    items: Iterator[Item], depth: int, name: str = "ahead", begin: Callable[[], None] | None = None
) -> Iterator[Item]:
    """``items``, of which at most ``depth`` wait to be taken. Its errors come where it would have raised
    them. Who stops taking closes ``items`` in its thread. begin: called there first.
    """
    made: queue.Queue[Item] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Item) -> bool:
        while not stopped.is_set():
            try:
                made.put(item, timeout=LOOK_S)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        try:
            for item in items:
                if not put(item):
                    break
        finally:
            if isinstance(items, Generator):
                items.close()
            put(_END)

    with ThreadPoolExecutor(1, name, initializer=begin) as executor:
        making = executor.submit(make)
        try:
            while (item := made.get()) is not _END:
                yield item
        finally:
            stopped.set()
        error = making.exception()
        del making  # it holds the error, which would hold this frame, and whoever waits in it, until gc comes
    if error is not None:
        try:
            raise error
        finally:
            del error
