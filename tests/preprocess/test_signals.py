"""Signals of clips: signs and units of rendered truth, what lies between looks, what a clip adds up to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vasa.checkpoint import CheckpointError
from vasa.config import load
from vasa.data.config import ClipsConfig, SpokenConfig
from vasa.data.synthetic.clips import SyntheticClips, render_person
from vasa.data.synthetic.heads import make_identities
from vasa.preprocess.estimators import Estimators
from vasa.preprocess.signal_errors import signal_errors
from vasa.preprocess.signals import (
    ClipSignals,
    SignalEstimator,
    between,
    looked_at,
    main_gaze,
    windowed_mean,
)
from vasa.preprocess.signals_config import SignalsConfig
from vasa.pretrained.config import EmotionNetConfig, LandmarkNetConfig, RegionNetConfig
from vasa.pretrained.emotion import EmotionNet
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.files import save_network
from vasa.pretrained.landmarks import LandmarkNet
from vasa.pretrained.registry import JUDGE_DIR, NETWORKS
from vasa.records import CONTROL_INDEX, EMOTIONS, Animation

NEEDED = ("landmarks", "teacher_expression", "teacher_emotion")
needs_standins = pytest.mark.skipif(
    not all((JUDGE_DIR / NETWORKS[name].file).exists() for name in NEEDED),
    reason="the networks that signals need are not here: run scripts/train_judges.py",
)
SMALL = [8, 8, 12, 16, 16]
YAW, PITCH, ROLL, UP, FAR, LOOK, LOOK_UP, WINK, BLINK = range(1, 10)


def posed() -> Animation:
    """A head straight ahead, then one thing at a time."""
    animation = Animation.neutral(10)
    for row, column, value in (
        (YAW, 0, 0.4),
        (PITCH, 1, 0.25),
        (ROLL, 2, 0.25),
        (UP, 4, 0.15),
        (FAR, 5, -0.2),
    ):
        animation.pose[row, column] = value
    for row, name, value in (
        (LOOK, "gaze_yaw", 0.45),
        (LOOK_UP, "gaze_pitch", 0.3),
        (WINK, "blink_left", 1.0),
        (BLINK, "blink_left", 1.0),
        (BLINK, "blink_right", 1.0),
    ):
        animation.controls[row, CONTROL_INDEX[name]] = value
    return animation


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return render_person(make_identities([2_700_002]), posed(), 128, "draft")[0]


@pytest.fixture(scope="module")
def estimator() -> SignalEstimator:
    return SignalEstimator(SignalsConfig(stride=1))


def changes(values: Tensor, row: int) -> Tensor:
    """From the frame straight ahead."""
    return values[row] - values[0]


@needs_standins
def test_every_sign_is_that_of_records(estimator: SignalEstimator, frames: np.ndarray) -> None:
    seen = estimator(frames)
    assert changes(seen.pose, YAW)[0] > 0.25 and changes(seen.pose, PITCH)[1] > 0.05
    assert changes(seen.pose, ROLL)[2] > 0.15 and changes(seen.pose, UP)[4] > 0.08
    assert changes(seen.distance, FAR)[0] == pytest.approx(np.exp(0.2) - 1, abs=0.08)
    assert changes(seen.gaze, LOOK)[0] > 0.25 and changes(seen.gaze, LOOK_UP)[1] > 0.08
    assert changes(seen.blink, BLINK).min() > 0.35
    left, right = changes(seen.blink, WINK)
    assert left > right + 0.1, "the viewer's left eye comes first"
    assert changes(seen.landmarks, UP)[30, 1] < -0.08, "v points down"


@needs_standins
def test_a_mirrored_picture_turns_signs_round(estimator: SignalEstimator, frames: np.ndarray) -> None:
    seen, mirrored = estimator(frames), estimator(np.ascontiguousarray(frames[:, :, ::-1]))
    sign = torch.tensor([-1.0, 1, -1, -1, 1, 1])
    for values, other, wanted in (
        (seen.pose, mirrored.pose * sign, 0.12),
        (seen.gaze, mirrored.gaze * sign[:2], 0.3),
        (seen.blink, mirrored.blink.flip(1), 0.3),
    ):
        assert (values - other).abs().mean() < wanted
    assert changes(mirrored.pose, YAW)[0] < -0.25 and changes(mirrored.gaze, LOOK)[0] < -0.25
    left, right = changes(mirrored.blink, WINK)
    assert right > left + 0.1


@needs_standins
def test_frames_of_any_size_say_the_same(estimator: SignalEstimator, frames: np.ndarray) -> None:
    large = frames[:3].repeat(2, 1).repeat(2, 2)
    small, big = estimator(frames[:3]), estimator(large)
    assert (small.pose - big.pose).abs().max() < 0.05 and (small.landmarks - big.landmarks).abs().max() < 0.03


@needs_standins
def test_errors_on_a_talking_clip_are_small(estimator: SignalEstimator) -> None:
    spoken = SpokenConfig(espeak_share=0.0, silent_share=0.0)
    config = ClipsConfig(num_clips=2, seed=3, seconds=0.4, size=128, spoken=spoken)
    clips = SyntheticClips("test", config)
    found = signal_errors(estimator, (clips[index] for index in range(2)))
    limits = {"yaw, degrees": 5, "pitch, degrees": 8, "roll, degrees": 4, "distance, of the reference": 0.1}
    limits |= {
        "landmarks, % of the eye distance": 9,
        "gaze, angle in degrees": 18,
        "blink, of full closure": 0.3,
    }
    assert {name for name, limit in limits.items() if not found[name] < limit} == set()
    assert all(np.isfinite(value) for name, value in found.items() if not name.endswith(" r"))


def signals(num: int = 40, **fields: Tensor) -> ClipSignals:
    zero = ClipSignals(
        torch.zeros(num, 6),
        torch.zeros(num, 68, 2),
        torch.zeros(num, 2),
        torch.zeros(num, 8),
        torch.zeros(num, 2),
    )
    return replace(zero, **fields)


def test_the_main_gaze_is_where_a_clip_looks_most_and_not_between() -> None:
    generator = torch.Generator().manual_seed(0)
    gaze = 0.01 * torch.randn(40, 2, generator=generator)
    gaze[:25] += torch.tensor([0.22, -0.1])
    gaze[25:] += torch.tensor([-0.4, 0.2])
    found = signals(gaze=gaze).main_gaze
    torch.testing.assert_close(found, torch.tensor([0.22, -0.1]), atol=0.01, rtol=0)
    blink = torch.zeros(40, 2)
    blink[:20] = 0.9  # what is seen behind closed lids is a guess
    found = signals(gaze=gaze, blink=blink).main_gaze
    torch.testing.assert_close(found, torch.tensor([-0.4, 0.2]), atol=0.01, rtol=0)
    asleep = main_gaze(gaze, torch.ones(40, 2))
    torch.testing.assert_close(asleep, torch.tensor([0.22, -0.1]), atol=0.01, rtol=0)


def test_a_clips_means_and_what_a_shard_stores() -> None:
    pose = torch.zeros(4, 6)
    pose[:, 5] = torch.tensor([0.0, 0.5, -0.5, 0.2]).log1p()
    emotion = torch.eye(8)[:4]
    clip = signals(4, pose=pose, emotion=emotion)
    wanted = 1 / torch.tensor([1.0, 1.5, 0.5, 1.2])
    torch.testing.assert_close(clip.distance[:, 0], wanted)
    torch.testing.assert_close(clip.mean_distance, wanted.mean())
    torch.testing.assert_close(clip.mean_emotion, emotion.mean(0))
    stored = clip.tensors()
    assert {name: (t.dtype, tuple(t.shape)) for name, t in stored.items()} == {
        "pose": (torch.float32, (4, 6)),
        "landmarks": (torch.float16, (4, 68, 2)),
        "gaze": (torch.float16, (4, 2)),
        "distance": (torch.float16, (4, 1)),
        "emotion": (torch.float16, (4, 8)),
        "blink": (torch.float16, (4, 2)),
    }


@pytest.mark.parametrize(("num", "stride"), [(1, 2), (2, 2), (10, 3), (11, 5), (7, 1)])
def test_between_looks_values_are_on_straight_lines(num: int, stride: int) -> None:
    at = looked_at(num, stride)
    assert at[0] == 0 and at[-1] == num - 1 and (at.diff() <= stride).all()
    values = torch.randn(len(at), 3, 2)
    found = between(values, at, num)
    assert torch.equal(found[at], values)
    for column in range(3):
        line = np.interp(np.arange(num), at.numpy(), values[:, column, 1].numpy())
        np.testing.assert_allclose(found[:, column, 1], line, atol=1e-6)


def test_a_windowed_mean_is_one() -> None:
    values = torch.randn(9, 3)
    found = windowed_mean(values, 2)
    for row in range(9):
        torch.testing.assert_close(found[row], values[max(0, row - 2) : row + 3].mean(0))


def tiny(folder: Path) -> Path:
    """Small untrained networks in the place of ours."""
    save_network(
        LandmarkNet(LandmarkNetConfig(size=64, widths=SMALL, decoder_width=8)),
        folder / "landmarks.safetensors",
        {},
    )
    regions = RegionNetConfig(widths=SMALL[:4], squeeze=4, hidden=8)
    save_network(ExpressionNet(regions), folder / "teacher_expression.safetensors", {})
    save_network(EmotionNet(EmotionNetConfig(hidden=8)), folder / "teacher_emotion.safetensors", {})
    return folder


def test_a_frame_between_looks_changes_only_what_is_read_in_every_frame(tmp_path: Path) -> None:
    estimator = SignalEstimator(SignalsConfig(stride=2, judges=tiny(tmp_path)))
    frames = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    other = frames.copy()
    other[1] = 255 - other[1]
    one, two = estimator(frames), estimator(other)
    assert torch.equal(one.landmarks, two.landmarks) and torch.equal(one.pose, two.pose)
    assert not torch.equal(one.blink[1], two.blink[1]) and torch.equal(one.blink[2:], two.blink[2:])
    assert torch.equal(one.gaze[2:], two.gaze[2:])
    torch.testing.assert_close(one.pose[1], (one.pose[0] + one.pose[2]) / 2)
    assert set(estimator.used) == set(NEEDED) and all(len(v) == 64 for v in estimator.used.values())
    torch.testing.assert_close(one.emotion.sum(1), torch.ones(5))


class Published:
    """Stands for networks that look at whole frames, and remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def landmarks(self, images: Tensor, rough: Tensor) -> Tensor:
        self.seen.append((*images.shape, *rough.shape))
        level = torch.linspace(-0.5, 0.5, 136).view(1, 68, 2)
        return level + images.mean((1, 2, 3)).view(-1, 1, 1)

    def gaze(self, images: Tensor, landmarks: Tensor, pose: Tensor) -> Tensor:
        assert len(images) == len(landmarks) == len(pose)
        return images.mean((2, 3))[:, :2]


