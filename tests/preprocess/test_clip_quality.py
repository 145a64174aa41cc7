"""Scores of clips move as what they measure does, and rules say what they reject."""

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from vasa.preprocess.config import QualityConfig
from vasa.preprocess.quality import build_iqa, measure, pose_range, why_poor, why_too_small, why_turned

OFF = QualityConfig(min_brightness=0, max_brightness=0, max_clipped=0, max_enlarge=0)


@pytest.fixture(scope="module")
def frames():
    """Twelve frames of coarse noise that moves."""
    noise = np.random.default_rng(0).integers(60, 190, (40, 44, 3)).astype(np.uint8)
    big = cv2.resize(noise, (220, 200), interpolation=cv2.INTER_CUBIC)
    return np.stack([big[:192, n : 192 + n] for n in range(12)])


def test_blur_falls_with_softness_and_not_with_light_or_size(frames):
    sharp = measure(frames).blur
    soft = [measure(np.stack([cv2.GaussianBlur(f, (0, 0), s) for f in frames])).blur for s in (1, 2, 4)]
    assert sharp > soft[0] > soft[1] > soft[2] > 0
    assert measure((frames * 0.6).astype(np.uint8)).blur == pytest.approx(sharp, rel=0.03)
    small = np.stack([cv2.resize(f, (128, 128), interpolation=cv2.INTER_AREA) for f in frames])
    assert measure(small).blur == pytest.approx(sharp, rel=0.02)


def test_brightness_clipping_and_stillness(frames):
    seen = measure(frames)
    assert seen.brightness == pytest.approx(frames.mean() / 255, abs=0.02) and seen.clipped == 0
    dark = measure((frames * 0.1).astype(np.uint8))
    assert why_poor(dark, QualityConfig())[0] == "dark" and why_poor(seen, QualityConfig()) is None
    assert why_poor(measure(np.minimum(frames // 8 + 224, 250)), QualityConfig())[0] == "bright"
    half = frames.copy()
    half[:, :120] = 0
    assert why_poor(measure(half), QualityConfig())[0] == "clipped" and why_poor(measure(half), OFF) is None
    assert why_poor(measure(frames[[0] * 12]), OFF)[0] == "still"
    status, words = why_poor(seen, QualityConfig(min_blur=9.0))
    assert status == "blurred" and "wanted at least 9.0" in words


def test_enlarging_and_turning_are_limited():
    assert (
        why_too_small(127, 256, QualityConfig())[0] == "too_small"
        and why_too_small(128, 256, QualityConfig()) is None
    )
    assert why_too_small(1, 256, OFF) is None
    assert "wanted at least 200" in why_too_small(150, 256, QualityConfig(min_side_px=200))[1]
    yaw = np.radians(np.linspace(-20, 25, 100))
    assert pose_range(yaw) == pytest.approx(45 * 0.96, abs=0.1)
    yaw[50] = 3.0
    assert pose_range(yaw) == pytest.approx(45 * 0.96, abs=0.6), "a slip is left out"
    assert why_turned(43, 5, QualityConfig()) is None
    assert why_turned(43, 5, QualityConfig(max_yaw_range=40)) == (
        "turned",
        "its yaw ranges over 43 degrees; wanted at most 40",
    )


def made_up_judge(path, size):
    """A model that scores a picture by its mean, times 100."""
    given = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["n", 3, size, size])
    made = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])
    hundred = helper.make_tensor("hundred", TensorProto.FLOAT, [], [100.0])
    axes = helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])
    nodes = [
        helper.make_node("ReduceMean", ["pictures", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "hundred"], ["score"]),
    ]
    graph = helper.make_graph(nodes, "judge", [given], [made], [hundred, axes])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.mark.parametrize("size", [96, "s"])
def test_a_blind_judge_is_a_file(frames, tmp_path, size):
    judge = build_iqa(made_up_judge(tmp_path / "judge.onnx", size))
    seen = measure(frames, judge)
    assert judge.name == "judge" and seen.iqa == pytest.approx(frames.mean() / 2.55, rel=0.02)
    config = QualityConfig(iqa=tmp_path / "judge.onnx", min_iqa=99)
    assert why_poor(seen, config)[0] == "low_iqa"
    assert np.isnan(measure(frames).iqa)


def test_a_judge_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="quality.iqa=.*does not exist"):
        build_iqa(tmp_path / "none.onnx")
    (tmp_path / "judge.bin").touch()
    with pytest.raises(ValueError, match=r"ends in '.bin'; wanted .onnx"):
        build_iqa(tmp_path / "judge.bin")
    with pytest.raises(ValueError, match="give quality.iqa=FILE too"):
        QualityConfig(min_iqa=40)
    assert build_iqa(None) is None
