"""Builds stage 2 from its run config and trains it: cache, model, step, report, export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from vasa.checkpoint import content_hash, load_into, load_weights, plain
from vasa.data.latent_cache import CacheError, LatentCache
from vasa.data.motion_windows import MotionWindows
from vasa.face.config import MOTION_ENCODERS
from vasa.motion.diffusion import MotionDiffusion
from vasa.motion.windows import save_motion
from vasa.training.loop import Phase, train
from vasa.training.motion_config import TrainMotionRun
from vasa.training.motion_report import MotionReport
from vasa.training.motion_step import MotionStep
from vasa.training.runtime import start

EXPORT = "motion.safetensors"


def train_motion(run: TrainMotionRun) -> Path:
    """Trains to the run's number of steps, from a state if its folder holds one. Returns the export."""
    runtime = start(run.loop)
    cache, validation = _caches(run)
    export_path = run.run_dir / EXPORT
    _refuse_other_face(export_path, cache)
    config = run.motion
    model = MotionDiffusion(config, cache.header.layout, cache.header.audio_dim)
    if run.init is not None:
        load_into(model, load_weights(run.init), "the motion model")
    model.normalizer.set_statistics(cache.statistics)
    windows = MotionWindows(
        cache,
        window_frames=config.window_frames,
        history_frames=config.history_frames,
        batch_size=run.loop.batch_size,
        seed=run.loop.seed,
        start_share=run.start_share,
    )
    step = MotionStep(model, windows, run.loop.seed)
    report = MotionReport(validation, run.validation_clips, run.loop.seed) if validation else None

    def export(done: int, averages: Mapping[str, nn.Module]) -> Path:
        meta = {
            "steps": done,
            "samples": done * run.loop.batch_size,
            "init": str(run.init) if run.init else None,
        }
        header = cache.header
        save_motion(export_path, model, averages["motion"].state_dict(), header.audio, header.face_hash, meta)
        return export_path

    train(
        run.loop,
        [Phase("motion", model, step.loss, run.optimizer)],
        step.batch_at,
        run.run_dir,
        ema={"motion": model},
        export=export,
        preview=report.preview if report else None,
        validate=report.validate if report else None,
        config=plain(run),
        runtime=runtime,
    )
    return export_path


def _caches(run: TrainMotionRun) -> tuple[LatentCache, LatentCache | None]:
    """The training and validation caches, all of one face checkpoint and one speech encoder. Raises:
    CacheError.
    """
    wanted = (
        content_hash(run.face / "face.safetensors" if run.face.is_dir() else run.face, MOTION_ENCODERS)
        if run.face
        else None
    )
    cache = LatentCache(run.cache, wanted)
    if run.validation_cache is None:
        return cache, None
    validation = LatentCache(run.validation_cache, cache.header.face_hash)
    if validation.header.audio != cache.header.audio:
        raise CacheError(
            f"{run.validation_cache} holds features of {validation.header.audio}, {run.cache} of "
            f"{cache.header.audio}; encode both with the same speech encoder."
        )
    return cache, validation


def _refuse_other_face(export_path: Path, cache: LatentCache) -> None:
    """A run folder belongs to one face checkpoint: resuming it on another's motion would train nonsense."""
    if not export_path.is_file():
        return
    found = load_weights(export_path).config["face_hash"]
    if found != cache.header.face_hash:
        raise CacheError(
            f"{export_path.parent} was trained on face {found[:12]}, {cache.folder} holds motion of "
            f"{cache.header.face_hash[:12]}; choose another run_dir, or the cache it began with."
        )
