"""Samples a second of stage 1's pairs of real clips, by workers: processes, and threads as training has them.

A sample is two frames of one clip, one of another and, where the clips have masks, a mask: read, decoded, and
stacked into a batch. Processes show what the processors and the disk give; how far threads stay behind is
what they wait for one another.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import torch

from vasa.benchmark.config import LoaderBenchmark
from vasa.data.clip_pairs import ClipPairs
from vasa.progress import counted
from vasa.training.fetch import fetch

PATIENCE_S = 600
"""For the slowest worker to begin: reading a large index takes a while."""


@dataclass(frozen=True, slots=True)
class LoaderRate:
    """kind: "processes" or "threads". cpu_ms: of processor time that a sample takes."""

    kind: str
    workers: int
    samples_per_s: float
    cpu_ms: float


def measure_loader(config: LoaderBenchmark) -> list[LoaderRate]:
    """Both kinds at each number of workers. Raises: what ``ClipPairs.prepare`` does."""
    pairs = ClipPairs(config.clips)
    pairs.prepare()
    threads = [_threads(config, pairs, workers) for workers in counted("readers, threads", config.counts)]
    readers = counted("readers, processes", config.counts)
    return [_processes(config, workers) for workers in readers] + threads


def _threads(config: LoaderBenchmark, pairs: ClipPairs, workers: int) -> LoaderRate:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps = range(10**9)
        with closing(
            fetch(lambda step: pairs.batch_at(step, config.batch_size), steps, 2 * workers, workers)
        ) as batches:
            for _ in range(workers):
                next(batches)
            return _rate("threads", workers, [_until(batches, config, time.monotonic() + config.seconds)])
    finally:
        torch.set_num_threads(before)


def _processes(config: LoaderBenchmark, workers: int) -> LoaderRate:
    context = get_context("spawn")
    barrier, told = context.Barrier(workers), context.SimpleQueue()
    started = [
        context.Process(target=_work, args=(config, number, workers, barrier, told), daemon=True)
        for number in range(workers)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise RuntimeError(f"A worker of {workers} ended with an error; it is told above.")
    return _rate("processes", workers, [told.get() for _ in started])


def _work(config: LoaderBenchmark, number: int, workers: int, barrier: Any, told: Any) -> None:
    """Every ``workers``-th batch, from the moment at which all have made their first."""
    torch.set_num_threads(1)
    try:
        pairs = ClipPairs(config.clips)
        batches = (pairs.batch_at(step, config.batch_size) for step in range(number, 10**9, workers))
        next(batches)
        barrier.wait(PATIENCE_S)
    except BaseException:
        barrier.abort()  # nobody waits for this one
        raise
    told.put(_until(batches, config, time.monotonic() + config.seconds))


def _until(batches: Any, config: LoaderBenchmark, end: float) -> tuple[float, float]:
    """Samples a second, and seconds of the processor a sample."""
    begun, used, done = time.monotonic(), time.process_time(), 0
    while not done or time.monotonic() < end:
        next(batches)
        done += config.batch_size
    return done / (time.monotonic() - begun), (time.process_time() - used) / done


def _rate(kind: str, workers: int, found: Sequence[tuple[float, float]]) -> LoaderRate:
    mean = sum(seconds for _, seconds in found) / len(found)
    return LoaderRate(kind, workers, sum(rate for rate, _ in found), mean * 1000)


def loader_markdown(rates: Sequence[LoaderRate]) -> str:
    """The rates as a table."""
    rows = [
        f"| {rate.workers} {rate.kind} | {rate.samples_per_s:.1f} | {rate.samples_per_s / rate.workers:.1f} "
        f"| {rate.cpu_ms:.1f} |"
        for rate in rates
    ]
    head = "| workers | samples/s | samples/s a worker | ms of a processor a sample |\n|---|---|---|---|"
    return "\n".join([head, *rows]) + "\n"
