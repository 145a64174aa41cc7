"""Batches ahead of their step, in order, from one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def fetch(batch_at: Callable[[int], Any], steps: Sequence[int], ahead: int) -> Generator[Any, None, None]:
    """Yields ``batch_at(step)`` for each step, at most ``ahead`` prepared or waiting; 0 prepares in this
    thread.

    An exception of ``batch_at`` is raised here, at its step. Closing the generator waits for the batch in
    preparation.
    """
    if ahead == 0:
        yield from map(batch_at, steps)
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        waiting = deque(pool.submit(batch_at, step) for step in steps[:ahead])
        for index in range(len(steps)):
            batch = waiting.popleft().result()
            if index + ahead < len(steps):
                waiting.append(pool.submit(batch_at, steps[index + ahead]))
            yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
