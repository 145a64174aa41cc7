"""Diffusion of motion windows: the training objective, guidance over several conditions, sampling.

Schedules and samplers are those of diffusers, always with prediction_type="sample" (the network estimates
X_0, VASA-1 section 3.2), trailing steps (leading ones never see pure noise) and no clipping (normalised
motion is not confined to [-1, 1]).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vasa.motion.conditions import WindowConditions, concatenate, without
from vasa.motion.config import MotionConfig, ScheduleConfig
from vasa.motion.normalizer import Normalizer
from vasa.motion.transformer import MotionTransformer
from vasa.records import MotionLayout

SAMPLERS = ("dpm++", "sde-dpm++", "ddim")
Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, W, E), t (B,)) -> estimate of x_0 (B, W, E)."""


def noising_scheduler(schedule: ScheduleConfig) -> Any:
    """The scheduler whose ``add_noise`` is the forward process q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, 1 -
    alpha_bar_t).
    """
    from diffusers import DDPMScheduler  # heavy, and not needed to build or load a network

    return DDPMScheduler(**_common(schedule), clip_sample=False)


def sampling_scheduler(name: str, schedule: ScheduleConfig) -> Any:
    """A fresh scheduler that steps from noise to x_0. Raises ValueError for a name outside SAMPLERS.

    ddim is DPM-Solver++ of order one, which is the same update: diffusers' own DDIM class does not end at x_0
    where the number of steps does not divide the schedule.
    """
    from diffusers import DPMSolverMultistepScheduler

    if name not in SAMPLERS:
        raise ValueError(f"sampler={name!r}; wanted one of {', '.join(SAMPLERS)}.")
    algorithm = "sde-dpmsolver++" if name == "sde-dpm++" else "dpmsolver++"
    order = 1 if name == "ddim" else 2
    return DPMSolverMultistepScheduler(**_common(schedule), algorithm_type=algorithm, solver_order=order)


def _common(schedule: ScheduleConfig) -> dict[str, Any]:
    return {
        "num_train_timesteps": schedule.num_train_steps,
        "beta_schedule": schedule.beta_schedule,
        "prediction_type": "sample",
        "timestep_spacing": "trailing",
    }


def sample(
    denoise: Denoiser,
    noise: Tensor,
    scheduler: Any,
    steps: int,
    generators: list[torch.Generator] | None = None,
) -> Tensor:
    """From noise (B, W, E) to a sample of x_0; ``generators`` (B) serve stochastic samplers only."""
    return trajectory(denoise, noise, scheduler, steps, generators)[-1]


def trajectory(
    denoise: Denoiser,
    noise: Tensor,
    scheduler: Any,
    steps: int,
    generators: list[torch.Generator] | None = None,
) -> list[Tensor]:
    """All states (B, W, E) that sampling passes: the noise, then one after each of ``steps`` steps."""
    scheduler.set_timesteps(steps, device=noise.device)
    states = [noise * scheduler.init_noise_sigma]
    for t in scheduler.timesteps:
        x_t = states[-1]
        x_0 = denoise(x_t, t.expand(len(x_t)))
        states.append(scheduler.step(x_0, t, x_t, generator=generators).prev_sample)
    return states


def motion_losses(
    estimate: Tensor,
    target: Tensor,
    valid: Tensor,
    smoothed: slice,
    has_history: Tensor,
    join_weight: float = 1.0,
) -> dict[str, Tensor]:
    """Raw loss terms of normalised motion (B, W, E), means over valid frames (B, W).

    x0: squared error, the only term of VASA-1 (equation 3). pose_velocity, pose_acceleration: squared error
    of first and second differences of the ``smoothed`` entries, by default the pose; ours: a network of this
    size leaves visible head jitter without them, and on z_dyn they smooth blinks away. Differences reach back
    into X_pre where has_history (B,), and those that do count ``join_weight`` times: a head that jumps where
    two windows meet is seen every time, though it is one frame of a window.
    """
    error = (estimate - target).float()
    losses = {"x0": _masked_mean(error.square(), valid.float())}
    weight = torch.cat([has_history[:, None].expand(-1, 2), valid], 1).float()
    difference = F.pad(error[..., smoothed], (0, 0, 2, 0))  # X_pre is given: no error there
    for name in ("pose_velocity", "pose_acceleration"):
        difference, weight = difference.diff(dim=1), weight[:, 1:] * weight[:, :-1]
        joining = torch.arange(weight.shape[1], device=weight.device) < 2  # those with a frame of X_pre
        emphasis = torch.where(joining, join_weight, 1.0)
        losses[name] = _masked_mean(difference.square(), weight * emphasis, weight)
    return losses


def _masked_mean(values: Tensor, weight: Tensor, count: Tensor | None = None) -> Tensor:
    """Mean of values (B, W, E) weighted by (B, W) over the number of frames in count (default: weight); 0
    over none.
    """
    total = (values * weight[..., None]).sum()
    return total / ((weight if count is None else count).sum() * values.shape[-1]).clamp(min=1)


