"""Laws of diffusion: forward then exact denoiser, samplers on a case with a closed form, guidance, the
objective.
"""

from dataclasses import replace

import pytest
import torch
from motion_cases import A, E, K, W, conditions
from torch import Tensor

from vasa.motion.conditions import DROPPED, drop, without
from vasa.motion.config import DropoutConfig, MotionConfig, ScheduleConfig, TransformerConfig
from vasa.motion.diffusion import (
    SAMPLERS,
    MotionDiffusion,
    continued,
    motion_losses,
    noising_scheduler,
    sample,
    sampling_scheduler,
)
from vasa.records import MotionLayout

SCHEDULE = ScheduleConfig()
POSE = slice(0, 6)


def small_model() -> MotionDiffusion:
    torch.manual_seed(0)
    net = TransformerConfig(width=32, num_layers=1, num_heads=2, feedforward=64, audio_as_tokens=False)
    model = MotionDiffusion(
        MotionConfig(window_frames=W, history_frames=K, transformer=net), MotionLayout.volumetric(E - 6), A
    )
    torch.nn.init.normal_(model.transformer.motion_out.weight, std=0.1)
    return model.eval().requires_grad_(False)


def alpha_bar(t: Tensor) -> Tensor:
    return noising_scheduler(SCHEDULE).alphas_cumprod[t]


def test_forward_process_is_the_one_of_the_paper() -> None:
    """x_t after t single steps q(x_t | x_t-1) has the mean and spread that add_noise gives at once."""
    scheduler = noising_scheduler(SCHEDULE)
    mean, variance = 1.0, 0.0
    for beta in scheduler.betas[:301].double():
        mean, variance = mean * float((1 - beta).sqrt()), variance * float(1 - beta) + float(beta)
    t = torch.tensor([300])
    one, zero = torch.ones(1, 1, 1), torch.zeros(1, 1, 1)
    assert float(scheduler.add_noise(one, zero, t)) == pytest.approx(mean, rel=1e-4)
    assert float(scheduler.add_noise(zero, one, t)) ** 2 == pytest.approx(variance, rel=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_exact_denoiser_gives_x0_back(name: str) -> None:
    x0 = torch.randn(2, 5, 3) * 2 + 4  # far beyond [-1, 1]: clipping would show
    got = sample(
        lambda x, t: x0, torch.randn(2, 5, 3), sampling_scheduler(name, SCHEDULE), 7, [torch.Generator()] * 2
    )
    torch.testing.assert_close(got, x0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("dpm++", 0.97, 1.02), ("sde-dpm++", 0.93, 1.07), ("ddim", 0.90, 1.0)]
)
def test_sampler_meets_the_closed_form_of_a_gaussian(name: str, low: float, high: float) -> None:
    """x0 ~ N(m, s^2): the best denoiser is linear and known; samples must have that mean and deviation.

    Few steps lose some deviation, as the solvers are of order one and two: hence the band, at 25 steps.
    """
    m, s = 1.5, 0.7

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        a = alpha_bar(t).view(-1, 1, 1)
        return m + a.sqrt() * s**2 * (x - a.sqrt() * m) / (a * s**2 + 1 - a)

    noise = torch.randn(4000, 1, 1, generator=torch.Generator().manual_seed(0))
    got = sample(
        denoise, noise, sampling_scheduler(name, SCHEDULE), 25, [torch.Generator().manual_seed(1)] * 4000
    )
    assert abs(float(got.mean()) - m) < 0.05  # 4 standard errors of 4000 samples
    assert low < float(got.std()) / s < high


def test_ddim_is_diffusers_ddim() -> None:
    """Where the number of steps divides the schedule; elsewhere diffusers' own class stops short of x_0."""
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(
        num_train_timesteps=SCHEDULE.num_train_steps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        timestep_spacing="trailing",
        clip_sample=False,
    )
    noise = torch.randn(2, 5, 3)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return 0.5 * x.tanh() + 1

    theirs.set_timesteps(10)
    x = noise
    for t in theirs.timesteps:
        x = theirs.step(denoise(x, t), t, x).prev_sample
    got = sample(denoise, noise, sampling_scheduler("ddim", SCHEDULE), 10)
    torch.testing.assert_close(got, x, rtol=1e-3, atol=1e-3)  # float32 through alpha_bar near 0


