"""Work that falls into independent files, shared among several processes.

Each process does its share and leaves files behind; the caller then goes through all the work and finds it
done. So one process or many make the same, and a killed one costs what it had in hand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


def share_work(function: Callable[..., Any], workers: int, *args: Any) -> None:
    """Calls ``function(*args, part, workers)`` for each part at once: the first here, where it tells how far
    it is, the others in processes of their own, which only warn.

    function and args must be picklable. With one worker nothing is done: the caller does it all. Raises: what
    a part raised, after the others have ended.
    """
    if workers < 2:
        return
    with ProcessPoolExecutor(workers - 1, mp_context=get_context("spawn"), initializer=_only_warn) as pool:
        parts = [pool.submit(function, *args, part, workers) for part in range(1, workers)]
        function(*args, 0, workers)
    for part in parts:
        part.result()


def _only_warn() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
