"""What preprocessing costs, step by step, and at what rate training reads what came of it.

Without videos of one's own, procedural heads are recorded with grain, at the sizes asked for: what decodes
and encodes as a recording does. One process and one thread; seconds are the processor's, so that other work
on the machine counts less.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from vasa.benchmark.config import BenchmarkDataRun, LoaderBenchmark
from vasa.benchmark.loader import LoaderRate, loader_markdown, measure_loader
from vasa.benchmark.report import processor
from vasa.checkpoint import atomic_path, plain, versions
from vasa.data.config import ClipsConfig, SplitConfig, SpokenConfig
from vasa.data.synthetic.clips import SyntheticClips
from vasa.preprocess.config import PreprocessRun, QualityConfig, SourceConfig
from vasa.preprocess.input_maker import InputMaker
from vasa.preprocess.shard_work import finish, hold_settings, plan_shards
from vasa.preprocess.sources import find_inputs
from vasa.preprocess.step_times import FACES, MASKS, OFFSET, SIGNALS
from vasa.progress import counted
from vasa.records import AUDIO_HZ, VIDEO_FPS
from vasa.video import VideoWriter

NETWORKS = (FACES, SIGNALS, OFFSET, MASKS)
"""Steps whose time is that of networks."""
PEOPLE, SHARE, GRAIN = 4, 0.62, 3.0
"""Of the recordings: who is in them, the face crop's share of the picture, grey levels of noise."""
SECONDS = 10
"""Of each recording."""
MADE_SIZE = 128


@dataclass(slots=True)
class DataRate:
    """Of one folder of videos. video_s: seconds of video read. clips: that came of it. seconds: of one core,
    by step. early_mib, late_mib: most memory the process had held after a third of the videos, and at the
    end.
    """

    name: str
    video_s: float = 0.0
    clips: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    early_mib: float = 0.0
    late_mib: float = 0.0

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    def times_real(self, without: tuple[str, ...] = ()) -> float:
        """Seconds of video a second of one core, but for some steps."""
        return self.video_s / max(self.total - sum(self.seconds.get(step, 0.0) for step in without), 1e-9)


