"""Many small pieces of work in processes that may die or hang: each piece ends in its result or in a failure.

A decoder that is given a damaged file can take its whole process down, or never come back. Here the process
is lost and nothing else: a new process tries the piece once more, since memory may have been short or a
machine taken away; whoever waits is told which pieces were lost twice, or hung. The processes are this
machine's, or Ray actors on a cluster's.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, Self

ENGINES = ("local", "ray")
CRASHED = "crashed"
_IDLE = object()
_spawn = get_context("spawn")
Prepare = Callable[..., Callable[[Any], Any]]
"""Called once in each process: what it returns takes an item and gives its result."""


@dataclass(slots=True)
class Failure:
    """Why a piece of work has no result. status: "crashed" or "timeout"; reason: the end of a sentence."""

    status: str
    reason: str


class _Worker(Protocol):
    """A process that prepares itself, then works on one item at a time, until some monotonic time."""

    item: Any
    until: float

    @classmethod
    def start(cls, prepare: Prepare, args: tuple, gpus: float) -> Self: ...

    @classmethod
    def ready(cls, busy: Sequence[Self], seconds: float) -> list[Self]:
        """Those that are prepared, or done with their item, within some time."""
        ...

    def give(self, item: Any) -> None: ...

    def result(self) -> Any:
        """Of a ready one. Raises: what the work raised."""
        ...

    def end(self, at_once: bool) -> None: ...


def supervise(
    prepare: Prepare,
    args: tuple,
    items: Iterable[Any],
    workers: int,
    timeout_s: Callable[[Any], float],
    engine: str = "local",
    gpus: float = 0.0,
) -> Iterator[tuple[Any, Any]]:
    """(item, result or Failure) of every item, as they come.

    prepare, args, items and results must be picklable. Of ``items`` no more is taken than there are
    processes, so they may be many. workers=0 works here, without protection. timeout_s: seconds that an item
    may take. gpus: that a Ray worker holds.
    Raises: what the work raises (a full disk ends all; what is an item's own fault is the work's to catch);
    RuntimeError where a process dies before it has an item; ValueError where the engine is unknown or not
    installed.
    """
    if workers == 0:
        work = prepare(*args)
        for item in items:
            yield item, work(item)
        return
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}; wanted one of {', '.join(ENGINES)}.")
    if engine == "ray":
        _connect(workers)
    kind: type[_Worker] = _Process if engine == "local" else _RayActor
    todo, pool = iter(items), [kind.start(prepare, args, gpus) for _ in range(workers)]
    again: list[Any] = []  # lost once, and not handed out since
    lost: list[Any] = []  # lost once, and under work
    is_over = False
    try:
        while again or not is_over or any(worker.item is not _IDLE for worker in pool):
            for worker, result in _finished(kind, pool, timeout_s):
                item, worker.item = worker.item, _IDLE
                if isinstance(result, Failure):
                    worker.end(at_once=True)
                    if item is _IDLE:
                        raise RuntimeError(f"A process died before it had anything to do: {result.reason}.")
                    pool[pool.index(worker)] = kind.start(prepare, args, gpus)
                    if result.status == CRASHED and not any(one is item for one in lost):
                        again.append(item)
                        continue
                elif again:
                    lost.append(again.pop())
                    _hand_out(worker, iter(lost[-1:]), timeout_s)
                elif not _hand_out(worker, todo, timeout_s):
                    is_over = True
                    pool.remove(worker)
                    worker.end(at_once=False)
                if item is not _IDLE:
                    lost = [one for one in lost if one is not item]
                    yield item, result
    finally:
        for worker in pool:
            worker.end(at_once=True)


def _hand_out(worker: _Worker, todo: Iterator[Any], timeout_s: Callable[[Any], float]) -> bool:
    for item in todo:
        worker.item, worker.until = item, time.monotonic() + timeout_s(item)
        worker.give(item)
        return True
    return False


def _finished(
    kind: Any, pool: Sequence[_Worker], timeout_s: Callable[[Any], float]
) -> list[tuple[_Worker, Any]]:
    """Those that wait for an item, with what came of the one before; waits a second at most."""
    ready = kind.ready(pool, 1.0)
    found = [(worker, worker.result()) for worker in ready]
    now = time.monotonic()
    late = [worker for worker in pool if worker not in ready and now > worker.until]
    return found + [(worker, _late(timeout_s(worker.item))) for worker in late]


def _late(seconds: float) -> Failure:
    return Failure("timeout", f"nothing came of it in {seconds:.0f} s")


class _Process:
    """A process of this machine, at the other end of a pipe; it ends when the pipe is closed, as by a kill
    of this one.
    """

    def __init__(self, process: Any, pipe: Connection) -> None:
        self.process, self.pipe = process, pipe
        self.item, self.until = _IDLE, math.inf

    @classmethod
    def start(cls, prepare: Prepare, args: tuple, gpus: float) -> Self:
        ours, theirs = _spawn.Pipe()
        process = _spawn.Process(target=_serve, args=(theirs, prepare, args), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours)

    @classmethod
    def ready(cls, busy: Sequence[Self], seconds: float) -> list[Self]:
        pipes = wait([worker.pipe for worker in busy], seconds)
        return [worker for worker in busy if worker.pipe in pipes]

    def give(self, item: Any) -> None:
        with suppress(ConnectionError):  # it has died: the result says so
            self.pipe.send(item)

    def result(self) -> Any:
        try:
            raised, result = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join(5)
            return Failure(CRASHED, f"the process that read it died (exit code {self.process.exitcode})")
        if raised:
            raise result
        return result

    def end(self, at_once: bool) -> None:
        self.pipe.close()
        if at_once:
            self.process.kill()
        self.process.join()


def _serve(pipe: Connection, prepare: Prepare, args: tuple) -> None:
    """Runs in the process: that it is prepared, then items in, results out."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with suppress(EOFError, ConnectionError, KeyboardInterrupt):
        try:
            work = prepare(*args)
            pipe.send((False, None))
            while True:
                pipe.send((False, work(pipe.recv())))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:
            pipe.send((True, error))  # is raised where the results are awaited
            raise SystemExit(1) from error


