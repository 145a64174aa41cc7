"""Batches ahead of their step, in order, from worker threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def fetch(
    batch_at: Callable[[int], Any], steps: Sequence[int], ahead: int, workers: int = 1
) -> Generator[Any, None, None]:
    """Yields ``batch_at(step)`` for each step; 0 ahead prepares in this thread.

    ``ahead`` batches are in preparation or waiting, at least one for each worker. Threads are enough, because
    reading files, decoding video and torch's own work let other threads run; with several, ``batch_at`` is
    called by several at once. An exception of it is raised here, at its step. Closing the generator waits for
    the batches in preparation.
    """
    if ahead == 0:
        yield from map(batch_at, steps)
        return
    ahead = max(ahead, workers)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    try:
        waiting = deque(pool.submit(batch_at, step) for step in steps[:ahead])
        for index in range(len(steps)):
            batch = waiting.popleft().result()
            if index + ahead < len(steps):
                waiting.append(pool.submit(batch_at, steps[index + ahead]))
            yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
