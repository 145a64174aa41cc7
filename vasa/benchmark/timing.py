"""Time of a frame on one CPU thread, by the processor's own clock, in rounds over all networks in turns.

Seconds of the process are counted (getrusage), not of the wall, so that other programs hardly matter; user
and system apart, because the system's share is mostly the handing out of fresh memory pages.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, TypeVar

import torch

from vasa.benchmark.cost import ready_face
from vasa.face.config import FaceConfig
from vasa.progress import counted

_Result = TypeVar("_Result")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of the processor. user: in the program; system: in the kernel on its behalf."""

    user: float
    system: float


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one CPU thread, for as long as the block lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seconds_of(call: Callable[[], Any]) -> tuple[Any, Seconds]:
    """What a call returns, and the processor time that this process spent on it."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = call()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return result, Seconds(after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime)


def all_seconds_of(call: Callable[[], _Result]) -> tuple[_Result, float]:
    """What a call returns, and the processor time that this process and those that it waited for, such as a
    video's encoder, spent on it.
    """
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before = [resource.getrusage(who) for who in whose]
    result = call()
    after = [resource.getrusage(who) for who in whose]
    pairs = zip(before, after, strict=True)
    return result, sum(b.ru_utime - a.ru_utime + b.ru_stime - a.ru_stime for a, b in pairs)


def _middle(times: list[Seconds]) -> Seconds:
    return Seconds(median(t.user for t in times), median(t.system for t in times))


@torch.no_grad()
def cpu_times(configs: Mapping[str, FaceConfig], rounds: int) -> dict[str, dict[str, Seconds]]:
    """Per config: ``source_fp32`` (one run), and the medians ``frame_fp32`` and ``frame_bf16`` (autocast)."""
    frames: dict[str, Callable[[], Any]] = {}
    found: dict[str, dict[str, Seconds]] = {}
    with one_thread():
        for name, config in configs.items():
            torch.manual_seed(0)
            face = ready_face(config)
            image = torch.rand(1, 3, config.size, config.size) * 2 - 1
            appearance, taken = seconds_of(partial(face.encode, image))
            found[name] = {"source_fp32": taken}
            frames[name] = partial(face.render, appearance, face.own_motion(appearance))
        times: dict[tuple[str, str], list[Seconds]] = {}
        for turn in counted("rounds", range(rounds + 1)):
            for name, frame in frames.items():
                for precision, dtype in PRECISIONS.items():
                    with torch.autocast("cpu", dtype, enabled=precision != "fp32"):
                        _, taken = seconds_of(frame)
                    if turn:  # the first only warms up
                        times.setdefault((name, precision), []).append(taken)
    for (name, precision), taken_all in times.items():
        found[name][f"frame_{precision}"] = _middle(taken_all)
    return found
