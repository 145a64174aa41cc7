"""The eight terms of JoyVASA's objective, and that they can be learned from."""

import numpy as np
import pytest
import torch
from joyvasa_cases import E, L, P, seeded, sound, tiny_config, tiny_model

from vasa.motion.joyvasa_config import JoyvasaObjectiveConfig
from vasa.motion.joyvasa_objective import JoyvasaObjective, ObjectiveDraws, freeze_front_end, window_terms

EIGHT = {"all", "exp", "exp_velocity", "exp_smoothness", "head", "head_velocity", "head_smoothness"} | {
    "head_transition"
}


def clip(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    motion = torch.randn(batch, 2 * L, E, generator=seeded(5))
    return motion, sound(batch * 2 * L * 640, 6).view(batch, -1)


def draws(objective: JoyvasaObjective, seed: int = 0, batch: int = 2) -> ObjectiveDraws:
    rngs = [np.random.default_rng((seed, row)) for row in range(batch)]
    return ObjectiveDraws.joined([ObjectiveDraws.of(rng, tiny_config(), objective.config) for rng in rngs])


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_terms_vanish_where_the_motion_is_still_and_right(criterion: str) -> None:
    past, motion = torch.ones(2, P, E), torch.ones(2, L, E)
    terms = window_terms(torch.ones(2, P + L, E), motion, past, criterion=criterion)
    assert set(terms) == EIGHT and not any(terms.values())
    assert set(window_terms(torch.ones(2, P + L, E), motion)) == EIGHT - {"head_transition"}


@pytest.mark.parametrize("shorter", [1, 2, 4])
def test_frames_beyond_a_window_s_end_count_for_nothing(shorter: int) -> None:
    estimate, motion, past = (torch.randn(2, n, E, generator=seeded(n)) for n in (P + L, L, P))
    lengths = torch.tensor([shorter, 7])
    terms = window_terms(estimate, motion, past, lengths)
    for row, length in enumerate(lengths.tolist()):
        estimate[row, P + length :] += 9
        motion[row, length:] -= 9
    changed = window_terms(estimate, motion, past, lengths)
    assert all(torch.equal(changed[name], value) for name, value in terms.items())
    motion[0, shorter - 1] += 1
    assert not torch.equal(window_terms(estimate, motion, past, lengths)["all"], terms["all"])


def test_a_jump_where_windows_meet_is_seen_by_the_transition() -> None:
    motion, past = torch.zeros(1, L, E), torch.zeros(1, P, E)
    jump = torch.cat([past, motion + 1], 1)
    # second differences across the seam are 1 and -1; third ones 1, -2, 1
    assert float(window_terms(jump, motion, past)["head_transition"]) == pytest.approx(1 + 6 / 3)


def test_both_windows_count_for_every_term() -> None:
    """Upstream loses the expression terms of the first window; here its frames reach them."""
    objective = JoyvasaObjective(JoyvasaObjectiveConfig(cut_first=0, cut_second=0, null_audio=0))
    model, (motion, waveform) = tiny_model(), clip()
    terms = objective.losses(model, motion, waveform, draws(objective))
    assert set(terms) == EIGHT
    changed = motion.clone()
    changed[:, : L - P, :63] += 1
    others = objective.losses(model, changed, waveform, draws(objective))
    assert not torch.equal(others["exp"], terms["exp"])
    assert float(objective.total({"exp": torch.tensor(2.0)})) == pytest.approx(0.2)


def test_the_loss_is_a_function_of_its_draws() -> None:
    objective = JoyvasaObjective(JoyvasaObjectiveConfig(cut_first=0.5, cut_second=0.5, null_audio=0.5))
    model, given = tiny_model(), clip()
    first, again, other = (
        objective.total(objective.losses(model, *given, draws(objective, s))) for s in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_null_audio_hides_the_sound_and_nothing_else_learns_from_it() -> None:
    model, given = tiny_model(), clip()
    for share in (0.0, 1.0):
        objective = JoyvasaObjective(JoyvasaObjectiveConfig(null_audio=share, cut_first=0, cut_second=0))
        model.zero_grad()
        objective.total(objective.losses(model, *given, draws(objective))).backward()
        heard = model.audio_feature_map.weight.grad
        assert (heard is None or not heard.any()) == (share == 1.0)
        assert (model.null_audio_feat.grad is None or not model.null_audio_feat.grad.any()) == (share == 0.0)


def test_one_clip_is_learned_and_the_front_end_stays() -> None:
    model, given = tiny_model(), clip(1)
    freeze_front_end(model)
    before = [p.clone() for p in model.audio_encoder.feature_extractor.parameters()]
    objective = JoyvasaObjective(JoyvasaObjectiveConfig(cut_first=0, cut_second=0))
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    losses = []
    for _ in range(150):
        optimiser.zero_grad()
        loss = objective.total(objective.losses(model, *given, draws(objective, batch=1)))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    after = model.audio_encoder.feature_extractor.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_clips_of_another_length_and_other_targets_are_refused() -> None:
    objective, (motion, waveform) = JoyvasaObjective(JoyvasaObjectiveConfig()), clip()
    with pytest.raises(ValueError, match="wanted two windows"):
        objective.losses(tiny_model(), motion[:, 1:], waveform, draws(objective))
    with pytest.raises(ValueError, match="target='noise'"):
        objective.losses(tiny_model(target="noise"), motion, waveform, draws(objective))
    with pytest.raises(ValueError, match="'huber'"):
        JoyvasaObjectiveConfig(criterion="huber")


def test_clips_that_end_early_count_as_far_as_they_go() -> None:
    objective = JoyvasaObjective(JoyvasaObjectiveConfig(cut_first=0, cut_second=0, null_audio=0))
    model, (motion, waveform), lengths = tiny_model(), clip(), torch.tensor([L - 3, 2 * L - 4])
    chance = draws(objective)
    terms = objective.losses(model, motion, waveform, chance, lengths)
    for row, length in enumerate(lengths.tolist()):
        motion[row, length:] += 9
        waveform[row, length * 640 :] += 9
    changed = objective.losses(model, motion, waveform, chance, lengths)
    torch.testing.assert_close(changed, terms)
    alone = objective.losses(model, motion, waveform, chance, torch.tensor([L - 3, L]))
    assert not alone["head_transition"].any() and alone["exp"] > 0


def test_draws_are_within_their_ranges_and_as_often_as_asked() -> None:
    objective = JoyvasaObjective(JoyvasaObjectiveConfig(cut_first=0.3, cut_second=0.4, null_audio=0.1))
    many = draws(objective, batch=2000)
    assert many.step.min() == 1 and many.step.max() == tiny_config().num_steps
    assert many.cut.min() == 1 and many.cut.max() == L
    shares = (many.cut < L).float().mean(0).tolist()
    assert shares == pytest.approx([0.3, 0.4], abs=0.04)
    assert float(many.has_audio.float().mean()) == pytest.approx(0.9, abs=0.02)
