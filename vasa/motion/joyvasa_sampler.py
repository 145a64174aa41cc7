"""JoyVASA's diffusion: the schedule's buffers and ancestral sampling with guidance on the audio.

Knows a denoiser by its call alone, no network and no windows. All values are in normalised units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Noise = Callable[[int], Tensor]
"""t -> the noise z (B, L, E) of the step that leaves x_t; asked for once at each step but the last."""
Guided = Callable[[Tensor, int], Tensor]
"""(x_t (B, L, E), t) -> estimates (V, B, L, E): the null one and the one with audio, or the latter alone."""


@dataclass(frozen=True, slots=True)
class DynamicThreshold:
    """Every estimate is clamped to +-s, s being the ``quantile`` of its magnitudes, at least ``least`` and at
    most ``most`` (Saharia et al. 2022, section 2.3, without the division).
    """

    quantile: float
    least: float
    most: float


class DiffusionSchedule(nn.Module):
    """The five buffers (T + 1,) of a schedule of T steps; index 0 is no noise.

    betas; alphas = 1 - betas; alpha_bars, their running product; sigmas_flex = sqrt(beta); sigmas_inflex, the
    posterior's standard deviation (Ho et al. 2020, equations 6 and 7).
    """

    betas: Tensor
    alphas: Tensor
    alpha_bars: Tensor
    sigmas_flex: Tensor
    sigmas_inflex: Tensor

    def __init__(self, name: str, num_steps: int) -> None:
        super().__init__()
        betas = torch.cat([torch.zeros(1), _betas(name, num_steps)])
        alphas = 1 - betas
        alpha_bars = alphas.log().cumsum(0).exp()
        before = torch.cat([torch.ones(1), alpha_bars[:-1]])
        posterior = torch.cat([torch.zeros(1), ((1 - before) / (1 - alpha_bars) * betas)[1:]])
        for key, value in (
            ("betas", betas),
            ("alphas", alphas),
            ("alpha_bars", alpha_bars),
            ("sigmas_flex", betas.sqrt()),
            ("sigmas_inflex", posterior.sqrt()),
        ):
            self.register_buffer(key, value)

    @property
    def num_steps(self) -> int:
        return len(self.betas) - 1

    def add_noise(self, x_0: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """x_t of x_0 and noise (B, L, E) at steps (B,): the forward process."""
        alpha_bar = self.alpha_bars[step][:, None, None]
        return alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise


def _betas(name: str, num: int) -> Tensor:
    """(num,) of the schedule called ``name``. cosine: Nichol & Dhariwal 2021, equation 17. Raises:
    ValueError.
    """
    if name == "linear":
        return torch.linspace(1e-4, 0.02, num)
    if name == "quadratic":
        return torch.linspace(1e-4**0.5, 0.02**0.5, num) ** 2
    if name == "sigmoid":
        return torch.linspace(-5, 5, num).sigmoid() * (0.02 - 1e-4) + 1e-4
    if name == "cosine":
        share = torch.linspace(0, num, num + 1) / num
        level = torch.cos((share + 0.008) / 1.008 * torch.pi / 2) ** 2
        return (1 - level[1:] / level[:-1]).clamp(1e-4, 0.999)
    raise ValueError(f"schedule={name!r}; wanted cosine, linear, quadratic or sigmoid.")


def visited_steps(num_steps: int, steps: int | None) -> list[int]:
    """The diffusion steps that sampling stands on, from T down to 1: all, or ``steps`` evenly chosen ones.

    Raises: ValueError.
    """
    if steps is not None and not 1 <= steps <= num_steps:
        raise ValueError(f"steps={steps}; wanted 1 to {num_steps}, the steps of this model's diffusion.")
    chosen = num_steps if steps is None else steps
    return [round(num_steps * k / chosen) for k in range(chosen, 0, -1)]


def ancestral_sample(
    estimates: Guided,
    x_T: Tensor,
    noise: Noise,
    schedule: DiffusionSchedule,
    *,
    guidance_scale: float | None = None,
    steps: int | None = None,
    flexibility: float = 0.0,
    threshold: DynamicThreshold | None = None,
    target: str = "sample",
) -> Tensor:
    """x_0 (B, L, E) from x_T (B, L, E): t = T .. 1, or fewer steps, respaced as by Nichol & Dhariwal 2021
    (section 4).

    x_s = (1 - abar_s) sqrt(alpha) / (1 - abar_t) x_t + (1 - alpha) sqrt(abar_s) / (1 - abar_t) x_0 + sigma z,
    alpha = abar_t / abar_s, sigma = flexibility sqrt(1 - alpha) + (1 - flexibility) times the posterior's
    deviation; no noise at the last step.
    guidance_scale g: null + g (audio - null); None takes the last estimate alone. target: what is estimated,
    the clean motion ("sample") or the noise.
    """
    visited = visited_steps(schedule.num_steps, steps)
    x_t = x_T
    for t, s in zip(visited, [*visited[1:], 0], strict=True):
        found = estimates(x_t, t)  # (V, B, L, E)
        if threshold is not None:
            found = _clamped(found, threshold)
        estimate = found[-1] if guidance_scale is None else found[0] + guidance_scale * (found[1] - found[0])
        alpha = schedule.alphas[s + 1 : t + 1].prod()
        bar_s, bar_t = schedule.alpha_bars[s], schedule.alpha_bars[t]
        if target == "noise":
            x_s = (x_t - (1 - alpha) / (1 - bar_t).sqrt() * estimate) / alpha.sqrt()
        else:
            x_s = (1 - bar_s) * alpha.sqrt() / (1 - bar_t) * x_t
            x_s = x_s + (1 - alpha) * bar_s.sqrt() / (1 - bar_t) * estimate
        if s > 0:
            posterior = ((1 - bar_s) / (1 - bar_t) * (1 - alpha)).sqrt()
            sigma = flexibility * (1 - alpha).sqrt() + (1 - flexibility) * posterior
            x_s = x_s + sigma * noise(t).to(x_s)
        x_t = x_s
    return x_t


def _clamped(estimates: Tensor, threshold: DynamicThreshold) -> Tensor:
    """Estimates (V, B, L, E), each of the V x B clamped by its own magnitudes."""
    s = estimates.abs().flatten(2).quantile(threshold.quantile, dim=2)
    s = s.clamp(threshold.least, threshold.most)[..., None, None]
    return estimates.clamp(-s, s)
