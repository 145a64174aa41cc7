"""Raw <-> normalised."""

import pytest
import torch

from vasa.motion.normalizer import MIN_RELATIVE_STD, Normalizer
from vasa.records import Conditions, MotionLayout

LAYOUT = MotionLayout.volumetric(4)


def statistics(width: int = 10) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return {
        "motion_mean": torch.randn(width, generator=g),
        "motion_std": torch.rand(width, generator=g) + 0.2,
        "features_mean": torch.randn(3, generator=g),
        "features_std": torch.rand(3, generator=g) + 0.2,
        "distance_mean": torch.tensor([1.1]),
        "distance_std": torch.tensor([0.2]),
    }


def test_normalise_then_denormalise_is_the_identity() -> None:
    normalizer = Normalizer(LAYOUT, 3)
    normalizer.set_statistics(statistics())
    raw = torch.randn(2, 5, 10) * 3
    torch.testing.assert_close(normalizer.denormalise(normalizer.normalise(raw)), raw, rtol=1e-5, atol=1e-5)


def test_training_data_comes_out_with_mean_0_and_deviation_1() -> None:
    raw = torch.randn(4000, 10) * torch.linspace(0.5, 1.5, 10) + 3
    normalizer = Normalizer(LAYOUT, 3)
    normalizer.set_statistics({**statistics(), "motion_mean": raw.mean(0), "motion_std": raw.std(0)})
    got = normalizer.normalise(raw)
    torch.testing.assert_close(got.mean(0), torch.zeros(10), atol=1e-4, rtol=0)
    torch.testing.assert_close(got.std(0), torch.ones(10), atol=1e-4, rtol=0)


def test_an_entry_that_hardly_moves_is_not_blown_up() -> None:
    values = statistics()
    values["motion_std"][7] = 1e-6  # of the dynamics
    values["motion_std"][5] = 0.0  # all of the scale group
    normalizer = Normalizer(LAYOUT, 3)
    normalizer.set_statistics(values)
    rms = float(values["motion_std"][6:].square().mean().sqrt())
    assert float(normalizer.motion_std[7]) == pytest.approx(MIN_RELATIVE_STD * rms)
    assert float(normalizer.motion_std[5]) == 1.0


def test_statistics_travel_in_the_state() -> None:
    normalizer = Normalizer(LAYOUT, 3)
    normalizer.set_statistics(statistics())
    other = Normalizer(LAYOUT, 3)
    other.load_state_dict(normalizer.state_dict())
    raw = torch.randn(5, 10)
    assert torch.equal(other.normalise(raw), normalizer.normalise(raw))


def test_statistics_of_another_width_or_not_finite_are_refused() -> None:
    normalizer = Normalizer(LAYOUT, 3)
    with pytest.raises(ValueError, match="motion"):
        normalizer.set_statistics(statistics(11))
    with pytest.raises(ValueError, match="finite"):
        normalizer.set_statistics({**statistics(), "features_std": torch.full((3,), torch.nan)})


def test_default_conditions_look_ahead_at_the_mean_distance_without_an_emotion_or_neutral() -> None:
    normalizer = Normalizer(LAYOUT, 3)
    normalizer.set_statistics(statistics())
    assert normalizer.default_conditions().emotion is None
    got = normalizer.normalise_conditions(normalizer.default_conditions(neutral=True))
    assert not got.gaze.any() and not got.distance.any()
    assert got.emotion.tolist() == [[1, 0, 0, 0, 0, 0, 0, 0]]
    nothing = normalizer.normalise_conditions(Conditions())
    assert nothing.gaze is None and nothing.distance is None and nothing.emotion is None


def test_emotion_weights_of_zero_mean_neutral() -> None:
    """As records.Conditions has it; and neutral takes what the others leave."""
    half_happy = torch.tensor([[0.0, 0.5, 0, 0, 0, 0, 0, 0]])
    got = Normalizer(LAYOUT, 3).normalise_conditions(
        Conditions(emotion=torch.cat([torch.zeros(1, 8), half_happy]))
    )
    assert got.emotion.tolist() == [[1, 0, 0, 0, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0, 0, 0, 0]]
