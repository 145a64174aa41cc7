"""The denoiser as published and folded, its schedule and its sampler."""

import json
from pathlib import Path

import pytest
import torch
from joyvasa_cases import A, E, L, P, T, seeded, sound, tiny_model

from vasa.motion.joyvasa import JoyvasaModel
from vasa.motion.joyvasa_config import JoyvasaConfig
from vasa.motion.joyvasa_folded import window_estimates
from vasa.motion.joyvasa_hubert import pad_audio
from vasa.motion.joyvasa_sampler import DiffusionSchedule, DynamicThreshold, ancestral_sample, visited_steps

LISTED = Path(__file__).resolve().parent.parent / "golden" / "joyvasa_state_dicts.json"


def window(batch: int = 2, seed: int = 1) -> tuple[torch.Tensor, ...]:
    """x_t, audio, past motion, past audio."""
    g = seeded(seed)
    shapes = (batch, L, E), (batch, L, A), (batch, P, E), (batch, P, A)
    return tuple(torch.randn(shape, generator=g) for shape in shapes)


def test_names_and_shapes_are_those_of_the_released_file() -> None:
    with torch.device("meta"):
        model = JoyvasaModel(JoyvasaConfig())
    listed = json.loads(LISTED.read_text())["files"]["motion_generator_hubert_chinese.pt"]["parts"]["J"]
    wanted = {key: tuple(entry["shape"]) for key, entry in listed["state_dict"].items()}
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == wanted
    assert sum(parameter.numel() for parameter in model.parameters()) == 103_192_483