def test_unknown_sampler_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="dpm\\+\\+"):
        sampling_scheduler("euler", SCHEDULE)


def counted(model: MotionDiffusion) -> list[int]:
    """Rows of every call of the network from now on."""
    rows: list[int] = []
    model.transformer.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    return rows


def test_guidance_zero_is_the_plain_call_and_one_evaluation() -> None:
    model, c = small_model(), conditions()
    x, t = torch.randn(2, W, E), torch.tensor([5, 5])
    plain = model(x, t, c)
    rows = counted(model)
    guided = model.guided(x, t, c, {"audio": 0.0, "gaze": 0.0, "distance": 0.0, "emotion": 0.0})
    assert torch.equal(plain, guided)
    assert rows == [2]


def test_guidance_is_the_papers_form_in_one_batched_call() -> None:
    model, c = small_model(), conditions()
    x, t = torch.randn(2, W, E), torch.tensor([5, 900])
    strengths = {"audio": 0.5, "gaze": 1.0}
    wanted = (
        (1 + 0.5 + 1.0) * model(x, t, c)
        - 0.5 * model(x, t, without(c, "audio"))
        - model(x, t, without(c, "gaze"))
    )
    rows = counted(model)
    torch.testing.assert_close(model.guided(x, t, c, strengths), wanted, rtol=1e-4, atol=1e-5)
    assert rows == [6]


def test_guidance_on_an_absent_condition_costs_nothing() -> None:
    model, c = small_model(), without(conditions(), "gaze")
    x, t = torch.randn(2, W, E), torch.tensor([5, 900])
    plain = model(x, t, c)
    rows = counted(model)
    assert torch.equal(model.guided(x, t, c, {"gaze": 1.0}), plain)
    assert rows == [2]


def test_losses_by_hand() -> None:
    """Two frames after two of history; the estimate is off by 1 in one pose entry of the last frame."""
    target = torch.zeros(1, 2, 7)
    estimate = target.clone()
    estimate[0, 1, 2] = 1.0
    valid, yes = torch.ones(1, 2, dtype=torch.bool), torch.ones(1, dtype=torch.bool)
    got = motion_losses(estimate, target, valid, POSE, yes)
    # frames -2 -1 0 1: three velocities, the last off by 1; two accelerations, the last off by 1
    wanted = {"x0": 1 / 14, "pose_velocity": 1 / (3 * 6), "pose_acceleration": 1 / (2 * 6)}
    assert {name: float(value) for name, value in got.items()} == pytest.approx(wanted)
    estimate = target.clone()
    estimate[0, 0, 2] = 1.0  # the first frame: velocities -1->0 and 0->1, accelerations 1 and -2, off
    got = motion_losses(estimate, target, valid, POSE, yes, join_weight=10.0)
    assert float(got["pose_velocity"]) == pytest.approx((10 + 1) / (3 * 6))
    assert float(got["pose_acceleration"]) == pytest.approx((10 * 1 + 10 * 4) / (2 * 6))
    estimate[0, 0, 2], estimate[0, 1, 2] = 0.0, 1.0
    alone = motion_losses(estimate, target, valid, POSE, ~yes)
    assert float(alone["pose_velocity"]) == pytest.approx(1 / 6) and float(alone["pose_acceleration"]) == 0


def test_velocity_terms_touch_the_pose_only_and_padding_nothing() -> None:
    estimate = torch.randn(2, 8, 9, requires_grad=True)
    valid = torch.arange(8).expand(2, 8) < 5
    got = motion_losses(estimate, torch.zeros(2, 8, 9), valid, POSE, torch.ones(2, dtype=torch.bool))
    (velocity,) = torch.autograd.grad(
        got["pose_velocity"] + got["pose_acceleration"], estimate, retain_graph=True
    )
    assert (
        not velocity[..., 6:].any() and not velocity[:, 5:].any() and bool((velocity[:, :5, :6] != 0).all())
    )
    (x0,) = torch.autograd.grad(got["x0"], estimate)
    assert not x0[:, 5:].any() and bool((x0[:, :5] != 0).all())