def continued(estimate: Tensor, history: Tensor, pose: slice) -> Tensor:
    """The estimate of X_0 (B, W, E) with a pose that carries on from X_pre (B, K, E) without a jump or a
    kink.

    The first frame is moved to where the last two of X_pre lead, at their speed, and the rest follows by a
    cubic that dies out over K frames. Not in the paper, which does not say how its windows join. A small
    model misses the place by a tenth of the pose's spread, which is fifteen times the acceleration of a real
    head, every two seconds.
    """
    last, before = history[:, -1, pose], history[:, -2, pose]
    first, second = estimate[:, 0, pose], estimate[:, 1, pose]
    speed = last - before
    offset, turn = last + speed - first, speed - (second - first)
    num_frames = min(history.shape[1], estimate.shape[1])
    tau = (torch.arange(num_frames, device=estimate.device) / num_frames)[:, None]
    position, slope = (1 - tau).square() * (1 + 2 * tau), num_frames * tau * (1 - tau).square()
    moved = estimate.clone()
    moved[:, :num_frames, pose] += position * offset[:, None] + slope * turn[:, None]
    return moved


class MotionDiffusion(nn.Module):
    """The motion model: denoiser, normaliser and schedule. Everything in it but ``normalizer`` is in
    normalised units.
    """

    def __init__(self, config: MotionConfig, layout: MotionLayout, audio_dim: int) -> None:
        super().__init__()
        self.config, self.layout, self.audio_dim = config, layout, audio_dim
        self.transformer = MotionTransformer(config, layout.width, audio_dim)
        self.normalizer = Normalizer(layout, audio_dim)
        self._noising: Any = None

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t from x0, noise (B, W, E) and steps t (B,)."""
        if self._noising is None:
            self._noising = noising_scheduler(self.config.schedule)
        return self._noising.add_noise(x0, noise, t)

    def forward(
        self, x_t: Tensor, t: Tensor, conditions: WindowConditions, valid: Tensor | None = None
    ) -> Tensor:
        """H(x_t, t, C): the estimate of X_0, shapes as in ``MotionTransformer.forward``."""
        return self.transformer(x_t, t, conditions, valid)

    def losses(
        self, x0: Tensor, noise: Tensor, t: Tensor, conditions: WindowConditions, valid: Tensor
    ) -> dict[str, Tensor]:
        """Raw terms of ``motion_losses`` for clean motion x0 (B, W, E) noised to t (B,); valid (B, K + W)."""
        x0 = torch.where(valid[:, -x0.shape[1] :, None], x0, 0.0)
        return self.losses_at(self.add_noise(x0, noise, t), t, x0, conditions, valid)

    def losses_at(
        self, x_t: Tensor, t: Tensor, target: Tensor, conditions: WindowConditions, valid: Tensor
    ) -> dict[str, Tensor]:
        """Raw terms of ``motion_losses`` for the estimate at x_t (B, W, E); valid (B, K + W)."""
        estimate = self(x_t, t, conditions, None if bool(valid.all()) else valid)
        return motion_losses(
            estimate,
            target,
            valid[:, -x_t.shape[1] :],
            self.layout.pose if self.config.objective.smoothed == "pose" else slice(None),
            conditions.has_history,
            self.config.objective.join_weight,
        )

    def guided(
        self,
        x_t: Tensor,
        t: Tensor,
        conditions: WindowConditions,
        guidance: Mapping[str, float],
        valid: Tensor | None = None,
    ) -> Tensor:
        """(1 + sum_c l_c) H(C) - sum_c l_c H(C | c = null): VASA-1, section 3.2 (classifier-free guidance),
        in one batched call.

        A strength of 0 adds no evaluation, nor does a condition that is absent from the whole batch (its term
        is zero).
        """
        active = {c: s for c, s in guidance.items() if s != 0 and bool(getattr(conditions, f"has_{c}").any())}
        if not active:
            return self(x_t, t, conditions, valid)
        num = 1 + len(active)
        batch = concatenate([conditions, *(without(conditions, c) for c in active)])
        present = None if valid is None else valid.repeat(num, 1)
        full, *nulled = self(x_t.repeat(num, 1, 1), t.repeat(num), batch, present).chunk(num)
        return full + sum(
            strength * (full - null) for strength, null in zip(active.values(), nulled, strict=True)
        )

    def sample(
        self,
        noise: Tensor,
        conditions: WindowConditions,
        *,
        steps: int,
        guidance: Mapping[str, float],
        sampler: str,
        generators: list[torch.Generator] | None = None,
    ) -> Tensor:
        """Normalised motion (B, W, E) from noise (B, W, E), its pose continuing the history there is."""
        denoise = self.denoiser(conditions, guidance)
        return sample(denoise, noise, sampling_scheduler(sampler, self.config.schedule), steps, generators)

    def denoiser(
        self, conditions: WindowConditions, guidance: Mapping[str, float], valid: Tensor | None = None
    ) -> Denoiser:
        """``guided`` under these conditions, as sampling asks for it: with a pose that carries on."""
        given = conditions.has_history[:, None, None]

        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            estimate = self.guided(x_t, t, conditions, guidance, valid)
            return torch.where(given, continued(estimate, conditions.history, self.layout.pose), estimate)

        return denoise
