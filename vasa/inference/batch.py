"""The videos of a list, in one process or several, on one device or several; a killed list goes on.

A row is made by itself: what it shows depends on the row, the checkpoint and the options beside the list,
never on its neighbours, their order or the number of processes. A row that fails is reported and stops
nobody. A row that is there, whole and made for exactly this, is passed over.

Processes share the rows as neighbours in the list, which share portraits. ``workers`` starts them here;
``torchrun`` (RANK, WORLD_SIZE, LOCAL_RANK) has started them, and they meet in files, without a process group.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vasa.face.volumetric.person import PERSON_FILE
from vasa.inference.animate import Animator, check, load_face
from vasa.inference.config import InferRun
from vasa.inference.eval_sidecar import has_eval_sidecar, write_eval_sidecar
from vasa.inference.jobs import CLIP_FILES, Job, read_rows
from vasa.inference.list_report import (
    FAILED,
    Failed,
    Outcome,
    add_parts,
    remove_stale_parts,
    write_list_report,
    write_part,
)
from vasa.inference.performance import motion_files
from vasa.inference.pipeline import TalkingFace
from vasa.inference.provenance import Claim, is_finished, write_card
from vasa.inference.tidy import tidy
from vasa.sentence import sentence
from vasa.supervised import Failure, supervise

log = logging.getLogger(__name__)

_BEGAN_S = time.time()
"""When this process began: torchrun starts all at once, and none has told anything before."""
ROW_ERRORS = (ValueError, OSError, ArithmeticError, RuntimeError, MemoryError)
"""What ends a row but not the list: also what torch raises when a picture is too large for the memory."""


@dataclass(slots=True)
class Task:
    """One row of the list: its line, its job, its run; or why there is none."""

    line: int
    job: Job
    run: InferRun | None
    reason: str = ""

    @property
    def video(self) -> Path:
        assert self.run is not None and self.run.output is not None
        return self.run.output

    def failed(self, reason: str) -> Failed:
        named = [self.job.options.get("image"), self.job.options.get("audio")]
        given = " + ".join(str(name) for name in named if name) or str(self.job.place)
        return Failed(line=self.line, input=given, reason=reason)


def run_list(config: InferRun, face: TalkingFace | None = None) -> list[Path]:
    """Makes every video of ``config.list`` that is not there yet; returns those that are there now.

    face: an already loaded checkpoint; all is then made here, in one process.
    Raises: what ``read_rows`` raises, before anything is made; ValueError at the end when rows failed, which
    failed.csv names; OSError when the disk is full, with what is finished in its place.
    """
    tasks, out, started = plan(config), folder_of(config), time.perf_counter()
    rank, processes = _place()
    remove_stale_parts(out, rank, _BEGAN_S)
    mine = tasks[rank * len(tasks) // processes : (rank + 1) * len(tasks) // processes]
    folders = [task.video.parent for task in mine if task.run is not None]
    with tidy(folders, "Stopped; what is finished stays, and the same command carries on."):
        write_card(out)
        outcome = _make_all(config, face, mine)
        if rank > 0:
            write_part(out, rank, outcome)  # and the first process tells
            return _there(mine, outcome)
        add_parts(outcome, out, processes)
        outcome.wall_s = time.perf_counter() - started
        write_list_report(out, outcome, len(tasks))
    if outcome.disk_full:
        raise OSError(errno.ENOSPC, "no space left", str(out))
    if outcome.failed:
        raise ValueError(
            f"{len(outcome.failed)} of {len(tasks)} rows failed, as {out / FAILED} says; the others are "
            "done: mend those rows and run the same command again."
        )
    return _there(tasks, outcome)


def plan(config: InferRun) -> list[Task]:
    """Every row as its own run, checked as far as can be without opening its files."""
    assert config.list is not None
    folder, out = config.list.parent, folder_of(config)
    tasks = []
    for line, row in read_rows(config.list):
        if isinstance(row, ValueError):
            tasks.append(Task(line, Job(), None, sentence(row)))
            continue
        try:
            run = row.run(config, folder, out)
            check(run, row, folder)
            _check_files(run, row, folder)
            tasks.append(Task(line, row, run))
        except (ValueError, OSError) as error:
            tasks.append(Task(line, row, None, sentence(error)))
    return tasks


def folder_of(config: InferRun) -> Path:
    """Where the videos of a list go."""
    assert config.list is not None
    return config.out or config.list.parent


def _check_files(run: InferRun, job: Job, folder: Path) -> None:
    named = {"image": run.image, "audio": run.audio}
    if run.driving is not None or run.motion is not None:
        del named["audio"]
    if run.image is None and (run.checkpoint / PERSON_FILE).is_file():
        del named["image"]  # whom the checkpoint was made for speaks
    for option, path in named.items():
        if path is None:
            raise ValueError(f"the row has no {option}; name one in a column {option} or beside the list.")
    named |= {name: folder / getattr(job, name) for name in CLIP_FILES if getattr(job, name) is not None}
    for option, path in named.items():
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"{option} {path.name!r} does not exist in {path.parent}.")


def _place() -> tuple[int, int]:
    """Which of how many processes this is, as torchrun says."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _on_own_device(config: InferRun) -> TalkingFace:
    """The checkpoint, on the GPU of this process where there are several."""
    if "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    return load_face(config)


