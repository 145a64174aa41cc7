"""Clips: pure functions of (seed, split, index), with motion that belongs to their sound."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasa.data.config import SPLIT_SEEDS, SPLITS, ClipsConfig, SpokenConfig
from vasa.data.synthetic import dynamics
from vasa.data.synthetic.clips import SyntheticClips
from vasa.data.synthetic.speech import silence
from vasa.records import (
    CONTROL_HIGH,
    CONTROL_INDEX,
    CONTROL_LOW,
    EMOTIONS,
    SAMPLES_PER_FRAME,
    VIDEO_FPS,
    Clip,
)

FORMANT = SpokenConfig(espeak_share=0.0)


@pytest.fixture(scope="module")
def many() -> list[Clip]:
    clips = SyntheticClips("train", seed=7, num_clips=60, spoken=FORMANT)
    return [clips.animation_only(index) for index in range(60)]


def tracks(clips: list[Clip]) -> tuple[np.ndarray, np.ndarray]:
    """Poses (clips, T, 6) and controls (clips, T, 11)."""
    animations = [clip.truth.animation for clip in clips]
    return (
        np.stack([a.pose.numpy() for a in animations if a is not None]),
        np.stack([a.controls.numpy() for a in animations if a is not None]),
    )


def test_clip_is_a_pure_function_of_seed_split_and_index() -> None:
    def clip(split: str, seed: int, index: int) -> Clip:
        return SyntheticClips(split, seed=seed, seconds=2.0, spoken=FORMANT).animation_only(index)

    first, again = clip("train", 1, 3), clip("train", 1, 3)
    np.testing.assert_array_equal(first.audio, again.audio)
    assert torch.equal(first.truth.animation.pose, again.truth.animation.pose)
    assert torch.equal(first.truth.animation.controls, again.truth.animation.controls)
    for other in (clip("train", 2, 3), clip("train", 1, 4), clip("validation", 1, 3)):
        assert not np.array_equal(first.audio, other.audio)
        assert not torch.equal(first.truth.animation.pose, other.truth.animation.pose)
        assert first.clip_id != other.clip_id


def test_splits_share_neither_identities_nor_voices() -> None:
    seen: dict[str, tuple[set[int], set[int]]] = {}
    for split in SPLITS:
        clips = SyntheticClips(split, num_clips=300)
        pairs = [clips._seeds(index) for index in range(300)]
        assert all(
            identity in SPLIT_SEEDS[split] and voice in SPLIT_SEEDS[split] for identity, voice in pairs
        )
        assert len({identity for identity, _ in pairs}) > 295
        seen[split] = ({identity for identity, _ in pairs}, {voice for _, voice in pairs})
    for one in SPLITS:
        for other in SPLITS:
            if one != other:
                assert not set(SPLIT_SEEDS[one]) & set(SPLIT_SEEDS[other])
                assert not seen[one][0] & seen[other][0]
                assert not seen[one][1] & seen[other][1]


def test_controls_stay_in_range_and_conditions_say_what_the_clip_does(many: list[Clip]) -> None:
    pose, controls = tracks(many)
    assert (controls >= np.float32(CONTROL_LOW)).all()
    assert (controls <= np.float32(CONTROL_HIGH)).all()
    assert np.isfinite(pose).all()
    for index, clip in enumerate(many):
        assert len(clip.audio) == clip.num_frames * SAMPLES_PER_FRAME == pose.shape[1] * SAMPLES_PER_FRAME
        assert clip.emotion.shape == (len(EMOTIONS),)
        assert float(clip.emotion.sum()) == pytest.approx(1, abs=1e-5)
        assert float(clip.distance) == pytest.approx(float(np.exp(-pose[index, :, 5]).mean()), rel=1e-5)
        assert 0.75 < float(clip.distance) < 1.32
    means = np.exp(-pose[:, :, 5]).mean(1)
    assert means.min() < 0.88 < 1.17 < means.max()
    neutral = np.mean([float(clip.emotion[0]) == 1.0 for clip in many])
    assert 0.2 < neutral < 0.6


def test_gaze_condition_is_the_main_direction(many: list[Clip]) -> None:
    _, controls = tracks(many)
    near = [
        np.linalg.norm(c[:, :2] - clip.gaze.numpy(), axis=1) < 0.1
        for c, clip in zip(controls, many, strict=True)
    ]
    assert np.mean([n.mean() for n in near]) > 0.6
    directions = np.stack([clip.gaze.numpy() for clip in many])
    assert directions[:, 0].std() > 0.1
    # A glance away moves the mean, not the mode.
    track = np.concatenate([np.full((150, 2), 0.1), np.full((50, 2), -0.4)])
    np.testing.assert_allclose(dynamics.main_direction(track), [0.1, 0.1], atol=1e-9)


def test_heads_move_smoothly(many: list[Clip]) -> None:
    """No content above 5 Hz to speak of, and no step: head motion, not jitter."""
    pose, _ = tracks(many)
    window = np.hanning(pose.shape[1])[None, :, None]
    power = np.abs(np.fft.rfft((pose - pose.mean(1, keepdims=True)) * window, axis=1)) ** 2
    hz = np.fft.rfftfreq(pose.shape[1], 1 / VIDEO_FPS)
    assert power[:, hz > 2 * dynamics.HIGHEST_HZ].sum() / power.sum() < 1e-3
    assert np.abs(np.diff(pose[..., :3], axis=1)).max() < np.deg2rad(4)  # a frame
    assert np.rad2deg(pose[..., 0].std(1).mean()) > 1.5
    assert np.abs(pose[..., :3]).max() < 0.55


def test_heads_nod_on_accents_without_delay() -> None:
    clips = SyntheticClips(
        "train", seed=8, num_clips=40, spoken=SpokenConfig(espeak_share=0.0, silent_share=0.0)
    )
    by_lag = []
    for index in range(40):
        accents = dynamics.accent_track(clips.speech(index))
        pitch = clips.animation_only(index).truth.animation.pose[:, 1].numpy()
        by_lag.append(
            [np.corrcoef(accents[10:-10], np.roll(pitch, lag)[10:-10])[0, 1] for lag in range(-6, 7)]
        )
    mean = np.mean(by_lag, axis=0)
    assert abs(int(mean.argmin()) - 6) <= 1
    assert mean.min() < -0.25


def test_blinks_come_10_to_25_times_a_minute_and_last_a_fifth_to_a_third_of_a_second(
    many: list[Clip],
) -> None:
    speech = silence(600.0)
    for rate in (12.0, 22.0):
        closure, count = dynamics.blinks(
            speech, rate, np.zeros(speech.num_frames, bool), np.random.default_rng(0)
        )
        assert count / 10 == pytest.approx(rate, rel=0.3)  # 120 to 220 events: 3 standard deviations
        closed = closure > 0.05
        starts = np.flatnonzero(np.diff(closed.astype(int)) == 1)
        lengths = [np.argmin(closed[start + 1 :]) for start in starts[:-1]]
        assert 4 <= np.median(lengths) <= 9  # frames of 40 ms
        assert len(starts) == pytest.approx(count, abs=1)
        assert closure.max() <= 1
    _, controls = tracks(many)
    lids = controls[:, :, CONTROL_INDEX["blink_left"]]
    per_minute = (np.diff((lids > 0.7).astype(int), axis=1) == 1).sum() / (lids.size / VIDEO_FPS / 60)
    assert 9 < per_minute < 25


def test_blinks_gather_where_phrases_end() -> None:
    clips = SyntheticClips(
        "train", seed=9, num_clips=30, spoken=SpokenConfig(espeak_share=0.0, silent_share=0.0)
    )
    near, elsewhere = [], []
    for index in range(30):
        speech = clips.speech(index)
        closure, _ = dynamics.blinks(
            speech, 18.0, np.zeros(speech.num_frames, bool), np.random.default_rng(index)
        )
        ends = np.flatnonzero(np.diff(speech.speaking.astype(int)) == -1)
        close = np.zeros(speech.num_frames, bool)
        for end in ends:
            close[max(end - 8, 0) : end + 12] = True
        near.append(closure[close].sum() / max(close.sum(), 1))
        elsewhere.append(closure[~close].mean())
    assert np.mean(near) > 1.5 * np.mean(elsewhere)


def test_mouth_follows_speech_whatever_the_mood(many: list[Clip]) -> None:
    clips = SyntheticClips("train", seed=7, num_clips=60, spoken=FORMANT)
    for index in range(10):
        clip, speech = clips.animation_only(index), clips.speech(index)
        np.testing.assert_allclose(
            clip.truth.animation.controls[:, CONTROL_INDEX["jaw"]].numpy(), speech.visemes[:, 0], atol=1e-6
        )
    happy = [clip for clip in many if float(clip.emotion[EMOTIONS.index("happy")]) > 0.5]
    rest = [clip for clip in many if float(clip.emotion[0]) == 1]
    assert happy
    smile = CONTROL_INDEX["smile"]
    assert tracks(happy)[1][..., smile].mean() > tracks(rest)[1][..., smile].mean() + 0.25


def test_silent_clips_keep_the_mouth_closed() -> None:
    clips = SyntheticClips(
        "train", seconds=2.0, num_clips=3, spoken=SpokenConfig(espeak_share=0.0, silent_share=1.0)
    )
    clip = clips.animation_only(0)
    assert not clip.audio.any()
    assert not clip.truth.animation.controls[:, CONTROL_INDEX["jaw"]].any()
    assert clip.clip_id.endswith("silence")


def test_smooth_noise_has_unit_variance_and_no_fast_part() -> None:
    rng = np.random.default_rng(0)
    noise = np.stack([dynamics.smooth_noise(400, 2.5, 0.3, rng) for _ in range(200)])
    assert noise.std() == pytest.approx(1, abs=0.1)
    fast = np.abs(np.fft.rfft(noise * np.hanning(400), axis=1)) ** 2
    assert fast[:, np.fft.rfftfreq(400, 1 / VIDEO_FPS) > 3].sum() / fast.sum() < 1e-3


def test_frames_show_the_animation() -> None:
    """A rendered clip has one frame per 40 ms, the same again, and truth for each."""
    clips = SyntheticClips("test", seed=2, seconds=0.4, size=64, quality="draft", spoken=FORMANT)
    clip = clips[1]
    assert clip.frames.shape == (10, 64, 64, 3)
    assert clip.frames.dtype == np.uint8
    np.testing.assert_array_equal(clip.frames, clips[1].frames)
    assert clip.truth.landmarks.shape == (10, 68, 2)
    assert clip.truth.landmarks_3d.shape == (10, 68, 3)
    assert clip.truth.mask.shape == (10, 64, 64)
    assert clip.truth.eye_boxes.shape == (10, 2, 4)
    assert clip.truth.mouth_box.shape == (10, 4)
    assert torch.equal(clip.truth.animation.pose, clips.animation_only(1).truth.animation.pose)
    assert (clip.truth.mask == 255).float().mean() > 0.15
    other = clips[2]
    assert np.abs(clip.frames.astype(float) - other.frames).mean() > 5


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="split is 'dev'"):
        SyntheticClips("dev")
    with pytest.raises(ValueError, match="quality is 'best'"):
        SyntheticClips("train", quality="best")
    with pytest.raises(ValueError, match="seconds is 0.01"):
        ClipsConfig(seconds=0.01)
    with pytest.raises(TypeError, match="qualty"):
        SyntheticClips("train", qualty="draft")
    with pytest.raises(IndexError, match="clip 5 of 5"):
        SyntheticClips("train", num_clips=5).animation_only(5)