def test_published_networks_see_whole_frames_at_the_stride(tmp_path: Path) -> None:
    estimator = SignalEstimator(SignalsConfig(stride=3, judges=tiny(tmp_path)))
    networks: Estimators = estimator.networks
    networks.fan = networks.gaze = stand = Published()
    frames = np.zeros((8, 96, 96, 3), np.uint8)
    frames[:] = np.arange(8)[:, None, None, None] * 20
    found = estimator(frames)
    assert stand.seen == [(4, 3, 96, 96, 4, 68, 2)]  # frames 0, 3, 6 and the last, in full size
    torch.testing.assert_close(found.gaze[:, 0], torch.arange(8.0) * 20 / 127.5 - 1)
    middle = found.landmarks.mean((1, 2))
    torch.testing.assert_close(middle, torch.arange(8.0) * 20 / 127.5 - 1, atol=1e-5, rtol=0)


def test_frames_that_are_none_are_refused(tmp_path: Path) -> None:
    estimator = SignalEstimator(SignalsConfig(judges=tiny(tmp_path)))
    for frames in (
        np.zeros((2, 64, 32, 3), np.uint8),
        np.zeros((2, 64, 64, 3), np.float32),
        np.zeros((64, 64, 3)),
    ):
        with pytest.raises(ValueError, match=r"wanted uint8 \(T, S, S, 3\)"):
            estimator(frames)
    with pytest.raises(ValueError, match="at least one"):
        estimator(np.zeros((0, 64, 64, 3), np.uint8))


