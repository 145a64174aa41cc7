"""Many videos in one go: a list of jobs in, a video and a job file for each out; a killed list goes on.

The job file beside a video (``a.job.json`` beside ``a.mp4``) holds what was asked for. It is what measuring a
control needs, and all that ``scripts/eval.py`` ever learns of the generator.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vasa.audio import read_audio
from vasa.checkpoint import atomic_path
from vasa.face.space import FaceSpace
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.inference.config import InferRun
from vasa.inference.controls import conditions
from vasa.inference.pipeline import Generation, Portrait, TalkingFace
from vasa.inference.portrait import read_picture
from vasa.preprocess.align import FoundFace
from vasa.preprocess.crop import Crop
from vasa.records import VIDEO_FPS, MotionLayout
from vasa.video import VideoReader, VideoWriter
from vasa.workers import share_work

log = logging.getLogger(__name__)

JOB_ENDING = ".job.json"
CONTROLS = ("gaze_yaw", "gaze_pitch", "distance", "emotion")


@dataclass(slots=True, kw_only=True)
class Job:
    """One video of a list. Paths are relative to the list's folder.

    name, row: the video becomes <row>/<name>.mp4 beside the list. audio: what is heard; driven_by: what
    drives the face, if another sound (a control: lips must then not fit). pose_from, expression_from: videos,
    cut by the crop rule, whose head and whose face the portrait follows instead of speaking; one alone stands
    for both. learned=False: the untrained warp renders. framed: the picture is cut by the crop rule already,
    no face is searched. group: jobs of one group are samples of one clip. reference: the true video, truth:
    what is known of it, both for the job file only. Angles in degrees, as on the command line.
    """

    name: str
    row: str
    image: str
    audio: str
    driven_by: str | None = None
    pose_from: str | None = None
    expression_from: str | None = None
    gaze_yaw: float = 0.0
    gaze_pitch: float = 0.0
    distance: float = 1.0
    emotion: str = "neutral"
    seed: int = 0
    learned: bool = True
    framed: bool = False
    group: str = ""
    reference: str | None = None
    truth: dict[str, Any] = dataclasses.field(default_factory=dict)


def write_jobs(path: Path, jobs: list[Job]) -> None:
    """The list as JSON lines."""
    with atomic_path(path) as temporary:
        lines = [json.dumps(dataclasses.asdict(job), ensure_ascii=False) + "\n" for job in jobs]
        temporary.write_text("".join(lines), encoding="utf-8")


def read_jobs(path: Path) -> list[Job]:
    """The list, checked as a whole before the first video is made.

    Raises: FileNotFoundError; ValueError naming the line, what is wrong with it and what was wanted.
    """
    if not path.is_file():
        raise FileNotFoundError(f"jobs={path} does not exist; give a list made by scripts/make_jobs.py.")
    known = {field.name for field in dataclasses.fields(Job)}
    jobs, places = [], set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            content = json.loads(line)
            unknown = sorted(set(content) - known)
            job = Job(**{name: value for name, value in content.items() if name in known})
        except (json.JSONDecodeError, TypeError) as error:
            raise ValueError(
                f"{where} is no job ({error}); wanted an object with {', '.join(known)}."
            ) from error
        if unknown:
            raise ValueError(
                f"{where} has unknown entries {sorted(unknown)}; wanted some of {sorted(known)}."
            )
        _check(job, path.parent, where)
        if (job.row, job.name) in places:
            raise ValueError(f"{where}: {job.row}/{job.name} is there twice; give each job its own name.")
        places.add((job.row, job.name))
        jobs.append(job)
    if not jobs:
        raise ValueError(f"jobs={path} holds no job; give a list made by scripts/make_jobs.py.")
    return jobs


def _check(job: Job, folder: Path, where: str) -> None:
    for part in (job.row, job.name):
        if not part or Path(part).name != part:
            raise ValueError(f"{where}: {part!r} cannot name a file; wanted a plain name for row and name.")
    for option in ("image", "audio", "driven_by", "pose_from", "expression_from"):
        named = getattr(job, option)
        if named is not None and not (folder / named).is_file():
            raise FileNotFoundError(f"{where}: {option} {named!r} does not exist in {folder}.")
    try:
        conditions(math.radians(job.gaze_yaw), math.radians(job.gaze_pitch), job.distance, job.emotion)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


class UntrainedWarp:
    """A volumetric face space with source pixels whose frames the geometric warp makes alone: a baseline."""

    def __init__(self, space: FaceAutoencoder) -> None:
        self.space = space

    @property
    def layout(self) -> MotionLayout:
        return self.space.layout

    @property
    def size(self) -> int:
        return self.space.size

    def encode(self, image: Tensor, points: Tensor | None = None, resting: float = 0.0) -> Any:
        return self.space.encode(image, points, resting)

    def own_motion(self, appearance: Any) -> Tensor:
        return self.space.own_motion(appearance)

    def motion(self, images: Tensor) -> Tensor:
        return self.space.motion(images)

    def render(self, appearance: Any, motion: Tensor) -> Tensor:
        return self.space.render(appearance, motion, learned=False)

    def controls(self, motion: Tensor) -> Tensor:
        return self.space.controls(motion)

    def set_controls(self, motion: Tensor, controls: Tensor) -> Tensor:
        return self.space.set_controls(motion, controls)


class JobRunner:
    """Makes the videos of a list with one loaded checkpoint; keeps the last portrait, as lists repeat it."""

    def __init__(self, face: TalkingFace, config: InferRun, folder: Path) -> None:
        self.face, self.config, self.folder = face, config, folder
        self._portrait: tuple[tuple[str, float], Portrait] | None = None

    def video_path(self, job: Job) -> Path:
        return self.folder / job.row / f"{job.name}.mp4"

    def stamp(self, job: Job) -> dict[str, Any]:
        """The job file's content: the job, with paths seen from the video's folder, and who made it."""
        content = dataclasses.asdict(job)
        for option in ("image", "audio", "driven_by", "pose_from", "expression_from", "reference"):
            if content[option] is not None:
                content[option] = f"../{content[option]}"
        content["portrait"] = content.pop("image")
        if (
            job.pose_from is not None or job.expression_from is not None
        ):  # frames drive: nothing else is asked
            content = {name: value for name, value in content.items() if name not in CONTROLS}
        known = self.face.checkpoint
        made_by = {name: known[name] for name in ("face_sha256", "motion_sha256") if name in known}
        settings: dict[str, Any] = {"size": self.config.size, "steps": self.config.steps}
        if self.config.background != "carried":
            settings["background"] = self.config.background
        return {**content, "made_by": {**made_by, **settings, **self.config.guidance.as_dict()}}

    def is_done(self, job: Job) -> bool:
        """Whether the video is there, made by this checkpoint for exactly this job."""
        video = self.video_path(job)
        try:
            found = json.loads(video.with_name(job.name + JOB_ENDING).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return video.is_file() and found == self.stamp(job)

    def make(self, job: Job) -> None:
        """One video and, last, its job file. Raises: ValueError, OSError."""
        portrait = self._prepared(job)
        heard, heard_hz = read_audio(self.folder / job.audio)
        learned: FaceSpace = self.face.face
        try:
            if not job.learned:
                assert isinstance(learned, FaceAutoencoder)
                self.face.face = UntrainedWarp(learned)
            generation = self._generation(job, portrait, len(heard) / heard_hz)
            path, size = self.video_path(job), generation.size
            path.parent.mkdir(parents=True, exist_ok=True)
            with VideoWriter(path, size, size, generation.fps, heard, heard_hz) as writer:
                for frame in generation:
                    writer.write(frame)
        finally:
            self.face.face = learned
        with atomic_path(path.with_name(job.name + JOB_ENDING)) as temporary:
            temporary.write_text(json.dumps(self.stamp(job), indent=1, ensure_ascii=False), encoding="utf-8")

    def _generation(self, job: Job, portrait: Portrait, seconds: float) -> Generation:
        """The frames of a job, as long as what is heard (driven by videos: at most)."""
        drivers = [driver for driver in (job.pose_from, job.expression_from) if driver is not None]
        if drivers:
            most = round(seconds * VIDEO_FPS)
            readers = [VideoReader(self.folder / driver) for driver in drivers]
            seen = [np.stack([frame.copy() for frame in r.resampled(stop=most)]) for r in readers]
            return self.face.reenact(portrait, seen[0], seen[-1], self.config.batch_frames)
        driving, driving_hz = read_audio(self.folder / (job.driven_by or job.audio))
        if job.driven_by is not None:
            driving = _as_long_as(driving, driving_hz, seconds)
        return self.face.generate(
            portrait,
            driving,
            driving_hz,
            gaze_yaw=math.radians(job.gaze_yaw),
            gaze_pitch=math.radians(job.gaze_pitch),
            distance=job.distance,
            emotion=job.emotion,
            pose=self.config.pose,
            seed=job.seed,
            steps=self.config.steps,
            guidance=self.config.guidance.as_dict(),
            batch_frames=self.config.batch_frames,
        )

    def _prepared(self, job: Job) -> Portrait:
        driven = job.pose_from is not None or job.expression_from is not None
        kept = 0.0 if driven else self.config.keep_expression  # a driver's expression replaces the portrait's
        if self._portrait is None or self._portrait[0] != (job.image, kept):
            config, picture = self.config, read_picture(self.folder / job.image)
            known = None
            if job.framed:
                side = min(picture.shape[:2])
                known = FoundFace(Crop(side / 2, side / 2, side, side), "framed", 1, 1.0)
            made = self.face.prepare(
                picture, config.size, config.allow_centre_crop, known, kept, config.background
            )
            self._portrait = (job.image, kept), made
        return self._portrait[1]


def _as_long_as(waveform: np.ndarray, rate_hz: int, seconds: float) -> np.ndarray:
    """A sound repeated and cut to a duration."""
    wanted = round(seconds * rate_hz)
    return np.resize(waveform, (wanted, *waveform.shape[1:]))


def run_jobs(config: InferRun, face: TalkingFace | None = None) -> list[Path]:
    """Makes every video of ``config.jobs`` that is not there yet; returns their paths.

    Raises: what ``read_jobs`` raises, before anything is made; ValueError at the end, when some jobs failed:
    it names them, and the others are done.
    """
    assert config.jobs is not None
    jobs = read_jobs(config.jobs)
    if face is None:
        share_work(_make_part, config.workers, config)
    runner = _runner(config, face)
    failed = _make(runner, jobs)
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(jobs)} jobs failed: {', '.join(failed)}; the others are done."
        )
    return [runner.video_path(job) for job in jobs]


def _runner(config: InferRun, face: TalkingFace | None) -> JobRunner:
    assert config.jobs is not None
    torch.set_num_threads(config.threads)
    face = face or TalkingFace.from_pretrained(
        config.checkpoint, config.device, config.detector, config.matte
    )
    return JobRunner(face, config, config.jobs.parent)


def _make_part(config: InferRun, part: int, parts: int) -> None:
    """What one of several processes does: neighbours in the list, which share portraits. Failures are told
    by the caller, who tries them again.
    """
    assert config.jobs is not None
    jobs = read_jobs(config.jobs)
    _make(_runner(config, None), jobs[part * len(jobs) // parts : (part + 1) * len(jobs) // parts])


def _make(runner: JobRunner, jobs: list[Job]) -> list[str]:
    """Makes what is missing; names of what failed."""
    todo = [job for job in jobs if not runner.is_done(job)]
    if len(todo) < len(jobs):
        log.info("%d of %d videos are there already.", len(jobs) - len(todo), len(jobs))
    begun, failed = time.monotonic(), []
    for done, job in enumerate(todo, 1):
        try:
            runner.make(job)
        except (ValueError, OSError) as error:
            log.warning("%s/%s: %s", job.row, job.name, error)
            failed.append(f"{job.row}/{job.name}")
        rate = done / (time.monotonic() - begun)
        log.info(
            "%d of %d videos, %.2f a second, %.0f s left", done, len(todo), rate, (len(todo) - done) / rate
        )
    return failed
