"""Builds stage 2 from its run config and trains it: cache, model, step, report, export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from torch import nn

from vasa.checkpoint import content_hash, load_into, load_weights, plain
from vasa.data.latent_cache import CacheError, LatentCache
from vasa.data.motion_windows import MotionWindows, cache_shares, pooled_statistics
from vasa.face.config import MOTION_ENCODERS
from vasa.motion.diffusion import MotionDiffusion
from vasa.motion.windows import MotionGenerator, save_motion
from vasa.training.distill_step import DistillStep, student_config
from vasa.training.loop import Phase, train
from vasa.training.motion_config import TrainMotionRun
from vasa.training.motion_report import MotionReport
from vasa.training.motion_step import MotionStep
from vasa.training.runtime import start

EXPORT = "motion.safetensors"


Film = Callable[[MotionGenerator, Path], None]
"""Shows a motion model as a video with sound, written to a path: what a script hands over."""


def train_motion(run: TrainMotionRun, film: Film | None = None) -> Path:
    """Trains to the run's number of steps, from a state if its folder holds one. Returns the export.

    film: called at every preview, for previews/<step>.mp4 beside the picture of tracks.
    """
    runtime = start(run.loop)
    caches, validation = _caches(run)
    cache = caches[0]
    shares = cache_shares(caches, run.cache_weights or None)
    export_path = run.run_dir / EXPORT
    _refuse_other_face(export_path, cache)
    teacher = _teacher(run, cache)
    config = student_config(run.motion, teacher.config) if teacher else run.motion
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
            "teacher": content_hash(_file(run.teacher)) if run.teacher else None,
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

    train(
        run.loop,
        [Phase("motion", model, step.loss, run.optimizer)],
        step.batch_at,
        run.run_dir,
        ema={"motion": model},
        export=export,
        preview=preview if report or film else None,
        validate=report.validate if report else None,
        config=plain(run),
        runtime=runtime,
    )
    return export_path


def _caches(run: TrainMotionRun) -> tuple[list[LatentCache], LatentCache | None]:
    """The training and validation caches, all of one face checkpoint and one speech encoder. Raises:
    CacheError.
    """
    wanted = (
        content_hash(run.face / "face.safetensors" if run.face.is_dir() else run.face, MOTION_ENCODERS)
        if run.face
        else None
    )
    first = LatentCache(run.cache, wanted)
    named = [*run.more_caches, *([run.validation_cache] if run.validation_cache else [])]
    others = [LatentCache(folder, first.header.face_hash) for folder in named]
    for other in others:
        if other.header.audio != first.header.audio:
            raise CacheError(
                f"{other.folder} holds features of {other.header.audio}, {run.cache} of "
                f"{first.header.audio}; encode both with the same speech encoder."
            )
    num = len(run.more_caches)
    return [first, *others[:num]], others[num] if run.validation_cache else None


def _file(path: Path) -> Path:
    return path / EXPORT if path.is_dir() else path


def _teacher(run: TrainMotionRun, cache: LatentCache) -> MotionDiffusion | None:
    """The model to learn from. Raises: FileNotFoundError; CacheError if it knows other motion or speech."""
    if run.teacher is None:
        return None
    teacher, header = MotionGenerator.from_pretrained(_file(run.teacher)), cache.header
    if (teacher.face_hash, teacher.audio) != (header.face_hash, header.audio):
        raise CacheError(
            f"teacher {run.teacher} knows motion of face {teacher.face_hash[:12]} and speech as "
            f"{teacher.audio}, {cache.folder} holds {header.face_hash[:12]} and {header.audio}; use the "
            "cache it learned from."
        )
    return teacher.model


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
