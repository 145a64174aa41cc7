"""A portrait and speech to a finished video, as infer.py makes it: by stage, in every way of computing it.

The ways run in turns, round by round, so that each is compared with the plain one in the same minutes.
Before that each makes the frames once, unmeasured: what is done first takes longer, and the frames tell how
far a way is from the plain one's pictures.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from vasa.benchmark.paired import Ratio, ratio_of
from vasa.benchmark.timing import all_seconds_of
from vasa.benchmark.variants import Variant, last_of_each
from vasa.inference.animate import Animator, load_face
from vasa.inference.config import InferRun
from vasa.inference.performance import heard, opened, performance, subject
from vasa.inference.pipeline import TalkingFace
from vasa.progress import Progress
from vasa.records import VIDEO_FPS

Load = Callable[[str, Sequence[str]], Any]
"""Of a run's name and options, the run: ``vasa.config.load``, which scripts hand in."""
STAGES = ("load", "portrait", "features", "motion", "render", "encode", "waiting")
"""features: sound as the motion model hears it. encode goes on beside the rest; waiting: for it."""
COMPARED = 100
"""Frames of which pictures are compared."""
WHITE = 255.0


@dataclass(frozen=True, slots=True)
class Taken:
    """One video: seconds of the wall and of all processors, and by stage."""

    wall_s: float
    cpu_s: float
    stages: dict[str, float]


@dataclass(slots=True)
class Case:
    """One way at one size and batch. psnr_db: of its frames against the plain way's; None: equal, or itself.
    faster: how many times as fast by the wall; cheaper: by processor time.
    """

    size: int
    batch: int
    variant: str
    options: tuple[str, ...]
    frames: int = 0
    shape: tuple[int, int] = (0, 0)
    psnr_db: float | None = None
    rounds: list[Taken] = field(default_factory=list)
    faster: Ratio | None = None
    cheaper: Ratio | None = None

    @property
    def frames_per_s(self) -> float:
        return self.frames / median(taken.wall_s for taken in self.rounds)

    @property
    def real_time_factor(self) -> float:
        """Seconds of work for a second of video."""
        return VIDEO_FPS / self.frames_per_s

    def stage_s(self, name: str) -> float:
        return median(taken.stages.get(name, 0.0) for taken in self.rounds)


class TimedSpeech:
    """A speech encoder whose time is told apart from the motion's, in whose course it is asked."""

    def __init__(self, encoder: Any, device: torch.device) -> None:
        self._encoder, self._device, self.seconds = encoder, device, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def features(self, *args: Any, **named: Any) -> torch.Tensor:
        started = time.perf_counter()
        found = self._encoder.features(*args, **named)
        synchronise(self._device)
        self.seconds += time.perf_counter() - started
        return found


def synchronise(device: torch.device) -> None:
    """Waits for what a CUDA device was given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(slots=True)
class _Way:
    """A variant made ready. run: its options, of which a video's folder is all that is missing."""

    case: Case
    run: InferRun
    face: TalkingFace
    speech: TimedSpeech
    animator: Animator
    load_s: float

    def make(self, folder: Path) -> Taken:
        """One video from the portrait on; the checkpoint is loaded."""
        self.animator = Animator(self.face)  # a new one has no portrait yet
        self.speech.seconds = 0.0
        video = folder / "video.mp4"
        started = time.perf_counter()
        made, cpu_s = all_seconds_of(lambda: self.animator.make(self.run, video))
        synchronise(self.face.device)
        wall_s = time.perf_counter() - started
        stages = {name: made.timings.get(f"{name}_s", 0.0) for name in STAGES}
        stages |= {"load": self.load_s, "features": self.speech.seconds}
        stages["motion"] = max(0.0, stages["motion"] - stages["features"])
        self.case.frames, self.case.shape = made.generation.num_frames, made.generation.shape
        return Taken(wall_s, cpu_s, stages)


def measure_case(
    load: Load, given: Sequence[str], variants: Sequence[Variant], size: int, batch: int, rounds: int
) -> list[Case]:
    """Every variant at one size and batch; the first is what the others are compared with.

    given: options of infer.py that all share. Raises: what infer.py raises.
    """
    shared = [*given, f"size={size}", f"batch_frames={batch}"]
    ways = [_ready(load, shared, variant, size, batch) for variant in variants]
    _compare_pictures(ways)
    with tempfile.TemporaryDirectory(prefix="vasa-benchmark-") as folder, _told(ways, rounds) as told:
        for number in range(rounds):
            for way in ways if number % 2 == 0 else reversed(ways):
                way.case.rounds.append(way.make(Path(folder)))
                told()
    plain, *others = (way.case for way in ways)
    for case in others:
        case.faster = ratio_of(*([taken.wall_s for taken in one.rounds] for one in (plain, case)))
        case.cheaper = ratio_of(*([taken.cpu_s for taken in one.rounds] for one in (plain, case)))
    return [way.case for way in ways]


@contextmanager
def _told(ways: Sequence[_Way], rounds: int) -> Iterator[Callable[[], None]]:
    case, done = ways[0].case, 0

    def told() -> None:
        nonlocal done
        done += 1
        shown(done)

    with Progress(f"videos at {case.size} px, {case.batch} at once", rounds * len(ways)) as shown:
        yield told


def _ready(load: Load, shared: Sequence[str], variant: Variant, size: int, batch: int) -> _Way:
    options = last_of_each(variant.options)
    run: InferRun = load("infer", [*shared, *options])
    started = time.perf_counter()
    face = load_face(run)
    synchronise(face.device)
    load_s = time.perf_counter() - started
    face.speech = speech = TimedSpeech(face.speech, face.device)
    return _Way(Case(size, batch, variant.name, options), run, face, speech, Animator(face), load_s)


def _compare_pictures(ways: Sequence[_Way]) -> None:
    """Fills in how far each way's frames are from the first's."""
    plain = _frames(ways[0])
    for way in ways[1:]:
        way.case.psnr_db = psnr_db(_frames(way), plain)


def _frames(way: _Way) -> np.ndarray:
    portrait = subject(way.run, way.face, opened(way.run))
    made = performance(way.run, way.face, portrait, heard(way.run)).generation
    kept = [frame.copy() for number, frame in enumerate(made) if number < COMPARED]
    return np.stack(kept)


def psnr_db(frames: np.ndarray, others: np.ndarray) -> float | None:
    """Of uint8 frames against others, over all of them; None where they are equal."""
    error = np.mean([np.square(a.astype(float) - b).mean() for a, b in zip(frames, others, strict=True)])
    return None if error == 0 else float(10 * math.log10(WHITE**2 / error))
