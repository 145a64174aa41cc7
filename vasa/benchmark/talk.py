"""A live talk over procedural speech, as stream.py holds it: at its own pace, and as fast as it goes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from vasa.benchmark.end_to_end import Load
from vasa.checkpoint import atomic_path
from vasa.inference.animate import load_face
from vasa.inference.demo import demo_speech
from vasa.inference.generation import Portrait
from vasa.inference.live_ends import sound_of, start_source
from vasa.inference.live_times import PARTS
from vasa.inference.performance import opened, subject
from vasa.inference.stream import LiveTalk
from vasa.inference.stream_config import StreamRun
from vasa.progress import Progress
from vasa.records import AUDIO_HZ, VIDEO_FPS

SEED = 0
"""Of the voice."""
SETTLED_FRAMES = 2 * VIDEO_FPS
"""After which memory is looked at for the first time: libraries have taken theirs by then."""


@dataclass(frozen=True, slots=True)
class Talk:
    """statistics: ``LiveTimes.as_dict``. shown_per_s: frames that were made, not shown again, a second from
    the first to the last. early_mib, late_mib: memory of the process after two seconds of frames, and at the
    end; None where the system does not tell.
    """

    size: int
    pace: bool
    seconds: float
    statistics: dict[str, float]
    shown_per_s: float
    early_mib: float | None
    late_mib: float | None

    @property
    def parts(self) -> dict[str, tuple[float, float]]:
        """Of each part, p50 and p99 in milliseconds."""
        return {
            part: (self.statistics[f"{part}_p50_ms"], self.statistics[f"{part}_p99_ms"])
            for part in PARTS
            if f"{part}_p50_ms" in self.statistics
        }


def measure_talk(load: Load, given: Sequence[str], size: int, seconds: float, pace: bool) -> Talk:
    """One talk. given: options of stream.py. Raises: what stream.py raises."""
    with tempfile.TemporaryDirectory(prefix="vasa-benchmark-") as folder:
        audio = Path(folder) / "speech.wav"
        with atomic_path(audio) as temporary:
            soundfile.write(temporary, demo_speech(SEED, seconds), AUDIO_HZ)
        words = ["source=file", f"audio={audio}", "sink=stdout", f"pace={str(pace).lower()}"]
        return _talk(load("stream", [*given, *words, f"size={size}"]), seconds)


def _talk(run: StreamRun, seconds: float) -> Talk:
    options = run.options()
    face = load_face(options)
    portrait = subject(options, face, opened(options))
    if not isinstance(portrait, Portrait):
        raise ValueError(f"image={options.image} is a video; a live talk wants a photograph.")
    talk = LiveTalk(face, portrait, options, run.plan, None, run.pace)
    start_source(run, talk, sound_of(run))
    begun, early = 0.0, None
    what = f"frames of a talk at {run.size} px{'' if run.pace else ', unpaced'}"
    with Progress(what, round(seconds * VIDEO_FPS)) as shown:
        for moment in talk:
            if moment.number == 0:
                begun = time.perf_counter()
            elif moment.number == SETTLED_FRAMES:
                early = resident_mib()
            shown(moment.number + 1)
    passed = time.perf_counter() - begun
    found = talk.statistics()
    rate = (found["frames"] - found["drops"] - 1) / max(passed, 1e-9)
    return Talk(portrait.picture.shape[0], run.pace, seconds, found, rate, early, resident_mib())


def resident_mib() -> float | None:
    """Memory that this process holds now; None where the system does not tell."""
    status = Path("/proc/self/statm")
    if not status.is_file():
        return None
    pages = int(status.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
