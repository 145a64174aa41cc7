"""The tab that makes every portrait say every sound, as a list of videos, and packs them."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import soundfile

from vasa.app import pickers, show, uploads
from vasa.app.making import Page
from vasa.app.studio import SAID, Progress, StoppedError, watcher
from vasa.app.visits import Visit
from vasa.app.wishes import Wishes
from vasa.inference.animate import Animator
from vasa.inference.batch import Task, plan
from vasa.inference.config import InferRun
from vasa.inference.demo import demo_speech
from vasa.inference.jobs import job_of, write_jobs
from vasa.inference.pipeline import TalkingFace
from vasa.inference.provenance import write_card
from vasa.records import AUDIO_HZ
from vasa.sentence import sentence

LIST, ARCHIVE = "list.jsonl", "videos.zip"


@dataclass(slots=True)
class Listing:
    """Rows of a batch, and how far each is: waiting, busy, done or failed, in words."""

    visit: Visit
    out: Path
    tasks: list[Task]
    states: list[tuple[str, str]]

    @classmethod
    def of(
        cls, visit: Visit, images: list[Path], sounds: list[Path], framed: list[bool], run: InferRun
    ) -> Listing:
        """A row for every portrait and every sound, written as the list that infer.py takes."""
        out = visit.new_folder()
        pairs = itertools.product(zip(images, framed, strict=True), sounds)
        jobs = []
        for number, ((image, known), sound) in enumerate(pairs, 1):
            name = f"{number:02d}_{image.stem}_{sound.stem}"
            jobs.append(job_of({"image": str(image), "audio": str(sound), "framed": known, "name": name}))
        write_jobs(out / LIST, jobs)
        run.list, run.out = out / LIST, out
        tasks = plan(run)
        states = [("failed", task.reason) if task.run is None else ("waiting", "waiting") for task in tasks]
        return cls(visit, out, tasks, states)

    def make(self, face: TalkingFace, progress: Progress) -> str:
        """Makes all rows; a row that fails stops no other. Gives the table with the download, as HTML."""
        animator = Animator(face)
        write_card(self.out)
        for place, task in enumerate(self.tasks):
            if task.run is None:
                continue
            self.states[place] = "busy", "being made"
            animator.told = watcher(self.visit, progress, f"Video {place + 1} of {len(self.tasks)}")
            try:
                made = animator.make(task.run, task.video, task.job, self.out)
            except StoppedError:
                raise
            except SAID as error:
                self.states[place] = "failed", self.visit.plain(sentence(error))
            else:
                frames, seconds = made.generation.num_frames, made.timings["total_s"]
                self.states[place] = "done", f"{frames} frames in {seconds:.1f} s"
        return self.table(self._packed())

    def table(self, archive: str = "") -> str:
        """The rows as HTML."""
        names = [task.job.name for task in self.tasks]
        lines = [(name, *state) for name, state in zip(names, self.states, strict=True)]
        return show.rows(lines, archive)

    def _packed(self) -> str:
        if not any(state == "done" for state, _ in self.states):
            return ""
        path = self.out / ARCHIVE
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(self.out.iterdir()):
                if file.suffix in (".mp4", ".json", ".md"):
                    archive.write(file, file.name)
        return show.archive(self.visit, path)


def batch_tab(page: Page) -> None:
    """Builds the tab."""

    def batch(
        request: gr.Request, portraits: list[str] | None, sounds: list[str] | None, *values: Any
    ) -> Iterator[str]:
        visit = page.visit(request)
        listing: Listing | None = None
        yield show.progress(Progress(task="Reading"))
        try:
            listing = _listing(page, visit, portraits or [], sounds or [], Wishes(*values))
            for now in page.studio.follow(visit, listing.make):
                yield show.progress(now) + listing.table() if isinstance(now, Progress) else now
        except SAID as fault:
            yield show.error(visit.plain(sentence(fault))) + (listing.table() if listing else "")

    with gr.Row():
        with gr.Column(scale=5):
            with gr.Row():
                portraits = gr.File(
                    file_count="multiple",
                    label="Portraits (none: the synthetic ones)",
                    elem_id="batch-portraits",
                )
                sounds = gr.File(
                    file_count="multiple", label="Sounds (none: synthetic speech)", elem_id="batch-sounds"
                )
            values = pickers.controls("batch")
            go, stop = pickers.buttons("batch", "Make all")
        with gr.Column(scale=4):
            result = pickers.result("batch", "Every portrait says every sound; the videos come as one zip.")
    go.click(batch, [portraits, sounds, *values], result, show_progress="hidden", api_name="batch")
    stop.click(page.stop, None, None, queue=False, api_visibility="private")


def _listing(page: Page, visit: Visit, portraits: list[str], sounds: list[str], wishes: Wishes) -> Listing:
    studio = page.studio
    limits, base = studio.config.limits, studio.base()
    count = (len(portraits) or len(page.bundled.paths)) * (len(sounds) or 1)
    if count > limits.rows:
        raise ValueError(f"{count} videos are asked for; wanted at most {limits.rows} at once.")
    images = [uploads.taken(visit, path, limits) for path in portraits] or page.bundled.paths
    heard = [path for path in (uploads.sound(visit, one, limits) for one in sounds) if path is not None]
    if not heard:
        heard = [visit.new_folder() / "synthetic_speech.wav"]
        soundfile.write(heard[0], demo_speech(0, base.seconds), AUDIO_HZ)
    framed = [page.bundled.holds(image) for image in images]
    return Listing.of(visit, images, heard, framed, wishes.of(base))