def _is_done(task: Task, face: TalkingFace, folder: Path) -> bool:
    assert task.run is not None
    try:
        claim = Claim.of(task.run, task.job, folder, face.checkpoint)
        beside = all(path.is_file() for path in motion_files(task.run, task.video))
        sidecar = has_eval_sidecar(task.run, task.job, folder, face.checkpoint)
        return beside and sidecar and is_finished(task.video, claim)
    except OSError:
        return False  # a file that cannot be read is that row's own failure


def _there(tasks: Sequence[Task], outcome: Outcome) -> list[Path]:
    failed = {one.line for one in outcome.failed}
    return [task.video for task in tasks if task.run is not None and task.line not in failed]


def _make_all(config: InferRun, face: TalkingFace | None, tasks: list[Task]) -> Outcome:
    """The rows of this process, in it or in those that it starts."""
    assert config.list is not None
    folder, started = config.list.parent, time.perf_counter()
    workers = 0 if face is not None or config.workers == 1 else config.workers
    loaded = face or _on_own_device(config)
    outcome = Outcome(failed=[task.failed(task.reason) for task in tasks if task.run is None])
    outcome.seconds["load"] = time.perf_counter() - started
    for one in outcome.failed:
        log.warning("line %d: %s", one.line, one.reason)
    todo = [task for task in tasks if task.run is not None and not _is_done(task, loaded, folder)]
    outcome.there = len(tasks) - len(outcome.failed) - len(todo)
    if outcome.there:
        log.info("%d of %d videos are there already.", outcome.there, len(tasks))
    workers = outcome.processes = min(workers, len(todo))
    prepare: Callable[..., Any] = _prepare if workers else lambda *_: _maker(loaded, folder)
    results = supervise(prepare, (config,), todo, workers, lambda _: math.inf)
    assert isinstance(results, Generator)
    with closing(results):  # which ends the processes, also where this one is stopped
        _follow(results, outcome, len(todo))
    outcome.processes = max(1, workers)
    return outcome


def _prepare(config: InferRun) -> Callable[[Task], _Row]:
    """What a process of several does first."""
    assert config.list is not None
    return _maker(_on_own_device(config), config.list.parent)


@dataclass(slots=True)
class _Row:
    """What became of a row: its frames and its times, or a reason."""

    frames: int = 0
    timings: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    disk_full: bool = False


def _maker(face: TalkingFace, folder: Path) -> Callable[[Task], _Row]:
    animator = Animator(face)

    def make(task: Task) -> _Row:
        assert task.run is not None
        try:
            made = animator.make(task.run, task.video, task.job, folder)
            write_eval_sidecar(task.run, task.job, folder, face.checkpoint)
        except ROW_ERRORS as error:
            full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            return _Row(reason=sentence(error), disk_full=full)
        return _Row(made.generation.num_frames, made.timings)

    return make


def _follow(results: Iterator[tuple[Task, _Row | Failure]], outcome: Outcome, count: int) -> None:
    """Counts what comes, says how far it is, and stops where no more can be written."""
    begun = time.monotonic()
    for done, (task, row) in enumerate(results, 1):
        if isinstance(row, Failure):
            row = _Row(reason=f"{row.reason}; give it more memory, or fewer workers.")
        if row.reason:
            outcome.failed.append(task.failed(row.reason))
            log.warning("line %d, %s: %s", task.line, task.job.place, row.reason)
        else:
            outcome.count(row.frames, row.timings)
        passed = time.monotonic() - begun
        left = _duration(passed / done * (count - done))
        rate = outcome.frames / max(passed, 1e-9)
        log.info("%d of %d videos, %.1f frames/s, %s left: %s", done, count, rate, left, task.job.place)
        if row.disk_full:
            outcome.disk_full = True
            return


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
