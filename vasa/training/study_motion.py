"""Studies of stage 2: variants of a recipe trained over seeds on exact animation, probed on unseen voices."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vasa.checkpoint import atomic_path, plain
from vasa.data.latent_cache import LatentCache
from vasa.motion.windows import MotionGenerator
from vasa.training.encode_motion import encode_motion
from vasa.training.motion_config import EncodeMotionRun, TrainMotionRun
from vasa.training.motion_probe import probe_motion
from vasa.training.study import Row, measured_once, spread, table_lines
from vasa.training.study_config import StudyMotionRun
from vasa.training.train_motion import train_motion

COLUMNS = (
    "lip_r",
    "lip_shuffled",
    "lip_amplitude",
    "gaze_deg",
    "distance_error",
    "mood_r",
    "blinks_per_min",
    "pose_jitter",
    "pose_amplitude",
    "join_jerk",
)
LATENTS = "{latents}"
"""Stands in arguments for the folder of the study's caches."""
_log = logging.getLogger(__name__)

Load = Callable[[str, Sequence[str]], TrainMotionRun | EncodeMotionRun]


def study_motion(run: StudyMotionRun, load: Load) -> Path:
    """Encodes, trains and probes what is missing; returns the table, Markdown.

    load: (name of a run, arguments) -> its config.
    """
    latents = run.run_dir / "latents"
    for name, arguments in run.caches.items():
        encoding = load("encode_motion", [*run.encode, *arguments, f"output={latents / name}"])
        assert isinstance(encoding, EncodeMotionRun)
        encode_motion(encoding)
    rows: dict[str, dict[str, list[Row]]] = {probed: {} for probed in run.probed}
    for name in run.only or run.variants:
        for seed in run.seeds:
            folder = run.run_dir / name / str(seed)
            arguments = [*run.base, *run.variants[name], f"run_dir={folder}", f"loop.seed={seed}"]
            cfg = load("train_motion", [a.replace(LATENTS, str(latents)) for a in arguments])
            assert isinstance(cfg, TrainMotionRun)
            for label, row in _measured(run, cfg, folder, latents).items():
                probed, _, drawn = label.partition(" ")
                rows[probed].setdefault(f"{name}{drawn and ', ' + drawn}", []).append(row)
    table = run.run_dir / "study.md"
    with atomic_path(table) as temporary:
        temporary.write_text(markdown(rows, run.seeds), encoding="utf-8")
    _log.info("%s", table)
    return table


def _measured(run: StudyMotionRun, cfg: TrainMotionRun, folder: Path, latents: Path) -> dict[str, Row]:
    """Rows of one training, by "<cache> <how it was drawn>"."""

    def measure() -> dict[str, Row]:
        begun = time.process_time()
        weights = train_motion(cfg)
        seconds = time.process_time() - begun
        generator, found = MotionGenerator.from_pretrained(weights), {}
        for probed in run.probed:
            cache = LatentCache(latents / probed)
            for drawn, guidance in {"": None, **run.guidance}.items():
                label = f"{probed} {drawn}".strip()
                found[label] = probe_motion(generator, cache, run.num_clips, 0, guidance) | {"cpu_s": seconds}
        return found

    made_from = {"run": plain(cfg), "study": plain(run.guidance), "caches": plain(run.caches)}
    return measured_once(folder, made_from | {"encode": run.encode, "num_clips": run.num_clips}, measure)


def markdown(rows: dict[str, dict[str, list[Row]]], seeds: Sequence[int]) -> str:
    """A table per probed cache: means over seeds with the lowest and highest."""
    lines = [f"Seeds {', '.join(map(str, seeds))}: mean (lowest to highest)."]
    for probed, variants in rows.items():
        columns = [c for c in COLUMNS if all(c in row for found in variants.values() for row in found)]
        cells = {name: [spread(found, c) for c in columns] for name, found in variants.items()}
        lines += ["", f"On {probed}:", "", *table_lines("variant", columns, cells)]
    return "\n".join(lines) + "\n"
