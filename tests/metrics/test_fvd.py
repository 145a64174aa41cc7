"""FVD: what is fed to the network is what was published, and what cannot be scored says so."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import metrics_adapter as adapter
import numpy as np
import pytest
import torch
from recipe import FOLDER, draw, video
from torch import Tensor

from vasa.metrics.fid import FidMetric, StandInFrames
from vasa.metrics.frechet import compare_sets
from vasa.metrics.fvd import WINDOW, FvdMetric, I3DFeatures, StandInFeatures, centre_square, preprocess
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.pretrained.config import VideoNetConfig
from vasa.pretrained.files import save_network
from vasa.pretrained.i3d import I3D
from vasa.pretrained.video_net import VideoNet

TOLERANCE = 1e-5
"""Of values of size 1: bilinear sampling in another order of additions."""
SMALL = VideoNetConfig(size=32, widths=[8, 8, 12, 16], squeeze=4, features_dim=8)


def floats(name: str, length: int, height: int, width: int) -> Tensor:
    """(3, T, H, W) in [0, 1], half a level above the 8-bit grid: there the two variants differ."""
    levels = video(f"fvd_{name}", length, height, width).astype(np.float32).transpose(3, 0, 1, 2)
    return torch.from_numpy(np.minimum((levels + np.float32(0.5)) / np.float32(255), np.float32(1)))


@pytest.mark.parametrize("variant", ["videogpt", "styleganv"])
@pytest.mark.parametrize("size", [(120, 160), (300, 260), (224, 224)])
def test_the_preprocessing_is_the_published_one(size: tuple[int, int], variant: str) -> None:
    name = f"{size[0]}x{size[1]}"
    got = adapter.fvd_preprocess(floats(name, 10, *size), variant).double().numpy()
    with np.load(FOLDER / "fvd.npz") as golden:
        key = f"fvd/{name}/{variant}"
        assert got.shape == tuple(golden[f"{key}#shape"])
        index = np.sort(draw("probe", key).choice(got.size, 1024, replace=False))
        assert np.abs(got.reshape(-1)[index] - golden[f"{key}#probe"]).max() < TOLERANCE


def test_of_eight_bit_videos_both_variants_make_the_same() -> None:
    """The truncation loses nothing: no level falls by one on its way through [0, 1]."""
    levels = torch.arange(256).float().view(1, 1, 16, 16).expand(3, 1, -1, -1) / 255
    assert torch.equal(preprocess(levels, "videogpt"), preprocess(levels, "styleganv"))


def test_range_type_and_shape_are_asserted() -> None:
    good = torch.rand(3, 2, 20, 30)
    assert preprocess(good).shape == (3, 2, 224, 224)
    assert -1 <= float(preprocess(good).min()) < -0.9 and 0.9 < float(preprocess(good).max()) <= 1
    for bad in (good * 255, good * 2 - 1, good * math.nan):
        with pytest.raises(ValueError, match=r"wanted RGB in \[0, 1\]"):
            preprocess(bad)
    with pytest.raises(ValueError, match="wanted floating"):
        preprocess((good * 255).to(torch.uint8))
    with pytest.raises(ValueError, match="wanted floating"):
        preprocess(good.transpose(0, 1))
    with pytest.raises(ValueError, match="variant"):
        preprocess(good, "stylegan")


def test_the_centre_square_keeps_proportions_and_the_middle() -> None:
    ramp = torch.linspace(0, 1, 48).view(1, 1, 1, -1).expand(2, 3, 24, -1)
    square = centre_square(ramp, 12)
    assert square.shape == (2, 3, 12, 12)
    assert float(square.mean()) == pytest.approx(0.5, abs=1e-3)
    assert float(square[..., -1].mean() - square[..., 0].mean()) == pytest.approx(22 / 47, abs=1e-3)
    assert torch.equal(centre_square(ramp[..., :24], 24), ramp[..., :24])  # nothing to do, nothing done


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judges")
    torch.manual_seed(0)
    save_network(VideoNet(SMALL), folder / "judge_video.safetensors", {"steps": 0})
    return folder


def moving(seed: int, length: int = 60, height: int = 40, width: int = 36) -> EvalClip:
    """A clip of coloured noise that drifts."""
    rng = np.random.default_rng(seed)
    still = rng.integers(0, 256, (height, width * 2, 3), dtype=np.uint8)
    frames = np.stack([np.roll(still, t, 1)[:, :width] for t in range(length)])
    return EvalClip(name=str(seed), frames=frames)


def test_the_features_do_not_depend_on_the_batch(judges: Path) -> None:
    windows = np.stack([moving(k, WINDOW).frames for k in range(64)])
    one, eight, all_at_once = (StandInFeatures(judges, batch_size=n)(windows) for n in (1, 8, 64))
    assert one.shape == (64, 8)
    for other in (eight, all_at_once):
        assert torch.allclose(one, other, atol=1e-5)
    scores = [compare_sets("fvd", list(f[:32, None]), list(f[32:, None]), 2, 0) for f in (one, all_at_once)]
    assert scores[0]["fvd"] == pytest.approx(scores[1]["fvd"], rel=1e-5)


def value_of(name: str) -> Tensor:
    """One number for all of a made-up tensor, so that its file stays small; every layer passes it on."""
    if name.endswith(("running_var", "bn.weight", "bn.bias")):
        return torch.tensor(0.5 if name.endswith("bias") else 1.0)
    return torch.tensor(0.002 if name.endswith("conv3d.weight") else 0.0)


def test_i3d_does_not_depend_on_the_batch_and_sees_its_own_range(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = {name: t.shape for name, t in I3D().state_dict().items()}
    made_up = {name: value_of(name).expand(shape) for name, shape in shapes.items() if "tracked" not in name}
    torch.save(made_up, tmp_path / "i3d.pt")
    windows = np.stack([moving(k, 9).frames for k in range(2)])
    together = I3DFeatures(tmp_path / "i3d.pt", batch_size=2)
    apart = I3DFeatures(tmp_path / "i3d.pt", batch_size=1)
    found = together(windows)
    assert found.shape == (2, 400) and float((found[0] - found[1]).abs().max()) > 0
    assert torch.allclose(found, apart(windows), atol=1e-5)
    assert together.identity["sha256"] == apart.identity["sha256"] and "published" in together.label


def test_windows_lie_side_by_side_and_short_clips_are_unscored(judges: Path) -> None:
    network = StandInFeatures(judges)
    metric, clip = FvdMetric(network, min_windows=2), moving(0)
    features = metric.features(clip)
    assert features.shape == (2, 8)
    second = dataclasses.replace(clip, frames=clip.frames[WINDOW : 2 * WINDOW])
    assert torch.allclose(features[1:], metric.features(second), atol=1e-5)
    assert FvdMetric(network, windows_per_clip=1).features(clip).shape == (1, 8)
    with pytest.raises(Unscored, match="24 frames"):
        metric.features(dataclasses.replace(clip, frames=clip.frames[:24]))
    with pytest.raises(ValueError, match="wanted uint8"):
        network(clip.frames[None].astype(np.float32) / 255)


def test_the_same_videos_twice_are_at_distance_zero_and_too_few_have_none(judges: Path) -> None:
    metric = FvdMetric(StandInFeatures(judges), min_windows=8)
    clips = [metric.features(moving(k)) for k in range(4)]
    found = metric.score(clips, clips)
    assert found["fvd"] == pytest.approx(0, abs=1e-9) and found["fvd_floor"] > 0
    assert found["num_made"] == found["num_real"] == 8
    few = metric.score(clips[:3], clips)
    assert math.isnan(few["fvd"]) and few["num_made"] == 6 and few["fvd_floor"] == found["fvd_floor"]
    assert "too few, below 8 windows" in metric.label and "not comparable" in metric.label


def test_a_changed_weight_file_changes_the_identity(judges: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    save_network(VideoNet(SMALL), tmp_path / "judge_video.safetensors", {"steps": 0})
    one, other = (FvdMetric(StandInFeatures(folder)).identity for folder in (judges, tmp_path))
    assert one == FvdMetric(StandInFeatures(judges)).identity
    assert {k for k in one if one[k] != other[k]} == {"sha256"}
    with pytest.raises(FileNotFoundError, match=r"only=\[judge_video\]"):
        StandInFeatures(tmp_path / "nowhere")


def test_frames_have_a_distance_of_their_own_under_another_name(judges: Path) -> None:
    metric = FidMetric(StandInFrames(StandInFeatures(judges)), frames_per_clip=5, min_frames=10)
    clips = [metric.features(moving(k)) for k in range(4)]
    assert clips[0].shape == (5, 8)
    assert metric.features(moving(0, length=3)).shape == (3, 8)
    found = metric.score(clips[:2], clips[2:])
    assert set(found) == {"fid_standin", "fid_standin_floor", "num_made", "num_real"}
    assert found["fid_standin"] > 0 and metric.score(clips, clips)["fid_standin"] < 1e-9
    assert math.isnan(metric.score(clips[:1], clips)["fid_standin"])
