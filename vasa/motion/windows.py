"""Long audio in windows: each window is drawn given the last frames of the one before, in constant memory.

Raw motion comes out as soon as W frames of audio features are there, so streaming is iterating. Knows no
audio files, speech encoder or face: features come in, raw motion goes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vasa.checkpoint import CheckpointError, Weights, from_plain, load_into, load_weights, plain, save_weights
from vasa.motion.conditions import WindowConditions, from_controls
from vasa.motion.config import MotionConfig
from vasa.motion.diffusion import MotionDiffusion
from vasa.records import Conditions, MotionLayout

KIND = "motion"


class MotionGenerator:
    """A trained motion model together with what it must be used with.

    layout: the face space's. audio: the speech encoder's config as plain data. face_hash: content hash of the
    face checkpoint whose motion it was trained on. defaults: conditions where the user says nothing (VASA-1:
    forward gaze, mean distance).
    """

    def __init__(self, model: MotionDiffusion, audio: Mapping[str, Any], face_hash: str) -> None:
        self.model = model.eval().requires_grad_(False)
        self.layout, self.audio, self.face_hash = model.layout, dict(audio), face_hash
        self.config = model.config
        self.defaults = model.normalizer.default_conditions()

    @property
    def device(self) -> torch.device:
        return self.model.normalizer.motion_mean.device

    @staticmethod
    def from_pretrained(path: str | Path, device: torch.device | str = "cpu") -> MotionGenerator:
        """Loads ``motion.safetensors`` (or the folder that holds it), strictly.

        Raises: FileNotFoundError, CheckpointError.
        """
        path = Path(path)
        weights = load_weights(path / "motion.safetensors" if path.is_dir() else path)
        if weights.meta.get("model") != KIND:
            raise CheckpointError(
                f"{weights.path} holds a {weights.meta.get('model')!r} model; wanted a {KIND} model."
            )
        return _build(weights, device)

    def generate(
        self,
        features: Tensor | Iterable[Tensor],
        conditions: Conditions | None = None,
        *,
        generator: torch.Generator,
        num_frames: int | None = None,
        steps: int | None = None,
        guidance: Mapping[str, float] | None = None,
        sampler: str | None = None,
    ) -> Iterator[Tensor]:
        """Raw motion of one clip, in chunks (t, E), t <= W; nothing is kept but one window and the K frames
        before it.

        features: (T, A) raw audio features at 25 fps, or an iterator of such chunks of any lengths: how they
        are cut does not change the result. conditions: controls (1, ...) for the whole call; None of a field
        is its null condition. generator: the one source of randomness, on the CPU so that a seed means the
        same motion on every device. num_frames: how many frames to make (default: as many as there are
        features); beyond the features the model hears nothing, features beyond it are ignored. steps,
        guidance, sampler: default to the checkpoint's.
        """
        if num_frames is not None and num_frames < 1:
            raise ValueError(f"num_frames={num_frames}; wanted at least 1.")
        chunks = [features] if isinstance(features, Tensor) else features
        batched = (chunk[None] for chunk in chunks)
        for motion in self._windows(
            batched, 1, conditions, [generator], num_frames, steps, guidance, sampler
        ):
            yield motion[0]

    def generate_many(
        self,
        features: Tensor,
        conditions: Conditions | None = None,
        *,
        generators: list[torch.Generator],
        steps: int | None = None,
        guidance: Mapping[str, float] | None = None,
        sampler: str | None = None,
    ) -> Tensor:
        """Raw motion (B, T, E) of B clips of equal length from features (B, T, A), one generator and one row
        of controls each.

        Row i is what ``generate`` makes of it alone, up to rounding.
        """
        if len(generators) != len(features):
            raise ValueError(f"{len(generators)} generators for {len(features)} clips; wanted one each.")
        windows = self._windows(
            [features], len(features), conditions, generators, None, steps, guidance, sampler
        )
        return torch.cat(list(windows), 1)

    @torch.no_grad()
    def _windows(
        self,
        chunks: Iterable[Tensor],
        batch: int,
        controls: Conditions | None,
        generators: list[torch.Generator],
        num_frames: int | None,
        steps: int | None,
        guidance: Mapping[str, float] | None,
        sampler: str | None,
    ) -> Iterator[Tensor]:
        """Windows of raw motion (B, t, E); all but the last have W frames."""
        config, model, device = self.config, self.model, self.device
        W, K, E = config.window_frames, config.history_frames, self.layout.width
        settings = config.sampler
        controls = model.normalizer.normalise_conditions((controls or self.defaults).to(device))
        fixed = from_controls(controls, batch, device)
        history = torch.zeros(batch, K, E, device=device)
        history_audio = torch.zeros(batch, K, model.audio_dim, device=device)
        for index, (audio, heard, count) in enumerate(self._feature_windows(chunks, batch, num_frames)):
            window = WindowConditions(
                audio=audio,
                has_audio=(torch.arange(W, device=device) < heard).expand(batch, W),
                history=history,
                history_audio=history_audio,
                has_history=torch.full((batch,), index > 0, device=device),
                **fixed,
            )
            noise = torch.stack([torch.randn(W, E, generator=g) for g in generators]).to(device)
            motion = model.sample(
                noise,
                window,
                steps=settings.steps if steps is None else steps,
                guidance=settings.guidance.as_dict() if guidance is None else guidance,
                sampler=settings.name if sampler is None else sampler,
                generators=generators,
            )
            history, history_audio = motion[:, W - K :], audio[:, W - K :]
            yield model.normalizer.denormalise(motion[:, :count])

    def _feature_windows(
        self, chunks: Iterable[Tensor], batch: int, num_frames: int | None
    ) -> Iterator[tuple[Tensor, int, int]]:
        """(normalised audio (B, W, A), how many frames are sound, how many to give out) per window."""
        W = self.config.window_frames
        pending = torch.zeros(batch, 0, self.model.audio_dim, device=self.device)
        source, made, ended = iter(chunks), 0, False
        while num_frames is None or made < num_frames:
            while pending.shape[1] < W and not ended:
                chunk = next(source, None)
                if chunk is None:
                    ended = True
                else:
                    pending = torch.cat([pending, self._checked(chunk, batch)], 1)
            heard = min(pending.shape[1], W)
            count = heard if num_frames is None else min(W, num_frames - made)
            if count == 0:
                break
            audio = pending[:, :W]
            if heard < W:
                audio = torch.cat([audio, audio.new_zeros(batch, W - heard, audio.shape[2])], 1)
            yield audio, heard, count
            pending, made = pending[:, W:], made + count
        if made == 0:
            raise ValueError("There are no audio features; wanted at least one frame (40 ms of sound).")

    def _checked(self, chunk: Tensor, batch: int) -> Tensor:
        if chunk.ndim != 3 or chunk.shape[2] != self.model.audio_dim:
            raise ValueError(
                f"audio features have shape {tuple(chunk.shape[1:])}; this motion model wants "
                f"(T, {self.model.audio_dim}), of the speech encoder it was trained with ({self.audio})."
            )
        if not bool(torch.isfinite(chunk).all()):
            raise ValueError(
                "audio features hold NaN or infinite values; wanted finite ones: check the recording."
            )
        return self.model.normalizer.normalise_audio(chunk.to(self.device))


def save_motion(
    path: str | Path,
    model: MotionDiffusion,
    tensors: Mapping[str, Tensor],
    audio: Mapping[str, Any],
    face_hash: str,
    meta: Mapping[str, Any],
) -> str:
    """Writes ``motion.safetensors``: everything ``MotionGenerator`` needs. tensors: the state to store,
    usually the EMA's.

    Returns the file's content hash.
    """
    config = {
        "motion": plain(model.config),
        "dynamics_dim": model.layout.width - model.layout.dynamics.start,
        "audio_dim": model.audio_dim,
        "audio": dict(audio),
        "face_hash": face_hash,
    }
    return save_weights(path, tensors, config, {**meta, "model": KIND})


def _build(weights: Weights, device: torch.device | str) -> MotionGenerator:
    config = weights.config
    layout = MotionLayout.volumetric(config["dynamics_dim"])
    model = MotionDiffusion(from_plain(MotionConfig, config["motion"], "motion"), layout, config["audio_dim"])
    load_into(model, weights, "the motion model")
    return MotionGenerator(model.to(device).float(), config["audio"], config["face_hash"])
