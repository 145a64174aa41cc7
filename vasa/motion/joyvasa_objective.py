"""JoyVASA's training objective: two consecutive windows of a clip, eight terms each, in normalised units.

Differs from upstream's script, where the expression terms of the first window are overwritten by those of the
second: here every term is the mean over the windows that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from vasa.motion.joyvasa import JoyvasaModel
from vasa.motion.joyvasa_config import JoyvasaConfig, JoyvasaObjectiveConfig
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
        there = real[:, past.shape[1] - JOINING :][:, : 2 * JOINING]  # begins with the past, which is
        terms["head_transition"] = _distance(second[:, 1:3], criterion, there[:, 3:5]) + _distance(
            second.diff(dim=1), criterion, there[:, 3:]
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


@dataclass(slots=True)
class ObjectiveDraws:
    """All that chance decides of the loss of B samples of two windows.

    step (B, 2) int64, 1 .. T. noise (B, 2 L, E). has_audio (B, 2) bool. cut (B, 2) int64: frames after which
    a window ends, L where it is whole.
    """

    step: Tensor
    noise: Tensor
    has_audio: Tensor
    cut: Tensor

    @classmethod
    def of(cls, rng: np.random.Generator, model: JoyvasaConfig, objective: JoyvasaObjectiveConfig) -> Self:
        """One sample's, as a batch of one."""
        L = model.window_frames
        shares = np.array([objective.cut_first, objective.cut_second])
        is_cut, at = rng.random(2) < shares, rng.integers(1, L, 2)
        noise = rng.standard_normal((1, 2 * L, model.motion_dim), dtype=np.float32)
        return cls(
            step=torch.from_numpy(rng.integers(1, model.num_steps + 1, (1, 2))),
            noise=torch.from_numpy(noise),
            has_audio=torch.from_numpy(rng.random((1, 2)) >= objective.null_audio),
            cut=torch.from_numpy(np.where(is_cut, at, L)[None]),
        )

    @classmethod
    def joined(cls, draws: Sequence[Self]) -> Self:
        """Those of several samples as one batch."""
        return cls(**{f.name: torch.cat([getattr(one, f.name) for one in draws]) for f in fields(cls)})


class JoyvasaObjective:
    """What one optimiser step minimises."""

    def __init__(self, config: JoyvasaObjectiveConfig) -> None:
        self.config = config

    def losses(
        self,
        model: JoyvasaModel,
        motion: Tensor,
        waveform: Tensor,
        draws: ObjectiveDraws,
        lengths: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Unweighted terms for normalised motion (B, 2 L, E) and its sound (B, 2 L * SAMPLES_PER_FRAME).

        The first window starts from the learned past; the second from the true last P frames and from what
        was heard of the first, without gradient. lengths (B,): frames that are there, of 2 L; samples that
        end within their first window have no second one. Raises: ValueError.
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
        there = torch.full((batch,), 2 * L, device=motion.device) if lengths is None else lengths
        past, true_past = model.start(batch), None
        terms: dict[str, list[Tensor]] = {}
        for window in (0, 1):
            rows = there > window * L
            if not bool(rows.any()):
                break
            clean = motion[rows, window * L : (window + 1) * L]
            sound = waveform[rows, window * L * SAMPLES_PER_FRAME : (window + 1) * L * SAMPLES_PER_FRAME]
            real = torch.minimum(draws.cut[rows, window], there[rows] - window * L)
            audio = model.audio_features(_cut(sound, real * SAMPLES_PER_FRAME), L)
            shown, before = _cut(clean, real), (past[0][rows], past[1][rows])
            estimate = training_estimate(
                model,
                shown,
                audio,
                before,
                draws.step[rows, window],
                draws.noise[rows, window * L : (window + 1) * L],
                draws.has_audio[rows, window],
            )
            supervised = None if true_past is None else true_past[rows]
            found = window_terms(estimate, shown, supervised, real, self.config.criterion)
            for name, value in found.items():
                terms.setdefault(name, []).append(value)
            true_past = clean[:, -P:]
            past = (true_past, audio[:, -P:].detach())
        terms.setdefault("head_transition", [motion.new_zeros(())])  # of clips that end before they meet
        return {name: torch.stack(values).mean() for name, values in terms.items()}

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of ``losses``."""
        return torch.stack([getattr(self.config, name) * value for name, value in terms.items()]).sum()


def _cut(values: Tensor, lengths: Tensor) -> Tensor:
    """values (B, T, ...) with zeros from lengths (B,) on."""
    real = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
    return values * real.view(*real.shape, *([1] * (values.ndim - 2)))
