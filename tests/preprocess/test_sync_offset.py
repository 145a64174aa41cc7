"""The offset of sound: its sign, how it is taken back, and where it is not measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recipe import filled

from vasa.data.config import ClipsConfig, SpokenConfig
from vasa.data.synthetic.clips import SyntheticClips
from vasa.preprocess.signals_config import SyncOffsetConfig
from vasa.preprocess.sync import OffsetMeter, build_meter, sync_crops
from vasa.pretrained.config import SyncNetConfig
from vasa.pretrained.registry import JUDGE_DIR, NETWORKS
from vasa.pretrained.syncnet import SyncNet
from vasa.records import SAMPLES_PER_FRAME

JUDGE = JUDGE_DIR / NETWORKS["judge_sync"].file
TINY = SyncNetConfig(width=0.05, feature_dim=8, embedding_dim=8, image_size=56, view_side=0.4)


def shifted(sound, offset):
    """Sound (N,) delayed by an offset in frames, as long as before; silence where nothing was recorded."""
    out = np.zeros_like(sound)
    move = offset * SAMPLES_PER_FRAME
    if abs(move) < len(sound):
        out[max(move, 0) : len(sound) + min(move, 0)] = sound[max(-move, 0) : len(sound) - max(move, 0)]
    return out


@pytest.mark.parametrize("offset", [3, -2, 0, 99])
def test_a_positive_offset_delays_the_sound(offset: int) -> None:
    sound = np.arange(8 * SAMPLES_PER_FRAME, dtype=np.float32) + 1
    found = shifted(sound, offset)
    assert found.shape == sound.shape
    for frame in range(8):
        there = 0 <= frame - offset < 8
        wanted = sound[(frame - offset) * SAMPLES_PER_FRAME] if there else 0.0
        assert found[frame * SAMPLES_PER_FRAME] == wanted


@pytest.mark.skipif(not JUDGE.exists(), reason="no trained SyncNet is here: run scripts/train_judges.py")
def test_sound_that_comes_early_is_found_so_and_put_right() -> None:
    """The stand-in measures here, because it is the SyncNet that is at hand; preprocessing never reads it."""
    spoken = SpokenConfig(espeak_share=0.0, silent_share=0.0, singing_share=0.0)
    config = ClipsConfig(num_clips=1, seed=5, seconds=2.2, size=128, spoken=spoken)
    clip = SyntheticClips("test", config)[0]
    meter = OffsetMeter(SyncNet.from_pretrained(JUDGE), SyncOffsetConfig(max_shift=8, min_confidence=1.0))
    points = clip.truth.landmarks
    early = np.roll(clip.audio, -3 * SAMPLES_PER_FRAME)  # what belongs to frame 3 is heard at frame 0
    found = meter(clip.frames, points, early)
    assert found.frames == 3 and found.believed and found.confidence > 1
    again = meter(clip.frames, points, shifted(early, found.frames))
    assert again.frames == 0
    late = meter(clip.frames, points, np.roll(clip.audio, 2 * SAMPLES_PER_FRAME))
    assert late.frames == -2


def tiny() -> SyncNet:
    network = filled(SyncNet(TINY), "offset")
    assert isinstance(network, SyncNet)
    return network.eval()


def test_short_clips_and_unsure_ones() -> None:
    config = SyncOffsetConfig(max_shift=3, min_confidence=1000.0)
    meter = OffsetMeter(tiny(), config)
    make = np.random.default_rng(0)
    frames = make.integers(0, 256, (14, 64, 64, 3), dtype=np.uint8)
    points = torch.rand(14, 68, 2) - 0.5
    sound = make.normal(0, 0.1, 14 * SAMPLES_PER_FRAME).astype(np.float32)
    found = meter(frames, points, sound)
    assert abs(found.frames) <= 3 and not found.believed and np.isfinite(found.confidence)
    assert meter(frames, points, sound[: 11 * SAMPLES_PER_FRAME]) is None
    assert meter(frames[:11], points[:11], sound) is None
    longer = meter(frames, points, np.concatenate([sound, sound]))  # what is beyond the frames is not heard
    assert longer == found


def test_crops_are_around_the_face() -> None:
    frames = np.full((13, 200, 200, 3), 30, np.uint8)
    cloud = torch.rand(1, 68, 2, generator=torch.Generator().manual_seed(0)) * 0.6
    points = (cloud + torch.tensor([0.1, -0.4])).expand(13, -1, -1)
    middle = ((points.mean(1) + 1) * 100).round().int()
    for frame, (x, y) in zip(frames, middle.tolist(), strict=True):
        frame[y - 4 : y + 4, x - 4 : x + 4] = 255
    crops = sync_crops(frames, points)
    bright = np.argwhere(crops[6, ..., 0] > 200)
    assert crops.shape == (13, 224, 224, 3) and abs(bright[:, 1].mean() - 112) < 20


def test_without_weights_nothing_is_measured_and_missing_ones_are_told(tmp_path: Path) -> None:
    assert build_meter(SyncOffsetConfig()) == (None, "")
    with pytest.raises(FileNotFoundError, match="get syncnet_v2.model .*or leave it out"):
        build_meter(SyncOffsetConfig(weights=tmp_path / "syncnet_v2.model"))
    with pytest.raises(ValueError, match="max_shift is 0"):
        SyncOffsetConfig(max_shift=0)


def test_the_published_file_is_read_and_named_by_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VASA_CACHE", str(tmp_path / "cache"))
    with torch.device("meta"):
        names = SyncNet().state_dict()
    path = tmp_path / "syncnet_v2.model"
    torch.save({n: torch.tensor(1.0 if "var" in n else 0.0).expand(t.shape) for n, t in names.items()}, path)
    meter, digest = build_meter(SyncOffsetConfig(weights=path))
    assert isinstance(meter, OffsetMeter) and len(digest) == 64