@pytest.mark.parametrize("position", ["legacy", "fixed"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@torch.no_grad()
def test_the_folded_window_is_the_published_graph(position: str, layers: int) -> None:
    model = tiny_model(position=position, num_layers=layers)
    x_t, *given = window()
    for guided in (True, False):
        folded, plain = (window_estimates(model, *given, guided=guided, plain=p) for p in (False, True))
        for t in (1, T):
            got, wanted = folded(x_t, t), plain(x_t, t)
            assert got.shape == (1 + guided, 2, L, E)
            torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_folded_window_in_bf16_is_nearly_the_same() -> None:
    model = tiny_model()
    x_t, *given = window()
    exact, fast = (
        window_estimates(model, *given, precision=p)(x_t, T) for p in (torch.float32, torch.bfloat16)
    )
    assert exact.dtype == fast.dtype == torch.float32
    assert 0 < float((exact - fast).std() / exact.std()) < 0.02


@torch.no_grad()
def test_the_null_branch_does_not_hear_the_window_but_its_past() -> None:
    model = tiny_model()
    x_t, audio, past_motion, past_audio = window()
    null, heard = window_estimates(model, audio, past_motion, past_audio)(x_t, 3)
    other_null, other_heard = window_estimates(model, audio + 1, past_motion, past_audio)(x_t, 3)
    assert torch.equal(null, other_null) and not torch.equal(heard, other_heard)
    assert not torch.equal(null, window_estimates(model, audio, past_motion, past_audio + 1)(x_t, 3)[0])


@torch.no_grad()
def test_legacy_positions_tell_no_frames_apart_and_fixed_ones_do() -> None:
    x_t, *given = window()
    swap = [1, 0, *range(2, L)]
    for position, blind in (("legacy", True), ("fixed", False)):
        net = tiny_model(position=position).denoising_net
        step = torch.tensor([2, 2])
        there = net(x_t[:, swap], given[0][:, swap], *given[1:], step)[:, P:][:, swap]
        assert torch.allclose(there, net(x_t, *given, step)[:, P:], atol=1e-5) == blind


@torch.no_grad()
def test_a_token_sees_its_own_audio_frame_alone() -> None:
    """With one layer's self-attention silenced, audio of another frame changes nothing."""
    net = tiny_model(num_layers=1).denoising_net
    net.transformer.layers[0].self_attn.out_proj.weight.zero_()
    x_t, audio, *past = window()
    other = audio.clone()
    other[:, 4] += 1
    changed = net(x_t, other, *past, torch.tensor([2, 2])) - net(x_t, audio, *past, torch.tensor([2, 2]))
    assert changed.abs().amax((0, 2)).nonzero().flatten().tolist() == [P + 4]


@pytest.mark.parametrize("name", ["cosine", "linear", "quadratic", "sigmoid"])
def test_a_schedule_is_the_closed_form_of_its_steps(name: str) -> None:
    schedule = DiffusionSchedule(name, 50)
    torch.testing.assert_close(schedule.alpha_bars, (1 - schedule.betas).cumprod(0), rtol=1e-5, atol=1e-7)
    assert schedule.alpha_bars[0] == 1 and schedule.num_steps == 50
    assert (schedule.sigmas_inflex <= schedule.sigmas_flex).all()
    x_0, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    got = schedule.add_noise(x_0, noise, torch.tensor([0, 50]))
    torch.testing.assert_close(got[0], x_0[0])
    assert name != "cosine" or torch.allclose(got[1], noise[1], atol=0.01)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="'cosin'; wanted cosine"):
        DiffusionSchedule("cosin", 50)


@pytest.mark.parametrize("steps", [None, 50, 7, 1])
@pytest.mark.parametrize("target", ["sample", "noise"])
def test_sampling_ends_at_what_an_exact_estimate_says(steps: int | None, target: str) -> None:
    schedule, x_0 = DiffusionSchedule("cosine", 50), torch.randn(2, 4, 3)

    def exact(x_t: torch.Tensor, t: int) -> torch.Tensor:
        bar = schedule.alpha_bars[t]
        return (x_0 if target == "sample" else (x_t - bar.sqrt() * x_0) / (1 - bar).sqrt())[None]

    g = seeded()
    got = ancestral_sample(
        exact,
        torch.randn(2, 4, 3, generator=g),
        lambda t: torch.randn(2, 4, 3, generator=g),
        schedule,
        steps=steps,
        target=target,
    )
    torch.testing.assert_close(got, x_0, rtol=0, atol=2e-3 if target == "noise" else 1e-4)


def test_noise_is_asked_for_at_every_step_but_the_last_and_flexibility_widens_it() -> None:
    schedule, asked = DiffusionSchedule("cosine", 50), []

    def noise(t: int) -> torch.Tensor:
        asked.append(t)
        return torch.ones(1, 1, 1)

    def run(flexibility: float) -> float:
        zero = torch.zeros(1, 1, 1)
        shrinking = lambda x_t, t: x_t[None] * 0.9  # noqa: E731
        return float(ancestral_sample(shrinking, zero, noise, schedule, flexibility=flexibility))

    assert run(0.0) < run(1.0)
    assert asked == [*range(50, 1, -1)] * 2


def test_guidance_is_the_line_through_both_estimates_and_the_threshold_comes_first() -> None:
    schedule = DiffusionSchedule("cosine", 1)
    both = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)

    def run(**options: object) -> float:
        return float(ancestral_sample(lambda x, t: both, torch.zeros(1, 1, 1), None, schedule, **options))

    assert run(guidance_scale=2.5) == pytest.approx(1 + 2.5 * 2)
    assert run() == pytest.approx(3)
    assert run(guidance_scale=2.5, threshold=DynamicThreshold(1.0, 0.5, 2.0)) == pytest.approx(1 + 2.5)


def test_fewer_steps_start_at_pure_noise_and_too_many_are_refused() -> None:
    assert visited_steps(50, None) == [*range(50, 0, -1)]
    assert visited_steps(50, 4) == [50, 38, 25, 12]
    for steps in (0, 51):
        with pytest.raises(ValueError, match=f"steps={steps}; wanted 1 to 50"):
            visited_steps(50, steps)


@torch.no_grad()
def test_features_are_one_a_frame_and_ignore_nothing_of_the_window() -> None:
    model, wave = tiny_model(), sound(L * 640)[None]
    features = model.audio_features(wave, L)
    assert features.shape == (1, L, A)
    other = wave.clone()
    other[0, -200:] += 0.5
    assert not torch.equal(model.audio_features(other, L)[0, -1], features[0, -1])


def test_padding_makes_whole_steps_of_whole_frames_and_leaves_other_lengths() -> None:
    assert pad_audio(torch.randn(1, 6400)).shape[1] == 6480
    assert pad_audio(torch.randn(1, 6401)).shape[1] == 6481
    assert pad_audio(torch.randn(1, 6399)).shape[1] == 6399
