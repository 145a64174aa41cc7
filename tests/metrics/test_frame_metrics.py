"""Metrics on frames and tracks have the values their definitions give by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vasa.metrics.correlation import mean_over_clips, pearson, share_of_ceiling, shuffled_over_clips
from vasa.metrics.identity import change_share, distance_between_people, verification_accuracy
from vasa.metrics.pose import error_beyond_judge, jitter, jitter_ratio
from vasa.metrics.report import Row, Table
from vasa.metrics.sync import opening_against_energy, silent_frames, speech_energy
from vasa.metrics.video import box_mask, psnr, sharpness
from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME


def test_psnr_of_a_known_error() -> None:
    reference = torch.zeros(2, 3, 8, 8)
    generated = torch.stack([torch.full((3, 8, 8), 0.2), torch.zeros(3, 8, 8)])
    values = psnr(generated, reference)
    assert float(values[0]) == pytest.approx(20.0, abs=1e-4)  # range 2, error 0.2
    assert float(values[1]) == pytest.approx(80.0, abs=1e-4)  # capped


def test_psnr_in_a_box_ignores_what_lies_outside() -> None:
    reference, generated = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    generated[..., :4] = 1.0  # wrong on the left
    right, left = torch.tensor([[0.0, -1, 1, 1]]), torch.tensor([[-1.0, -1, 0, 1]])
    assert float(psnr(generated, reference, right)) == pytest.approx(80.0)
    assert float(psnr(generated, reference, left)) == pytest.approx(10 * math.log10(4), abs=1e-4)
    assert float(box_mask(right, 8, 8).sum()) == 32


def test_sharpness_falls_when_an_image_is_blurred_and_not_when_it_is_shifted() -> None:
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    blurred = torch.nn.functional.avg_pool2d(image, 3, 1, 1)
    assert float(sharpness(blurred)) < 0.2 * float(sharpness(image))
    assert float(sharpness(image + 0.1)) == pytest.approx(float(sharpness(image)), rel=1e-4)


def test_pearson_is_that_of_numpy_and_zero_for_a_constant() -> None:
    a, b = torch.randn(50), torch.randn(50)
    assert float(pearson(a, b)) == pytest.approx(float(np.corrcoef(a, b)[0, 1]), abs=1e-6)
    assert float(pearson(torch.ones(50), b)) == 0.0
    with pytest.raises(ValueError, match="wanted equal shapes"):
        pearson(a, b[:10])


def test_share_of_ceiling_is_one_where_generated_equals_true_and_less_under_noise() -> None:
    wanted = torch.randn(400)
    true = wanted + 0.3 * torch.randn(400)
    share, ceiling = share_of_ceiling(true, true, wanted)
    assert float(share) == pytest.approx(1.0)
    assert 0.9 < float(ceiling) < 1.0
    worse, _ = share_of_ceiling(true + torch.randn(400), true, wanted)
    assert float(worse) < 0.85


def test_shuffling_destroys_what_clips_have_in_common_with_their_speech() -> None:
    wanted = [torch.randn(80) for _ in range(20)]
    measured = [10 * i + w for i, w in enumerate(wanted)]  # offsets between clips must not count
    assert mean_over_clips(measured, wanted) == pytest.approx(1.0)
    assert abs(shuffled_over_clips(measured, wanted)) < 0.15


def test_pose_error_is_counted_beyond_the_judges_own() -> None:
    wanted = torch.zeros(10, 6)
    true, made = wanted.clone(), wanted.clone()
    true[:, 1], made[:, 1] = math.radians(2), math.radians(5)
    beyond, own = error_beyond_judge(made, true, wanted)
    assert beyond == pytest.approx(3.0, abs=1e-4)
    assert own == pytest.approx(2.0, abs=1e-4)


def test_jitter_is_zero_for_steady_turning_and_scales_with_noise() -> None:
    steady = torch.linspace(0, 1, 30)[:, None].expand(-1, 3)
    assert float(jitter(steady)) == pytest.approx(0.0, abs=1e-4)
    noise = torch.randn(100, 3) * 0.01
    assert jitter_ratio([3 * noise], [noise]) == pytest.approx(3.0, rel=1e-4)
    with pytest.raises(ValueError, match="at least 3"):
        jitter(noise[:2])


def test_identity_change_is_a_share_of_the_distance_between_people() -> None:
    people = torch.tensor([0, 0, 1, 1])
    embeddings = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    assert distance_between_people(embeddings, people) == pytest.approx(1.0)
    turned = torch.tensor([[math.cos(0.3), math.sin(0.3)]])
    assert change_share(embeddings[:1], turned, 1.0) == pytest.approx(1 - math.cos(0.3), abs=1e-6)
    assert verification_accuracy(embeddings, people) == 1.0
    with pytest.raises(ValueError, match="one person"):
        distance_between_people(embeddings, torch.zeros(4, dtype=torch.long))


def test_verification_of_meaningless_embeddings_is_near_chance() -> None:
    embeddings = torch.nn.functional.normalize(torch.randn(120, 32), dim=-1)
    assert (
        verification_accuracy(embeddings, torch.arange(120) // 4) < 0.62
    )  # best threshold on 180 same pairs


def _bursts() -> np.ndarray:
    """Two seconds: noise in every other half second, digital silence between."""
    rng = np.random.default_rng(0)
    loud = (np.arange(2 * AUDIO_HZ) // (AUDIO_HZ // 2)) % 2 == 0
    return (rng.standard_normal(2 * AUDIO_HZ) * 0.1 * loud).astype(np.float32)


def test_speech_energy_follows_loudness_and_silence_is_found_after_it_settled() -> None:
    audio = _bursts()
    energy = speech_energy(audio)
    assert len(energy) == len(audio) // SAMPLES_PER_FRAME
    assert float(energy[5]) > 0.9 and float(energy[18]) == 0.0
    silent = silent_frames(audio)
    assert not silent[:18].any() and bool(silent[20])


def test_a_mouth_that_opens_with_sound_scores_high_and_a_random_one_low() -> None:
    audio = _bursts()
    energy = speech_energy(audio)
    assert opening_against_energy(energy.roll(2), audio) > 0.95  # two frames late: within the window
    assert opening_against_energy(torch.rand(len(energy)), audio) < 0.5


def test_a_report_says_what_is_reached_and_survives_missing_numbers(tmp_path) -> None:
    rows = [
        Row(name="good", value=8.0, unit="dB", target=7.0),
        Row(name="bad", value=2.0, target=1.5, at_most=True, ceiling="r 0.9"),
        Row(name="missing", value=None, target=0.5, note="no media"),
        Row(name="broken", value=float("nan"), target=0.5),
    ]
    table = Table(rows, {"seed": 0})
    assert [row.met for row in rows] == [True, False, None, False]
    text = table.markdown()
    assert "| good | 8 dB | 7 dB | yes |" in text
    assert "| bad | 2 | at most 1.5 | **no** | r 0.9 |" in text
    assert "not measured" in text
    json_path, markdown_path = table.write(tmp_path, "numbers")
    assert markdown_path.read_text() == text
    assert '"value": null' in json_path.read_text()