def test_what_is_missing_is_told_in_one_sentence_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = SignalsConfig(landmarks=None, gaze=None, emotion=None, identity=None, judges=tiny(tmp_path))
    with pytest.raises(FileNotFoundError) as error:
        SignalEstimator(config)
    text = str(error.value)
    for file in (
        "3DFAN4-7835d9f11d.pth.tar",
        "L2CSNet_gaze360.pkl",
        "enet_b0_8_best_afew.onnx",
        "w600k_r50.onnx",
    ):
        assert text.count(file) == 2, "where it should be, and where to get it"
    assert "signals.gaze=standin does without it" in text and "\n" not in text
    (tmp_path / "teacher_emotion.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"train_judges.py only=\[teacher_emotion\]"):
        SignalEstimator(SignalsConfig(judges=tmp_path))


def test_a_file_that_is_not_what_is_listed_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "L2CSNet_gaze360.pkl"
    wrong.write_bytes(b"weights of something")
    with pytest.raises(CheckpointError, match="is not l2cs_gaze360: its SHA-256 begins with"):
        SignalEstimator(SignalsConfig(gaze=str(wrong), judges=tiny(tmp_path)))


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="wanted 1"):
        SignalsConfig(stride=0)
    with pytest.raises(ValueError, match="every clip has one"):
        SignalsConfig(gaze="none")
    run = load("check_signals", ["signals.gaze=some.pkl", "people=3"])
    assert run.signals.gaze == "some.pkl" and run.people == 3 and len(EMOTIONS) == 8
