"""One video for a visitor, and the iterators that the page's tabs show: work in, HTML out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from vasa.app import show, uploads
from vasa.app.config import LimitsConfig
from vasa.app.pickers import Bundled
from vasa.app.plot import draw, loudness, read_table
from vasa.app.studio import SAID, Progress, Studio, watcher
from vasa.app.visits import Visit, Visits
from vasa.inference.animate import Animator, check
from vasa.inference.config import InferRun
from vasa.inference.jobs import Job
from vasa.inference.motion_files import CSV_ENDING
from vasa.inference.performance import heard
from vasa.inference.pipeline import TalkingFace
from vasa.inference.provenance import write_card
from vasa.sentence import sentence

Reader = Callable[[Visit, str | None, LimitsConfig], Path | None]
"""Takes an upload into the visit and looks at it, as those of ``uploads`` do."""


@dataclass(slots=True)
class Page:
    """What all tabs share."""

    studio: Studio
    visits: Visits
    bundled: Bundled

    def visit(self, request: gr.Request) -> Visit:
        """The visit of whoever asks."""
        return self.visits.of(str(request.session_hash))

    def stop(self, request: gr.Request) -> None:
        """Ends what a visitor makes."""
        self.visit(request).stopped.set()

    def check(self, visit: Visit, place: str, read: Reader, upload: str | None) -> bool:
        """Reads what was chosen at a place; leaves among the visit's faults what is wrong with it.

        Result: whether that is news. It is none when a browser says the same choice twice, as gradio's do,
        or something else was chosen meanwhile, of which another call will tell.
        """
        if place in visit.chosen and visit.chosen[place] == upload:
            return False
        visit.chosen[place] = upload
        visit.faults.pop(place, None)
        fault = ""
        try:
            read(visit, upload, self.studio.config.limits)
        except SAID as error:
            fault = visit.plain(sentence(error))
        if visit.chosen[place] != upload:
            return False
        if fault:
            visit.faults[place] = fault
        return True

    def seen(self, visit: Visit, upload: str | None, limits: LimitsConfig) -> Path:
        """A portrait that shows a face. Raises: ValueError, FileNotFoundError."""
        return self.look(uploads.picture(visit, upload, limits))

    def look(self, path: Path) -> Path:
        """A picture of the visit's whose face has been found; the page's own have one. Raises: ValueError."""
        if not self.bundled.holds(path):
            self.studio.look(path)
        return path

    def shown(
        self, visit: Visit, prepare: Callable[[], Callable[[TalkingFace, Progress], str]]
    ) -> Iterator[str]:
        """Progress and then the result of a piece of work, or its error, as HTML.

        prepare: reads what the visitor brought, before the queue; gives the work.
        """
        yield show.progress(Progress(task="Reading"))
        try:
            for now in self.studio.follow(visit, prepare()):
                yield show.progress(now) if isinstance(now, Progress) else now
        except SAID as fault:
            yield show.error(visit.plain(sentence(fault)))

    def portrait(self, visit: Visit, upload: str | None) -> tuple[Path, Job]:
        """The picture that shall be shown, and whether its face is known. Raises: ValueError, OSError."""
        path = uploads.picture(visit, upload, self.studio.config.limits)
        return path, Job(framed=self.bundled.holds(path))


def make(
    animator: Animator, visit: Visit, progress: Progress, run: InferRun, job: Job, task: str, title: str = ""
) -> str:
    """One video in the visit's folder: player, provenance and what moved, as HTML.

    Raises: what ``Animator.make`` raises.
    """
    check(run)
    folder, hears = visit.new_folder(), heard(run)
    video = folder / f"{run.image.stem if run.image else 'talk'}.mp4"
    animator.told = watcher(visit, progress, task)
    made = animator.make(run, video, job, sound=hears)
    write_card(folder)
    plot = None
    if run.motion_csv:
        plot = folder / "what_moved.png"
        table = read_table(video.with_name(video.stem + CSV_ENDING))
        waveform, rate_hz = hears
        frames = made.generation.num_frames
        draw(plot, table, None if waveform is None else loudness(waveform, rate_hz, frames))
    return show.video(visit, video, title, plot)
