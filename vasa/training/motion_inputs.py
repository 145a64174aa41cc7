"""What the trainings of stage 2 share: caches that belong together, the file of the model, the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vasa.checkpoint import load_weights, plain
from vasa.data.latent_cache import CONTROL_WIDTHS, CacheError, LatentCache
from vasa.face.spaces import encoders_hash, face_file
from vasa.motion.config import MotionConfig
from vasa.motion.joyvasa_windows import JoyvasaMotion
from vasa.motion.windows import MotionGenerator
from vasa.training.loop import Phase, train
from vasa.training.milestones import Export, Preview, Validate
from vasa.training.motion_config import TrainMotionRun
from vasa.training.runtime import Runtime

EXPORT = "motion.safetensors"
Film = Callable[[MotionGenerator | JoyvasaMotion, Path], None]
"""Shows a motion model as a video with sound, written to a path: what a script hands over."""


def motion_caches(run: TrainMotionRun) -> tuple[list[LatentCache], LatentCache | None]:
    """The training and validation caches, all of one face checkpoint and one speech encoder. Raises:
    CacheError.
    """
    wanted = encoders_hash(face_file(run.face)) if run.face else None
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


def without_unknown(config: MotionConfig, caches: Sequence[LatentCache]) -> MotionConfig:
    """The config by which a condition that no clip has, as motion templates have none, is never shown: else
    the model would meet it for the first time at inference.
    """
    unknown = {
        name: 1.0
        for name in CONTROL_WIDTHS
        if all(cache.control(clip, name) is None for cache in caches for clip in range(len(cache)))
    }
    return replace(config, dropout=replace(config.dropout, **unknown)) if unknown else config


def weights_file(path: Path) -> Path:
    """The model's file that a run folder, or a file, names."""
    return path / EXPORT if path.is_dir() else path


def refuse_other_face(export_path: Path, cache: LatentCache) -> None:
    """A run folder belongs to one face checkpoint: resuming it on another's motion would train nonsense."""
    if not export_path.is_file():
        return
    found = load_weights(export_path).config.get("face_hash", "")
    if found != cache.header.face_hash:
        raise CacheError(
            f"{export_path.parent} was trained on face {found[:12]}, {cache.folder} holds motion of "
            f"{cache.header.face_hash[:12]}; choose another run_dir, or the cache it began with."
        )


def train_model(
    run: TrainMotionRun,
    model: nn.Module,
    loss: Callable[[Any, int], dict[str, Tensor]],
    batch_at: Callable[[int], Any],
    export: Export,
    preview: Preview | None,
    validate: Validate | None,
    runtime: Runtime,
) -> None:
    """The training loop as a run of stage 2 asks for it: one model, whose average is shown and exported."""
    train(
        run.loop,
        [Phase("motion", model, loss, run.optimizer)],
        batch_at,
        run.run_dir,
        ema={"motion": model},
        export=export,
        preview=preview,
        validate=validate,
        config=plain(run),
        runtime=runtime,
    )
