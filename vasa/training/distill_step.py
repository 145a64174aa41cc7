"""A student of few steps: it learns to pass in one what its teacher passes in several, guidance included.

For every window the teacher samples as it does at inference: guided, continuing the history. The student gets
the states of that very trajectory and the estimate of X_0 under which one step of DDIM leads from one to the
next: after its few steps it stands where the teacher stood, at the same motion for the same noise. Salimans
and Ho 2022 (progressive distillation, arXiv 2202.00512, section 3) with the guidance of Meng et al. 2023
(2210.03142) inside; we differ in taking the teacher's own trajectory instead of noised data and in one round
instead of halvings.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vasa.data.motion_windows import MotionWindows
from vasa.motion.conditions import WindowConditions, concatenate, drop
from vasa.motion.config import MotionConfig, SamplerConfig
from vasa.motion.diffusion import MotionDiffusion, noising_scheduler, sampling_scheduler, trajectory
from vasa.training.motion_step import MotionBatch, MotionStep, weighted_sum, window_conditions

STUDENT_SAMPLER = "ddim"


def student_config(student: MotionConfig, teacher: MotionConfig) -> MotionConfig:
    """The student's own network and number of steps, with its teacher's windows, noise and guidance."""
    sampler = SamplerConfig(
        name=STUDENT_SAMPLER,
        steps=student.sampler.steps,
        guidance=teacher.sampler.guidance,
        window_frames=teacher.sampler.window_frames,
        lookahead_frames=teacher.sampler.lookahead_frames,
        neutral=teacher.sampler.neutral,
        baked=True,
    )
    return replace(
        student,
        window_frames=teacher.window_frames,
        history_frames=teacher.history_frames,
        schedule=teacher.schedule,
        sampler=sampler,
    )


class DistillStep(MotionStep):
    """Batches and loss of a student for ``training.loop``; ``teacher`` is frozen and in eval mode.

    teacher_steps: steps that the teacher takes, a multiple of the student's. Both see the same normalised
    motion: the student's normaliser is the teacher's.
    """

    def __init__(
        self,
        model: MotionDiffusion,
        teacher: MotionDiffusion,
        teacher_steps: int,
        windows: MotionWindows,
        seed: int,
    ) -> None:
        super().__init__(model, windows, seed)
        self.steps = model.config.sampler.steps
        if teacher_steps % self.steps:
            raise ValueError(
                f"teacher_steps={teacher_steps} with a student of {self.steps}; wanted a multiple of these."
            )
        self.teacher, self.teacher_steps = teacher, teacher_steps
        scheduler = sampling_scheduler(STUDENT_SAMPLER, model.config.schedule)
        scheduler.set_timesteps(self.steps)
        self.t = scheduler.timesteps.clone()
        kept = noising_scheduler(model.config.schedule).alphas_cumprod[self.t].sqrt()
        self.alpha = torch.cat([kept, torch.ones(1)])  # of the states; the last is clean
        self.sigma = (1 - self.alpha.square()).clamp(min=0).sqrt()

    def loss(self, batch: MotionBatch, step: int) -> dict[str, Tensor]:
        model, config = self.model, self.model.config
        conditions = drop(window_conditions(batch.windows, model.normalizer), config.dropout, batch.uniform)
        states = self._trajectory(batch.noise, conditions, batch.windows.valid)
        targets = [self._target(level, states[level], states[level + 1]) for level in range(self.steps)]
        raw = model.losses_at(
            torch.cat(states[:-1]),
            self.t.to(batch.noise.device).repeat_interleave(len(batch.noise)),
            torch.cat(targets),
            concatenate([conditions] * self.steps),
            batch.windows.valid.repeat(self.steps, 1),
        )
        return weighted_sum(raw, config.objective)

    @torch.no_grad()
    def _trajectory(self, noise: Tensor, conditions: WindowConditions, valid: Tensor) -> list[Tensor]:
        """The states (B, W, E) of the teacher's sampling that the student is to pass, first and last among
        them.
        """
        self.teacher.to(noise.device)
        own = self.teacher.config.sampler
        denoise = self.teacher.denoiser(conditions, own.guidance.as_dict(), valid)
        scheduler = sampling_scheduler(own.name, self.teacher.config.schedule)
        return trajectory(denoise, noise, scheduler, self.teacher_steps)[:: self.teacher_steps // self.steps]

    def _target(self, level: int, now: Tensor, then: Tensor) -> Tensor:
        """The estimate of X_0 with which DDIM, x_s = a_s X_0 + (sigma_s / sigma_t)(x_t - a_t X_0), leads from
        one state to the next.
        """
        ratio = self.sigma[level + 1] / self.sigma[level]
        return (then - ratio * now) / (self.alpha[level + 1] - ratio * self.alpha[level])
