"""Where videos are made: one loaded checkpoint, one line of visitors, work in a thread beside the page."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from vasa.app.config import AppRun
from vasa.app.line import Line
from vasa.app.visits import Visit
from vasa.inference.animate import load_face
from vasa.inference.bundle_files import STUDENT_FILE
from vasa.inference.config import InferRun
from vasa.inference.performance import check_face
from vasa.inference.pipeline import TalkingFace
from vasa.inference.portrait import read_picture
from vasa.inference.speed import live_threads
from vasa.sentence import sentence

Result = TypeVar("Result")
log = logging.getLogger(__name__)

LOOK_S = 0.2
"""Seconds between two looks at how far the work is."""
SAID = (ValueError, OSError, ArithmeticError, RuntimeError, MemoryError)
"""What a visitor can cause, or a full disk or memory: said on the page in its sentence."""


class StoppedError(ValueError):
    """The visitor pressed Stop, or went away."""


@dataclass(slots=True)
class Progress:
    """How far a piece of work is. ahead: visitors before this one; None: it is its turn. task: what is done
    now. done, total: frames."""

    ahead: int | None = None
    task: str = ""
    done: int = 0
    total: int = 0
    began_s: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Frames a second since the task began."""
        return self.done / max(time.monotonic() - self.began_s, 1e-6)

    @property
    def left_s(self) -> float:
        """Seconds that the rest of the frames will take at this rate."""
        return (self.total - self.done) / self.rate if self.done else 0.0


class Studio:
    """One checkpoint and those who wait for it. Loading begins at once, in a thread."""

    def __init__(self, config: AppRun, face: TalkingFace | None = None) -> None:
        self.config, self.line = config, Line(config.limits.waiting)
        self._face: Future[TalkingFace] = Future()
        self._live: TalkingFace | None = None
        self._looking = threading.Lock()
        if face is not None:
            self._face.set_result(face)
        else:
            threading.Thread(target=self._load, name="load", daemon=True).start()

    def base(self, **more: Any) -> InferRun:
        """Options of every video, and ``more`` of this one. Raises: ValueError for these."""
        own = self.config
        return InferRun(
            **more,
            checkpoint=own.checkpoint,
            device=own.device,
            precision=own.precision,
            fast=own.fast,
            threads=live_threads(own.threads),
            size=own.size,
            seconds=own.seconds,
            detector=own.detector,
        )

    @property
    def is_loading(self) -> bool:
        """Whether the checkpoint is on its way."""
        return not self._face.done()

    @property
    def state(self) -> str:
        """What is the matter with the checkpoint, in a sentence; empty when it is ready."""
        if self.is_loading:
            return f"Loading the checkpoint {self.config.checkpoint.name} ..."
        error = self._face.exception()
        return sentence(error) if error is not None else ""

    def face(self) -> TalkingFace:
        """The checkpoint, waited for. Raises: what loading it raised."""
        return self._face.result()

    def live_face(self) -> TalkingFace:
        """What talks live: the motion model of few evaluations where it is wanted and there is one.

        Raises: what loading the checkpoint raised.
        """
        face, own = self.face(), self.config
        if own.fast or not own.fast_live or not (own.checkpoint / STUDENT_FILE).is_file():
            return face
        if self._live is None:
            self._live = load_face(replace(self.base(), fast=True))
        return self._live

    def look(self, image: Path) -> None:
        """Searches a picture's face as soon as the checkpoint is there; beside the line, one at a time.

        Raises: ValueError where there is none, or the picture cannot be read.
        """
        if self._face.exception() is not None:
            return  # the page says already what is the matter with the checkpoint
        with self._looking:
            check_face(self.base(image=image), self.face(), read_picture(image))

    def follow(
        self, visit: Visit, work: Callable[[TalkingFace, Progress], Result]
    ) -> Iterator[Progress | Result]:
        """Waits in the line, does ``work`` in a thread, and tells how far it is; last comes its result.

        work: is given the checkpoint, and a Progress to write into. Leaving the iterator stops the work.
        Raises: what the work raises; StoppedError.
        """
        with self.line.join(visit.key) as place:
            visit.stopped.clear()
            while place.ahead or not self._face.done():
                _go_on(visit)
                yield Progress(ahead=place.ahead) if place.ahead else Progress(task="Loading the checkpoint")
                time.sleep(LOOK_S)
            progress = Progress(task="Preparing")
            result: Future[Result] = Future()
            worker = threading.Thread(target=_do, args=(work, self.face(), progress, result), daemon=True)
            worker.start()
            try:
                while worker.is_alive():
                    worker.join(LOOK_S)
                    yield progress
            finally:
                if worker.is_alive():
                    visit.stopped.set()
                    worker.join()
            yield result.result()

    def _load(self) -> None:
        try:
            self._face.set_result(load_face(self.base()))
        except SAID as error:
            log.warning("%s", sentence(error))
            self._face.set_exception(error)


def watcher(visit: Visit, progress: Progress, task: str) -> Callable[[int, int], None]:
    """What an ``Animator`` tells after each frame: writes it into ``progress``, ends stopped work."""
    progress.task, progress.done, progress.total = task, 0, 0
    progress.began_s = time.monotonic()

    def told(done: int, total: int) -> None:
        _go_on(visit)
        progress.done, progress.total = done, total

    return told


def _go_on(visit: Visit) -> None:
    if visit.stopped.is_set():
        raise StoppedError("Stopped; nothing was kept.")


def _do(
    work: Callable[[TalkingFace, Progress], Result],
    face: TalkingFace,
    progress: Progress,
    result: Future[Result],
) -> None:
    try:
        result.set_result(work(face, progress))
    except BaseException as error:
        result.set_exception(error)
        if not isinstance(error, SAID):
            raise  # a defect: the server's log shows it, the page says only that it failed