class _RayActor:
    """A Ray actor with one core, anywhere in the cluster; while there is no room for it, it has no item."""

    def __init__(self, actor: Any) -> None:
        self.actor, self.answer = actor, actor.prepare.remote()
        self.item, self.until = _IDLE, math.inf

    @classmethod
    def start(cls, prepare: Prepare, args: tuple, gpus: float) -> Self:
        remote = _ray().remote(num_cpus=1, num_gpus=gpus, max_restarts=0)
        return cls(remote(_Served).remote(prepare, args))

    @classmethod
    def ready(cls, busy: Sequence[Self], seconds: float) -> list[Self]:
        found, _ = _ray().wait([worker.answer for worker in busy], num_returns=1, timeout=seconds)
        return [worker for worker in busy if worker.answer in found]

    def give(self, item: Any) -> None:
        self.answer = self.actor.work.remote(item)

    def result(self) -> Any:
        ray = _ray()
        try:
            return ray.get(self.answer)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            why = str(error).strip().partition("\n")[0]
            return Failure(CRASHED, f"the process that read it died ({type(error).__name__}: {why})")

    def end(self, at_once: bool) -> None:
        _ray().kill(self.actor)


class _Served:
    """What an actor holds."""

    def __init__(self, prepare: Prepare, args: tuple) -> None:
        self._prepare, self._args = prepare, args

    def prepare(self) -> None:
        self._work = self._prepare(*self._args)

    def work(self, item: Any) -> Any:
        return self._work(item)


def _ray() -> Any:
    """The package. Raises: ValueError where it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            "engine=ray needs the package ray: pip install -e '.[cluster]' in the checkout, or take "
            "engine=local."
        ) from error
    return ray


def _connect(workers: int) -> None:
    """To the cluster that RAY_ADDRESS names; else one is started here, with a core for each worker."""
    ray = _ray()
    if ray.is_initialized():
        return
    here: dict[str, Any] = {}
    if "RAY_ADDRESS" not in os.environ:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        here = {"num_cpus": workers, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level=logging.WARNING, **here)