def benchmark_data(run: BenchmarkDataRun) -> str:
    """Measures, writes data.json and data.md, and gives the latter's text.

    Raises: ValueError where no clip comes of the videos; what preprocessing raises.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    rates, loads = [], []
    for name, root in _folders(run).items():
        rate, made = measure_folder(run, name, root)
        rates.append(rate)
        if run.counts:
            clips = replace(LoaderBenchmark().clips, root=made, size=run.size)
            config = LoaderBenchmark(clips=clips, workers=run.workers, seconds=run.loader_seconds)
            loads.append((name, measure_loader(config)))
    report = {
        "preprocess": [asdict(rate) for rate in rates],
        "loader": {name: [asdict(load) for load in found] for name, found in loads},
        "context": {"config": plain(run), "versions": versions(), "cpu": processor()},
    }
    text = markdown(run, rates, loads)
    for name, content in (("data.json", json.dumps(report, indent=1) + "\n"), ("data.md", text)):
        with atomic_path(run.output / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return text


def _folders(run: BenchmarkDataRun) -> dict[str, Path]:
    if run.root is not None:
        return {"as they are": run.root}
    made = {f"{px} px": run.output / "videos" / f"{px}" for px in run.sizes}
    for (name, folder), px in zip(made.items(), run.sizes, strict=True):
        if not folder.is_dir():
            record_heads(folder, px, run.seconds)
        sys.stderr.write(f"{name}: {folder}\n")
    return made


def record_heads(folder: Path, px: int, seconds: float) -> None:
    """Videos of procedural heads that talk, px * px, with sound, of that many seconds in all."""
    spoken = SpokenConfig(espeak_share=0.0, silent_share=0.0, singing_share=0.0)
    config = ClipsConfig(num_clips=PEOPLE, seconds=4.0, size=MADE_SIZE, spoken=spoken)
    clips, rng = SyntheticClips("test", config), np.random.default_rng(0)
    work = folder.with_name(f"{folder.name}.making")
    shutil.rmtree(work, ignore_errors=True)
    for number in counted(f"recordings of {px} px", range(max(2, round(seconds / SECONDS)))):
        clip = clips[number % PEOPLE]
        assert clip.frames is not None
        frames, count = clip.frames, SECONDS * VIDEO_FPS
        grain = rng.normal(0, GRAIN, (8, px, px, 1))
        sound = np.resize(clip.audio, SECONDS * AUDIO_HZ)
        path = work / f"id{number % PEOPLE:05d}" / f"{number:05d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, px, px, audio=sound, audio_hz=AUDIO_HZ, crf=20) as writer:
            for index in range(count):
                back_and_forth = abs((index + len(frames) - 1) % (2 * len(frames) - 2) - len(frames) + 1)
                picture = _framed(frames[back_and_forth], px) + grain[index % len(grain)]
                writer.write(picture.clip(0, 255).astype(np.uint8))
    work.rename(folder)


def _framed(frame: np.ndarray, px: int) -> np.ndarray:
    """A crop (S, S, 3) in the middle of a larger grey picture."""
    side = 2 * round(SHARE * px / 2)
    first = (px - side) // 2
    picture = np.full((px, px, 3), 120.0)
    shown = Image.fromarray(frame).resize((side, side), Image.Resampling.BICUBIC)
    picture[first : first + side, first : first + side] = shown
    return picture


def measure_folder(run: BenchmarkDataRun, name: str, root: Path) -> tuple[DataRate, Path]:
    """Preprocesses a folder of videos here, anew; the rate, and the folder of clips."""
    out = run.output / "clips" / name.replace(" ", "_")
    shutil.rmtree(out, ignore_errors=True)
    made = PreprocessRun(
        data=SourceConfig(root=root, speaker_depth=int(run.root is None)),
        out=out,
        size=run.size,
        masks=run.masks,
        segments=run.segments,
        quality=QualityConfig(max_enlarge=0.0),
        signals=run.signals,
        sync=run.sync,
        detector=run.detector,
        matte=run.matte,
        splits=SplitConfig(validation_share=0.0),
        workers=0,
        device=run.device,
    )
    inputs = find_inputs(made.data)
    maker = InputMaker(made)
    hold_settings(out, {}, inputs)
    plan = plan_shards(out, inputs, made.inputs_per_shard, (0, 1), made.splits)
    rate, seconds = DataRate(name), Counter[str]()
    for number, job in enumerate(counted(f"videos, {name}", plan.todo(), len(inputs))):
        done = maker(job)
        rate.clips += done.clips
        seconds.update(done.seconds)
        rate.video_s += done.video_s
        if 3 * number < len(inputs):
            rate.early_mib = _peak_mib()
    rate.late_mib, rate.seconds = _peak_mib(), dict(seconds.most_common())
    if not rate.clips:
        raise ValueError(f"{root}: no clip came of {len(inputs)} videos; {out} says why.")
    for shard in plan.numbers:
        plan.join(shard)
    finish(plan, {}, made.splits)
    return rate, out


def _peak_mib() -> float:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def markdown(run: BenchmarkDataRun, rates: list[DataRate], loads: list[tuple[str, list[LoaderRate]]]) -> str:
    """The tables."""
    found = "SCRFD" if run.detector.scrfd else "cascade and landmark network"
    lines = [
        f"{processor()}, one thread. To {run.size} px, {'with' if run.masks else 'without'} masks; faces: "
        f"{found}. ms: of one core, a frame of video.",
        "",
        f"| step | {' | '.join(rate.name for rate in rates)} |",
        "|---" * (len(rates) + 1) + "|",
    ]
    steps = list(dict.fromkeys(step for rate in rates for step in rate.seconds))

    def row(title: str, values: list[Any]) -> None:
        lines.append(f"| {title} | {' | '.join(str(value) for value in values)} |")

    for step in steps:
        spent = [1000 * rate.seconds.get(step, 0.0) / (rate.video_s * VIDEO_FPS) for rate in rates]
        row(f"{step}, ms", [f"{ms:.2f}" for ms in spent])
    row("**times real time, all steps**", [f"**{rate.times_real():.1f}**" for rate in rates])
    row("without masks", [f"{rate.times_real((MASKS,)):.1f}" for rate in rates])
    row("without looking for faces", [f"{rate.times_real((FACES,)):.1f}" for rate in rates])
    row("without any network", [f"{rate.times_real(NETWORKS):.1f}" for rate in rates])
    row("clips an hour", [f"{3600 * rate.clips / rate.total:.0f}" for rate in rates])
    row("most of it", [max(rate.seconds, key=lambda step: rate.seconds[step]) for rate in rates])
    row("seconds of video, clips", [f"{rate.video_s:.0f}, {rate.clips}" for rate in rates])
    row("MiB after a third, at the end", [f"{r.early_mib:.0f}, {r.late_mib:.0f}" for r in rates])
    for name, load in loads:
        lines += ["", f"Pairs for stage 1 from the clips of {name}:", "", loader_markdown(load).rstrip()]
    return "\n".join([*lines, ""])
