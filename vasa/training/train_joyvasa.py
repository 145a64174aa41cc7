"""Builds JoyVASA's denoiser, with the speech encoder in it, from a run's config and trains it.

What differs from the published script: expression terms of both windows count (there the first window's are
overwritten), short clips are padded and not repeated, weights are averaged, and the head's statistics are of
all clips.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from vasa.checkpoint import Weights, content_hash, load_into
from vasa.data.latent_cache import CacheError, LatentCache
from vasa.data.motion_windows import cache_shares
from vasa.data.window_pairs import WindowPairs
from vasa.face.keypoints.space import MOTION_WIDTH
from vasa.motion.joyvasa import JoyvasaModel
from vasa.motion.joyvasa_objective import freeze_front_end
from vasa.motion.joyvasa_template import JoyvasaNormalizer
from vasa.motion.joyvasa_windows import JoyvasaMotion
from vasa.pretrained.speech import load_transformer, transformer_kind
from vasa.training.joyvasa_report import JoyvasaReport
from vasa.training.joyvasa_step import JoyvasaStep, fitted_normalizer
from vasa.training.motion_config import TrainMotionRun
from vasa.training.motion_inputs import (
    EXPORT,
    Film,
    motion_caches,
    refuse_other_face,
    train_model,
    weights_file,
)
from vasa.training.runtime import start

_log = logging.getLogger(__name__)


def train_joyvasa(run: TrainMotionRun, film: Film | None = None) -> Path:
    """As ``train_motion.train_motion``, for model=joyvasa. Raises: CacheError of caches of another face space
    or without sound; CheckpointError of an init of other sizes.
    """
    runtime = start(run.loop)
    caches, validation = motion_caches(run)
    for cache in [*caches, *([validation] if validation else [])]:
        _check(cache)
    export_path = run.run_dir / EXPORT
    refuse_other_face(export_path, caches[0])
    shares, face_hash = cache_shares(caches, run.cache_weights or None), caches[0].header.face_hash
    model, normalizer = _beginning(run, caches)
    freeze_front_end(model)
    if not run.joyvasa.train_speech:
        model.audio_encoder.requires_grad_(False)

    def generator_of(model: JoyvasaModel) -> JoyvasaMotion:
        return JoyvasaMotion(model, normalizer.to(model.start_motion_feat.device), face_hash)

    def step_of(model: JoyvasaModel, windows: WindowPairs) -> JoyvasaStep:
        return JoyvasaStep(model, normalizer, windows, run.joyvasa.objective, run.loop.seed)

    windows = WindowPairs(
        caches,
        window_frames=model.config.window_frames,
        batch_size=run.loop.batch_size,
        seed=run.loop.seed,
        weights=shares.tolist(),
    )
    step = step_of(model, windows)
    report = None
    if validation:
        report = JoyvasaReport(validation, run.validation_clips, run.loop.seed, generator_of, step_of)

    def export(done: int, averages: Mapping[str, nn.Module]) -> Path:
        model = averages["motion"]
        assert isinstance(model, JoyvasaModel)
        init = content_hash(weights_file(run.init)) if run.init else None
        meta = {"steps": done, "samples": done * run.loop.batch_size, "init": init}
        generator_of(model).save(export_path, meta)
        return export_path

    def preview(done: int, averages: Mapping[str, nn.Module]) -> np.ndarray | None:
        model = averages["motion"]
        assert isinstance(model, JoyvasaModel)
        if film is not None:
            film(generator_of(model), run.run_dir / "previews" / f"{done:08d}.mp4")
        return report.preview(done, averages) if report else None

    previewed, validated = preview if report or film else None, report.validate if report else None
    train_model(run, model, step.loss, step.batch_at, export, previewed, validated, runtime)
    return export_path


def _check(cache: LatentCache) -> None:
    """Raises: CacheError where a cache is not of keypoints, or has no sound."""
    if cache.header.layout.width != MOTION_WIDTH:
        raise CacheError(
            f"{cache.folder} holds motion of {cache.header.layout.width} numbers; model=joyvasa learns that "
            f"of keypoints, {MOTION_WIDTH}: encode clips with face=keypoints, or motion templates."
        )
    if not cache.header.source.get("keep_audio"):
        raise CacheError(
            f"latent cache {cache.folder} holds no sound, which model=joyvasa hears itself: encode it with "
            "keep_audio=true."
        )


def _beginning(run: TrainMotionRun, caches: list[LatentCache]) -> tuple[JoyvasaModel, JoyvasaNormalizer]:
    """The model and its statistics: both of ``init``, whose sizes then hold, or new and of the caches."""
    if run.init is not None:
        begun = JoyvasaMotion.from_pretrained(weights_file(run.init))
        _log.info("Sizes and statistics are those of init=%s, whatever joyvasa.network says.", run.init)
        model, normalizer = begun.model.requires_grad_(True), begun.normalizer
    else:
        model, normalizer = JoyvasaModel(run.joyvasa.network), fitted_normalizer(caches)
    if run.joyvasa.speech_weights is not None:
        _load_speech(model, run.joyvasa.speech_weights)
    return model, normalizer


def _load_speech(model: JoyvasaModel, folder: Path) -> None:
    """HuBERT's or wav2vec 2.0's weights, whose graphs and names are the same, into the speech encoder.

    Raises: FileNotFoundError; ValueError; CheckpointError of other sizes.
    """
    try:
        kind = transformer_kind(str(folder))
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"joyvasa.speech_weights={folder} is no HuBERT or wav2vec 2.0; give a folder with its "
            "config.json and weights as transformers stores them, such as those of chinese-hubert-base."
        ) from error
    network, _ = load_transformer(kind, str(folder))
    weights = Weights(network.state_dict(), {}, {}, folder)
    load_into(model.audio_encoder, weights, f"JoyVASA's speech encoder of {folder}")