def test_a_continued_pose_has_no_jump_and_no_kink_and_keeps_the_rest() -> None:
    history, estimate = torch.randn(2, 5, E), torch.randn(2, W, E)
    got = continued(estimate, history, POSE)
    joined = torch.cat([history[..., POSE], got[..., POSE]], 1)
    speeds = joined.diff(dim=1)[:, 3:5]  # within the history, and into the window
    torch.testing.assert_close(speeds[:, 0], speeds[:, 1])
    assert torch.equal(got[..., 6:], estimate[..., 6:]) and torch.equal(got[:, 5:], estimate[:, 5:])
    line = torch.linspace(-1, 1, 5 + W)[:, None].expand(2, 5 + W, E)
    torch.testing.assert_close(continued(line[:, 5:], line[:, :5], POSE), line[:, 5:])


def test_sampled_windows_continue_the_history_they_have() -> None:
    model, c = small_model(), conditions()
    noise = torch.randn(2, W, E)

    def speeds(has_history: bool) -> Tensor:
        given = replace(c, has_history=torch.tensor([has_history, has_history]))
        motion = model.sample(noise, given, steps=3, guidance={}, sampler="dpm++")
        return torch.cat([c.history, motion], 1)[..., POSE].diff(dim=1)[:, K - 2 : K]

    torch.testing.assert_close(speeds(True)[:, 0], speeds(True)[:, 1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(speeds(False)[:, 0], speeds(False)[:, 1], atol=0.1)


def test_padding_does_not_change_the_loss() -> None:
    model, c = small_model(), conditions()
    valid = torch.arange(-K, W).expand(2, K + W) < 6
    x0, noise, t = torch.randn(2, W, E), torch.randn(2, W, E), torch.tensor([100, 400])
    first = model.losses(x0, noise, t, c, valid)
    x0[:, 6:] = torch.nan
    noise[:, 6:] += 3
    c.audio[:, 6:] = -2
    second = model.losses(x0, noise, t, c, valid)
    for name in first:
        torch.testing.assert_close(first[name], second[name])


def test_conditions_are_dropped_at_the_stated_rates() -> None:
    c = conditions(4000)
    rates = DropoutConfig()
    uniform = torch.rand(4000, len(DROPPED) + 1, generator=torch.Generator().manual_seed(0))
    kept = drop(c, rates, uniform)
    band = 4 * (0.25 / 4000) ** 0.5  # four standard errors of a share, at most
    for name in ("gaze", "distance", "emotion", "history"):
        share = 1 - float(getattr(kept, f"has_{name}").float().mean())
        assert abs(share - getattr(rates, name)) < band, name
    heard = kept.has_audio.sum(1)
    assert abs(float((heard == 0).float().mean()) - rates.audio) < band
    cut = (heard > 0) & (heard < W)
    assert abs(float(cut.float().mean()) - (1 - rates.audio) * rates.audio_tail) < band
    assert set(heard[cut].tolist()) == set(range(1, W))  # every length of a last window occurs
    assert bool((kept.has_audio[:, :-1] | ~kept.has_audio[:, 1:]).all())  # only ends are missing
    untouched = drop(
        c, DropoutConfig(audio=0, gaze=0, distance=0, emotion=0, history=0, audio_tail=0), uniform
    )
    assert all(
        bool(getattr(untouched, f"has_{n}").all())
        for n in ("audio", "gaze", "distance", "emotion", "history")
    )


def test_drop_wants_one_column_per_condition() -> None:
    with pytest.raises(ValueError, match="uniform"):
        drop(conditions(), DropoutConfig(), torch.rand(2, 3))
