"""JoyVASA's training objective: two consecutive windows of a clip, eight terms each, in normalised units.

Differs from upstream's script, where the expression terms of the first window are overwritten by those of the
second: here every term is the mean over the windows that have it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vasa.motion.joyvasa import JoyvasaModel
from vasa.motion.joyvasa_config import JoyvasaObjectiveConfig
from vasa.motion.joyvasa_template import MODEL_EXPRESSION, MODEL_HEAD
from vasa.records import SAMPLES_PER_FRAME

JOINING = 3
"""Frames on either side of where two windows meet that the transition term sees."""


def window_terms(
    estimate: Tensor,
    motion: Tensor,
    past: Tensor | None = None,
    lengths: Tensor | None = None,
    criterion: str = "l2",
) -> dict[str, Tensor]:
    """Unweighted terms of one window, means over real frames: estimate (B, P + L, E) of motion (B, L, E).

    past: the true P frames before (B, P, E), which are then supervised too and meet the window in
    head_transition; None for a first window, whose past is learned. lengths (B,): real frames of the window.
    all: every entry. exp and head: those entries. velocity: of first differences. smoothness: the
    estimate's own second differences against zero. head_transition: the same across the seam, and third
    differences, over three true frames followed by three estimated ones.
    """
    L = motion.shape[1]
    found = estimate[:, -L:] if past is None else estimate
    wanted = motion if past is None else torch.cat([past, motion], 1)
    real = torch.arange(L, device=motion.device).expand(len(motion), L)
    real = real < (L if lengths is None else lengths[:, None])
    if past is not None:
        real = torch.cat([real.new_ones(past.shape[:2]), real], 1)
    terms = {"all": _distance(found - wanted, criterion, real)}
    for name, entries in (("exp", MODEL_EXPRESSION), ("head", MODEL_HEAD)):
        error, own = (found - wanted)[..., entries], found[..., entries]
        pairs = real[:, 1:] & real[:, :-1]
        triples = pairs[:, 1:] & pairs[:, :-1]
        terms[name] = _distance(error, criterion, real)
        terms[f"{name}_velocity"] = _distance(error.diff(dim=1), criterion, pairs)
        terms[f"{name}_smoothness"] = _distance(own.diff(n=2, dim=1), criterion, triples)
    if past is not None:
        seam = torch.cat([past[:, -JOINING:], estimate[:, -L:][:, :JOINING]], 1)[..., MODEL_HEAD]
        second = seam.diff(n=2, dim=1)  # (B, 4, 7); the middle two span the seam
        terms["head_transition"] = _distance(second[:, 1:3], criterion) + _distance(
            second.diff(dim=1), criterion
        )
    return terms


def _distance(error: Tensor, criterion: str, real: Tensor | None = None) -> Tensor:
    """Mean of |error| or its square over the frames (B, T) that are real; 0 over none."""
    size = error.abs() if criterion == "l1" else error.square()
    if real is None:
        return size.mean()
    return (size * real[..., None]).sum() / (real.sum() * size.shape[-1]).clamp(min=1)


def training_estimate(
    model: JoyvasaModel,
    motion: Tensor,
    audio: Tensor,
    past: tuple[Tensor, Tensor],
    step: Tensor,
    noise: Tensor,
    has_audio: Tensor,
) -> Tensor:
    """The network's estimate (B, P + L, E) of clean motion (B, L, E) noised to step (B,).

    audio (B, L, A), the null vector where has_audio (B,) is False. past: motion (B, P, E) and audio
    (B, P, A), never null.
    """
    heard = torch.where(has_audio[:, None, None], audio, model.null_audio_feat)
    x_t = model.diffusion_sched.add_noise(motion, noise, step)
    return model.denoising_net(x_t, heard, *past, step)


def freeze_front_end(model: JoyvasaModel) -> None:
    """Keeps the convolutions of the speech encoder as they are; all else of it is trained, as upstream."""
    front_end: Any = model.audio_encoder.feature_extractor
    front_end._freeze_parameters()


class JoyvasaObjective:
    """What one optimiser step minimises."""

    def __init__(self, config: JoyvasaObjectiveConfig) -> None:
        self.config = config

    def losses(
        self, model: JoyvasaModel, motion: Tensor, waveform: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Unweighted terms for normalised motion (B, 2 L, E) and its sound (B, 2 L * SAMPLES_PER_FRAME).

        The first window starts from the learned past; the second from the true last P frames and from what
        was heard of the first, without gradient. generator: on the CPU, for all that the objective draws.
        Raises: ValueError.
        """
        own, batch = model.config, len(motion)
        L, P = own.window_frames, own.history_frames
        wanted = (batch, 2 * L, own.motion_dim), (batch, 2 * L * SAMPLES_PER_FRAME)
        if (tuple(motion.shape), tuple(waveform.shape)) != wanted:
            raise ValueError(
                f"motion {tuple(motion.shape)} with sound {tuple(waveform.shape)}; wanted two windows: "
                f"{wanted[0]} with {wanted[1]}."
            )
        if own.target != "sample":
            raise ValueError(f"a model with target={own.target!r}; wanted sample, which the terms are for.")
        past, true_past = model.start(batch), None
        terms: dict[str, list[Tensor]] = {}
        for window, share in enumerate((self.config.cut_first, self.config.cut_second)):
            clean = motion[:, window * L : (window + 1) * L]
            sound = waveform[:, window * L * SAMPLES_PER_FRAME : (window + 1) * L * SAMPLES_PER_FRAME]
            lengths = _lengths(batch, L, share, generator).to(motion.device)
            audio = model.audio_features(_cut(sound, lengths * SAMPLES_PER_FRAME), L)
            shown = _cut(clean, lengths)
            estimate = self._estimate(model, shown, audio, past, generator)
            found = window_terms(estimate, shown, true_past, lengths, self.config.criterion)
            for name, value in found.items():
                terms.setdefault(name, []).append(value)
            true_past = clean[:, -P:]
            past = (true_past, audio[:, -P:].detach())
        return {name: torch.stack(values).mean() for name, values in terms.items()}

    def _estimate(
        self,
        model: JoyvasaModel,
        motion: Tensor,
        audio: Tensor,
        past: tuple[Tensor, Tensor],
        generator: torch.Generator,
    ) -> Tensor:
        batch, device = len(motion), motion.device
        step = torch.randint(1, model.config.num_steps + 1, (batch,), generator=generator)
        noise = torch.randn(motion.shape, generator=generator)
        has_audio = torch.rand(batch, generator=generator) >= self.config.null_audio
        return training_estimate(
            model, motion, audio, past, step.to(device), noise.to(device), has_audio.to(device)
        )

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of ``losses``."""
        return torch.stack([getattr(self.config, name) * value for name, value in terms.items()]).sum()


def _lengths(batch: int, L: int, share: float, generator: torch.Generator) -> Tensor:
    """Real frames (B,) of windows of L, of which about ``share`` are cut at 1 .. L - 1."""
    cut = torch.rand(batch, generator=generator) < share
    at = torch.randint(1, L, (batch,), generator=generator)
    return torch.where(cut, at, L)


def _cut(values: Tensor, lengths: Tensor) -> Tensor:
    """values (B, T, ...) with zeros from lengths (B,) on."""
    real = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
    return values * real.view(*real.shape, *([1] * (values.ndim - 2)))
