"""What ``scripts/infer.py`` does for one video: files in; a video with sound, its provenance and a contact
sheet out, or nothing at all.

Everything that can be wrong is checked before the first frame is made; the video appears under its name only
when complete. A list of videos goes through the same ``Animator``, row by row.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vasa.audio import read_audio
from vasa.face.space import FaceSpace
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.personal_face import PersonalFace
from vasa.inference.asked import asked_of
from vasa.inference.combinations import check_together
from vasa.inference.config import InferRun
from vasa.inference.face_video import FaceVideo
from vasa.inference.generation import Generation, Portrait
from vasa.inference.jobs import Job
from vasa.inference.performance import (
    Performance,
    Sound,
    Subject,
    heard,
    motion_files,
    opened,
    performance,
    reenactment,
    save_motion,
    subject,
)
from vasa.inference.pipeline import TalkingFace
from vasa.inference.provenance import Claim, input_files, sidecar_of, write_card
from vasa.inference.report import write_sidecar
from vasa.inference.tidy import tidy
from vasa.inference.untrained_warp import UntrainedWarp
from vasa.progress import Progress
from vasa.records import VIDEO_FPS
from vasa.video import VideoWriter, check_video_path, spread, write_contact_sheet

log = logging.getLogger(__name__)

OUTPUTS = Path("outputs")
SHEET_FRAMES = 11  # with the portrait before them: two rows of six


@dataclass(slots=True)
class Files:
    """Where the video, its provenance and its contact sheet go."""

    video: Path
    provenance: Path
    sheet: Path


def output_files(config: InferRun) -> Files:
    """The files of a run. Neither provenance nor sheet can take the name of the user's own picture."""
    if config.output is None and config.image is None:
        folder = OUTPUTS / "demo"
        return Files(folder / "demo.mp4", folder / "demo.provenance.json", folder / "contact_sheet.png")
    video = config.output or OUTPUTS / f"{config.image.stem if config.image else 'demo'}.mp4"
    return Files(video, sidecar_of(video), video.with_suffix(".sheet.png"))


def check(config: InferRun, job: Job | None = None, folder: Path = Path()) -> None:
    """Checks the options of one video before any file is read. job: the row of a list in ``folder``.

    Raises: ValueError, OSError.
    """
    check_together(config)
    if config.output is not None:
        check_video_path(config.output)
        _check_no_input_is_replaced(config, input_files(config, job or Job(), folder))
    asked_of(config)


def _check_no_input_is_replaced(config: InferRun, inputs: list[tuple[str, Path]]) -> None:
    files = output_files(config)
    written = [files.video, files.provenance, files.sheet, *motion_files(config, files.video)]
    for path in written:
        for option, given in inputs:
            if path.exists() and path.samefile(given):
                raise ValueError(
                    f"output {str(files.video)!r} would replace {str(given)!r}, which {option} names; give "
                    "the video another name."
                )


def animate(config: InferRun, face: TalkingFace | None = None) -> Files:
    """Makes one video. face: an already loaded checkpoint; ``checkpoint``, ``device``, ``detector`` and
    ``matte`` are then not read.

    Raises: ValueError, FileNotFoundError, OSError, each in one sentence; nothing half-written stays behind.
    """
    files = output_files(config)
    check(replace(config, output=files.video))
    photo, sound = opened(config), heard(config)
    with tidy([files.video.parent], "Stopped; no video was made."):
        with Progress("frames") as shown:
            animator = Animator(face or load_face(config), shown)
            made = animator.make(config, files.video, photo=photo, sound=sound)
        write_card(files.video.parent)
        write_contact_sheet(files.sheet, [made.generation.portrait.picture, *made.shown])
    log.info(
        "%s: %d frames of %dx%d px, %.1f s.",
        files.video,
        made.generation.num_frames,
        *reversed(made.generation.shape),
        made.timings["total_s"],
    )
    beside = [path.name for path in (files.provenance, files.sheet, *made.beside)]
    log.info("Beside it: %s.", ", ".join(beside))
    return files


def load_face(config: InferRun) -> TalkingFace:
    """The checkpoint of a run, on its device and threads."""
    torch.set_num_threads(config.threads)
    return TalkingFace.from_pretrained(
        config.checkpoint,
        config.device,
        config.detector,
        config.matte,
        config.fast,
        config.landmarks,
        config.speed,
    )


@dataclass(slots=True)
class Made:
    """One video that is there. shown: frames for a contact sheet. timings: seconds by part, and in all.
    beside: files of its motion.
    """

    generation: Generation
    shown: list[np.ndarray]
    timings: dict[str, float]
    beside: list[Path]


