"""Faults: nothing at the neutral dose, and at others exactly what they say and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vasa.data.config import SpokenConfig
from vasa.data.synthetic import faults
from vasa.data.synthetic.clips import SyntheticClips
from vasa.data.synthetic.config import DosesConfig
from vasa.data.synthetic.faults import FAULTS, FaultyClips, delayed, drifted
from vasa.data.synthetic.parameters import CATEGORIES, PARAMETER_INDEX, draw_parameters
from vasa.records import CONTROL_INDEX, SAMPLES_PER_FRAME, Animation, Clip

SPOKEN = SpokenConfig(espeak_share=0.0, silent_share=0.0)
MOUTH = [CONTROL_INDEX[name] for name in ("jaw", "lip_width", "lip_pucker", "lip_press")]
EYES = [CONTROL_INDEX[name] for name in ("gaze_yaw", "gaze_pitch", "blink_left", "blink_right")]


@pytest.fixture(scope="module")
def faulty() -> FaultyClips:
    """A clip of six small frames."""
    return FaultyClips(
        SyntheticClips("test", num_clips=1, seconds=0.24, size=64, quality="draft", spoken=SPOKEN)
    )


@pytest.fixture(scope="module")
def animation() -> Animation:
    """Four seconds, not rendered."""
    clip = SyntheticClips("test", num_clips=1, seconds=4.0, spoken=SPOKEN).animation_only(0)
    assert clip.truth.animation is not None
    return clip.truth.animation


def noise() -> np.random.Generator:
    return np.random.default_rng(0)


def frames(clip: Clip) -> np.ndarray:
    assert clip.frames is not None
    return clip.frames.astype(np.int32)


def shown(clip: Clip) -> Animation:
    assert clip.truth.animation is not None
    return clip.truth.animation


@pytest.mark.parametrize("fault", FAULTS)
def test_the_neutral_dose_changes_nothing(faulty: FaultyClips, fault: str) -> None:
    before, after = faulty.faultless(0), faulty(0, fault, FAULTS[fault].neutral)
    np.testing.assert_array_equal(frames(after), frames(before))
    np.testing.assert_array_equal(after.audio, before.audio)
    assert torch.equal(shown(after).pose, shown(before).pose)
    assert torch.equal(shown(after).controls, shown(before).controls)
    assert torch.equal(after.truth.mouth_box, before.truth.mouth_box)


def test_lag_moves_the_sound_alone(faulty: FaultyClips) -> None:
    before = faulty.faultless(0)
    late, early = faulty(0, "lag", 2), faulty(0, "lag", -2)
    samples = 2 * SAMPLES_PER_FRAME
    np.testing.assert_array_equal(late.audio[samples:], before.audio[:-samples])
    np.testing.assert_array_equal(early.audio[:-samples], before.audio[samples:])
    assert not late.audio[:samples].any() and not early.audio[-samples:].any()
    np.testing.assert_array_equal(frames(late), frames(before))
    assert not delayed(before.audio, len(before.audio) + 1).any()


def test_jitter_is_noise_on_head_angles_in_degrees(faulty: FaultyClips, animation: Animation) -> None:
    little, much = (faults.jittered(animation, dose, noise()) for dose in (1.0, 2.0))
    off, off_more = little.pose - animation.pose, much.pose - animation.pose
    assert float(off[:, :3].std()) == pytest.approx(math.radians(1), rel=0.15)  # of 300 numbers
    torch.testing.assert_close(off_more, 2 * off, atol=1e-6, rtol=1e-4)
    assert not off[:, 3:].any() and torch.equal(little.controls, animation.controls)
    before, after, again = faulty.faultless(0), faulty(0, "jitter", 2.0), faulty(0, "jitter", 2.0)
    assert (frames(after) != frames(before)).any()  # rendered, not only written down
    np.testing.assert_array_equal(frames(after), frames(again))


def test_blur_takes_detail_by_dose(faulty: FaultyClips) -> None:
    def detail(clip: Clip) -> float:
        return float(np.abs(np.diff(frames(clip), axis=2)).mean())

    clips = [faulty.faultless(0)] + [faulty(0, "blur", dose) for dose in (0.5, 1.0, 2.0)]
    found = [detail(clip) for clip in clips]
    assert found == sorted(found, reverse=True) and found[-1] < 0.6 * found[0]
    assert frames(clips[-1]).mean() == pytest.approx(frames(clips[0]).mean(), abs=1)


def test_stiff_lips_articulate_less_and_last_not(faulty: FaultyClips, animation: Animation) -> None:
    half, stiff = (faults.stiffened(animation, dose, noise()) for dose in (0.5, 1.0))
    torch.testing.assert_close(half.controls[:, MOUTH], animation.controls[:, MOUTH] / 2)
    assert not stiff.controls[:, CONTROL_INDEX["jaw"]].any()
    assert animation.controls[:, CONTROL_INDEX["jaw"]].std() > 0.02
    others = [i for i in range(stiff.controls.shape[1]) if i not in MOUTH]
    assert torch.equal(stiff.controls[:, others], animation.controls[:, others])
    assert torch.equal(stiff.pose, animation.pose)
    jaw = animation.controls[:-3, CONTROL_INDEX["jaw"]]
    first = max(int(jaw.diff().abs().argmax()) - 2, 0)
    spoken, moves = animation[first : first + 4], []
    for dose in (0.0, 0.5, 1.0):
        _, truth = faulty.clips.render(2_000_001, faults.stiffened(spoken, dose, noise()))
        assert truth.landmarks_3d is not None
        moves.append(float(truth.landmarks_3d[:, 8].std(0).max()))  # the chin, in the head's frame
    assert moves[0] > moves[1] > moves[2] and moves[2] < 1e-5


def test_frozen_gaze_stops_eyes_and_lids_where_they_rest(animation: Animation) -> None:
    half, frozen = (faults.gaze_frozen(animation, dose, noise()) for dose in (0.5, 1.0))
    rest = animation.controls[:, EYES].median(0).values
    torch.testing.assert_close(frozen.controls[:, EYES], rest.expand(len(animation), -1))
    torch.testing.assert_close(half.controls[:, EYES] - rest, (animation.controls[:, EYES] - rest) / 2)
    assert torch.equal(frozen.controls[:, MOUTH], animation.controls[:, MOUTH])
    assert torch.equal(frozen.pose, animation.pose)


def test_identity_drifts_from_one_person_to_another(faulty: FaultyClips) -> None:
    before = faulty.faultless(0)
    clips = [faulty(0, "identity_drift", dose) for dose in (0.5, 1.0)]
    for clip in clips:
        np.testing.assert_array_equal(frames(clip)[0], frames(before)[0])
        assert torch.equal(shown(clip).controls, shown(before).controls)
    ends = [float(np.abs(frames(clip)[-1] - frames(before)[-1]).mean()) for clip in clips]
    assert 0 < ends[0] < ends[1]
    course = np.abs(frames(clips[-1]) - frames(before)).mean((1, 2, 3))
    assert course[2] < course[-1]


def test_who_drifts_keeps_light_clothes_and_hair_style() -> None:
    own, other = draw_parameters([11, 12], "portrait")
    for share, wanted in ((0.0, own), (1.0, other)):
        found = drifted(11, 12, share, "portrait")
        torch.testing.assert_close(found[PARAMETER_INDEX["jaw_width"]], wanted[PARAMETER_INDEX["jaw_width"]])
        for name in ("light_yaw", "cloth_hue", *CATEGORIES):
            assert found[PARAMETER_INDEX[name]] == own[PARAMETER_INDEX[name]]


def test_dropped_frames_repeat_the_one_before_in_the_share_asked_for(faulty: FaultyClips) -> None:
    before = frames(faulty.faultless(0))
    repeats = []
    for dose in (0.2, 0.6, 1.0):
        after = frames(faulty(0, "dropped_frames", dose))
        same = [i for i in range(1, len(after)) if np.array_equal(after[i], after[i - 1])]
        assert len(same) == round(dose * 5)
        assert all(np.array_equal(after[i], before[i]) for i in range(len(after)) if i not in same)
        repeats.append(set(same))
    assert repeats[0] < repeats[1] < repeats[2]


def test_mouth_noise_stays_in_the_mouths_box(faulty: FaultyClips) -> None:
    before = faulty.faultless(0)
    strengths = []
    for dose in (0.05, 0.2):
        off = frames(faulty(0, "mouth_noise", dose)) - frames(before)
        touched = np.argwhere(off.any(-1))
        for t, row, column in touched:
            left, top, right, bottom = before.truth.mouth_box[t].tolist()
            u, v = (2 * column + 1) / 64 - 1, (2 * row + 1) / 64 - 1
            assert left <= u <= right and top <= v <= bottom
        strengths.append(float(off[tuple(touched.T)].std()) / 255)
    assert strengths[0] == pytest.approx(0.05, rel=0.2)
    assert strengths[1] > 2.5 * strengths[0]  # dark and bright ends cut some of it


def test_motion_scale_scales_about_the_mean(animation: Animation) -> None:
    mean = animation.pose.mean(0)
    still, double = (faults.motion_scaled(animation, dose, noise()) for dose in (0.0, 2.0))
    torch.testing.assert_close(still.pose, mean.expand_as(still.pose), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(double.pose - mean, 2 * (animation.pose - mean), atol=1e-6, rtol=1e-4)
    assert torch.equal(double.controls, animation.controls)


def test_severity_counts_both_ways() -> None:
    assert FAULTS["lag"].severity(-3) == FAULTS["lag"].severity(3) == 3
    scale = FAULTS["motion_scale"]
    assert scale.severity(1) == 0 and scale.severity(0.5) == pytest.approx(scale.severity(2))
    assert scale.severity(0) == math.inf


def test_doses_are_checked_and_cover_every_fault(faulty: FaultyClips) -> None:
    doses = DosesConfig()
    assert all(getattr(doses, fault) for fault in FAULTS)
    for wrong in ({"lag": [0]}, {"blur": [0.0]}, {"stiff_lips": [1.5]}, {"motion_scale": [1.0]}):
        with pytest.raises(ValueError, match=f"doses.{next(iter(wrong))}"):
            DosesConfig(**wrong)
    with pytest.raises(ValueError, match="fault is 'fog'"):
        faulty(0, "fog", 1.0)
