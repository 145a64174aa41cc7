"""Builds stage 2 from its run config and trains it: cache, model, step, report, export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from vasa.checkpoint import content_hash, load_into, load_weights
from vasa.data.latent_cache import CacheError, LatentCache
from vasa.data.motion_windows import MotionWindows, cache_shares, pooled_statistics
from vasa.motion.diffusion import MotionDiffusion
from vasa.motion.windows import MotionGenerator, save_motion
from vasa.training.distill_step import DistillStep, student_config
from vasa.training.motion_config import TrainMotionRun
from vasa.training.motion_inputs import (
    EXPORT,
    Film,
    motion_caches,
    refuse_other_face,
    train_model,
    weights_file,
    without_unknown,
)
from vasa.training.motion_report import MotionReport
from vasa.training.motion_step import MotionStep
from vasa.training.runtime import start
from vasa.training.train_joyvasa import train_joyvasa


def train_motion(run: TrainMotionRun, film: Film | None = None) -> Path:
    """Trains to the run's number of steps, from a state if its folder holds one. Returns the export.

    film: called at every preview, for previews/<step>.mp4 beside the picture of tracks.
    """
    if run.model == "joyvasa":
        return train_joyvasa(run, film)
    runtime = start(run.loop)
    caches, validation = motion_caches(run)
    cache = caches[0]
    shares = cache_shares(caches, run.cache_weights or None)
    export_path = run.run_dir / EXPORT
    refuse_other_face(export_path, cache)
    teacher = _teacher(run, cache)
    config = student_config(run.motion, teacher.config) if teacher else without_unknown(run.motion, caches)
    model = MotionDiffusion(config, cache.header.layout, cache.header.audio_dim)
    if run.init is not None:
        load_into(model, load_weights(run.init), "the motion model")
    if teacher:
        model.normalizer.load_state_dict(teacher.normalizer.state_dict())
    else:
        model.normalizer.set_statistics(pooled_statistics(caches, shares))
    windows = MotionWindows(
        caches,
        weights=shares.tolist(),
        window_frames=config.window_frames,
        history_frames=config.history_frames,
        batch_size=run.loop.batch_size,
        seed=run.loop.seed,
        start_share=run.start_share,
        min_window=config.lengths.min_window,
        min_history=config.lengths.min_history,
        whole_share=config.lengths.whole_share,
    )
    seed = run.loop.seed
    step = (
        DistillStep(model, teacher, run.teacher_steps, windows, seed)
        if teacher
        else MotionStep(model, windows, seed)
    )
    report = MotionReport(validation, run.validation_clips, run.loop.seed) if validation else None

    def export(done: int, averages: Mapping[str, nn.Module]) -> Path:
        meta = {
            "steps": done,
            "samples": done * run.loop.batch_size,
            "init": str(run.init) if run.init else None,
            "teacher": content_hash(weights_file(run.teacher)) if run.teacher else None,
        }
        header = cache.header
        save_motion(export_path, model, averages["motion"].state_dict(), header.audio, header.face_hash, meta)
        return export_path

    def preview(done: int, averages: Mapping[str, nn.Module]) -> np.ndarray | None:
        if film is not None:
            shown = averages["motion"]
            assert isinstance(shown, MotionDiffusion)
            folder = run.run_dir / "previews"
            folder.mkdir(parents=True, exist_ok=True)
            film(
                MotionGenerator(shown, cache.header.audio, cache.header.face_hash), folder / f"{done:08d}.mp4"
            )
        return report.preview(done, averages) if report else None

    previewed, validated = preview if report or film else None, report.validate if report else None
    train_model(run, model, step.loss, step.batch_at, export, previewed, validated, runtime)
    return export_path


def _teacher(run: TrainMotionRun, cache: LatentCache) -> MotionDiffusion | None:
    """The model to learn from. Raises: FileNotFoundError; CacheError if it knows other motion or speech."""
    if run.teacher is None:
        return None
    teacher, header = MotionGenerator.from_pretrained(weights_file(run.teacher)), cache.header
    if (teacher.face_hash, teacher.audio) != (header.face_hash, header.audio):
        raise CacheError(
            f"teacher {run.teacher} knows motion of face {teacher.face_hash[:12]} and speech as "
            f"{teacher.audio}, {cache.folder} holds {header.face_hash[:12]} and {header.audio}; use the "
            "cache it learned from."
        )
    return teacher.model