@dataclass(slots=True)
class Animator:
    """Makes videos with one loaded checkpoint; keeps the last portrait, as lists repeat it. told: hears after
    each frame how many of how many are made; what it raises ends the video."""

    face: TalkingFace
    told: Callable[[int, int], None] = lambda done, total: None
    _last: tuple[dict[str, Any], Subject] | None = field(default=None)

    def make(
        self,
        config: InferRun,
        video: Path,
        job: Job | None = None,
        folder: Path = Path(),
        photo: np.ndarray | None = None,
        sound: Sound | None = None,
    ) -> Made:
        """One video, then its provenance. job: the row of a list, if it asks for more than options do, with
        files in ``folder``. photo, sound: where they have been read already.

        Raises: ValueError, FileNotFoundError, OSError; no half-written file stays behind.
        """
        started = time.perf_counter()
        job = job or Job()
        sound = sound or heard(config)
        framed = job.framed
        if not job.learned and photo is None and config.image is None and self.face.person is not None:
            photo, framed = self.face.person.portrait, True
        with self._rendering(job.learned):
            who, fresh = self._prepared(config, replace(job, framed=framed), photo)
            portrait = who if isinstance(who, Portrait) else who.portrait
            spoken = sound[0] if config.driving is None and config.motion is None else None
            claim = Claim.of(config, job, folder, self.face.checkpoint, portrait.picture, spoken)
            made = self._performance(config, job, folder, who, sound)
            shown, writer = _write_video(made, video, claim, self.told)
        generation = made.generation
        beside = save_motion(self.face, config, made, video)
        timings = {**generation.timings, "encode_s": writer.encode_s, "waiting_s": writer.waiting_s}
        timings["portrait_s"] = generation.timings["portrait_s"] if fresh else 0.0
        timings["total_s"] = time.perf_counter() - started
        sound = (made.sound, made.sound_hz)
        write_sidecar(video, claim, config, generation, self.face.checkpoint, sound, timings)
        return Made(generation, shown, timings, beside)

    @contextmanager
    def _rendering(self, learned: bool) -> Iterator[None]:
        """With the checkpoint's face space, or with its untrained warp in its place."""
        whole: FaceSpace = self.face.face
        if not learned:
            space = whole.space if isinstance(whole, PersonalFace) else whole
            if not isinstance(space, FaceAutoencoder) or not space.config.source_pixels:
                raise ValueError(
                    "learned=false wants a checkpoint whose face space carries pixels (face.source_pixels), "
                    "such as checkpoints/demo."
                )
            self.face.face = UntrainedWarp(space)
        try:
            yield
        finally:
            self.face.face = whole

    def _prepared(self, config: InferRun, job: Job, photo: np.ndarray | None) -> tuple[Subject, bool]:
        """Who is shown, and whether that was made ready just now."""
        if job.pose_from is not None or job.expression_from is not None:
            config = replace(config, keep_expression=0.0)  # a driver's takes its place
        names = ("size", "allow_centre_crop", "keep_expression", "background", "paste", "face_box")
        key = {name: getattr(config, name) for name in names}
        key["framing"] = config.keypoints.framing
        key |= {"image": _identity(config.image) or config.seed, "framed": job.framed, "learned": job.learned}
        if self._last is not None and self._last[0] == key:
            return self._last[1], False
        who = subject(config, self.face, opened(config) if photo is None else photo, job.framed)
        self._last = key, who
        return who, True

    def _performance(
        self, config: InferRun, job: Job, folder: Path, who: Subject, sound: Sound
    ) -> Performance:
        """The frames of a video, as long as what is heard (driven by videos: at most)."""
        drivers = [driver for driver in (job.pose_from, job.expression_from) if driver is not None]
        if not drivers and job.driven_by is None:
            return performance(config, self.face, who, sound)
        waveform, rate_hz = sound
        if waveform is None or not isinstance(who, Portrait):
            raise ValueError(
                "pose_from, expression_from and driven_by go with a photograph as image, and with a sound."
            )
        seconds = len(waveform) / rate_hz
        if drivers:
            most = round(seconds * VIDEO_FPS)
            seen = [FaceVideo(folder / driver, self.face.aligner, True, most) for driver in drivers]
            generation = reenactment(self.face, who, seen[0], seen[-1], config.batch_frames)
            return Performance(generation, waveform, rate_hz)
        driving, driving_hz = read_audio(folder / (job.driven_by or ""))
        driving = np.resize(driving, round(seconds * driving_hz))  # repeated or cut to that length
        made = performance(config, self.face, who, (driving, driving_hz))
        return replace(made, sound=waveform, sound_hz=rate_hz)


def _identity(path: Path | None) -> tuple[str, int, int] | None:
    """A file, and which version of it."""
    if path is None or not path.is_file():
        return None
    found = path.stat()
    return str(path), found.st_mtime_ns, found.st_size


def _write_video(
    made: Performance, path: Path, claim: Claim, told: Callable[[int, int], None]
) -> tuple[list[np.ndarray], VideoWriter]:
    """Writes all frames and gives back those for the contact sheet."""
    generation = made.generation
    wanted, shown = set(spread(generation.num_frames, SHEET_FRAMES)), []
    rate_hz = None if made.sound is None else made.sound_hz
    height, width = generation.shape
    with (
        closing(generation),
        VideoWriter(path, height, width, generation.fps, made.sound, rate_hz, describe=claim.tags) as writer,
    ):
        for number, frame in enumerate(generation):
            writer.write(frame)
            if number in wanted:
                shown.append(frame.copy())
            told(number + 1, generation.num_frames)
    assert writer.num_frames == generation.num_frames
    return shown, writer
