"""SyncNet: the published numbers, the published file, and windows that do not know of each other."""

from __future__ import annotations

import os
from pathlib import Path

import metrics_adapter as adapter
import numpy as np
import pytest
import torch
from recipe import FOLDER, filled, noise, speech, video

from vasa.checkpoint import CheckpointError
from vasa.config import load
from vasa.pretrained.config import SyncNetConfig
from vasa.pretrained.files import save_network
from vasa.pretrained.mfcc import mfcc, to_int16
from vasa.pretrained.registry import NETWORKS
from vasa.pretrained.syncnet import CROP_PX, SyncNet, look, sound_windows

TOLERANCE = 2e-5
"""Largest error, in root mean squares of the golden values; float32 against float64 is 4.4e-6."""
SMALL = SyncNetConfig(
    width=0.1, feature_dim=16, embedding_dim=24, image_size=56, view_side=0.4, view_down=0.05
)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "syncnet.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def published() -> SyncNet:
    network = filled(SyncNet(), "SN")
    assert isinstance(network, SyncNet)
    return network


def assert_golden(value: torch.Tensor | np.ndarray, wanted: np.ndarray) -> None:
    got = np.asarray(value, np.float64)
    assert got.shape == wanted.shape
    scale = np.sqrt(np.square(wanted.astype(np.float64)).mean())
    assert np.abs(got - wanted).max() < TOLERANCE * scale


def test_the_towers_give_the_published_numbers(published: SyncNet, golden: dict[str, np.ndarray]) -> None:
    frames = video("sync_lip", 7)
    windows = np.stack([frames[i : i + 5].transpose(3, 0, 1, 2) for i in range(3)]).astype(np.float32)
    cepstra = 4 * noise("sync_mfcc", (3, 1, 13, 20))
    cepstra[:, :, 0] += 15
    with torch.no_grad():
        assert_golden(adapter.run_lip(published, torch.from_numpy(windows)), golden["SN/lip/out"])
        assert_golden(adapter.run_lipfeat(published, torch.from_numpy(windows)), golden["SN/lipfeat/out"])
        assert_golden(adapter.run_aud(published, torch.from_numpy(cepstra)), golden["SN/aud/out"])


def test_the_network_has_the_published_size() -> None:
    with torch.device("meta"):
        state = SyncNet().state_dict()
    assert len(state) == 102
    assert (
        sum(t.numel() for n, t in state.items() if not n.endswith(("tracked", "mean", "var"))) == 13_631_616
    )


def test_cepstra_are_the_published_ones(golden: dict[str, np.ndarray]) -> None:
    silence = speech("sync_wave2", 9000)
    silence[2000:5000] = 0
    for name, wave in (
        ("speech", speech("sync_wave", 32000)),
        ("silence", silence),
        ("short", speech("sync_wave3", 300)),
    ):
        assert_golden(mfcc(wave), golden[f"mfcc/{name}/out"])


def test_sound_between_minus_one_and_one_is_refused_because_only_row_0_would_tell() -> None:
    wave = speech("sync_wave", 16000)
    with pytest.raises(ValueError, match="wanted int16"):
        mfcc(wave / np.float32(32768))
    with pytest.raises(ValueError, match="wanted int16"):
        mfcc(wave[:0])
    assert np.array_equal(to_int16(wave.astype(np.float32) / 32768), wave)


def test_sound_windows_begin_with_video_frames() -> None:
    wave = speech("sync_wave", 20 * 640)
    windows = sound_windows(wave)
    assert windows.shape == (15, 1, 13, 20)  # a window is 5 frames; the last, 16th, lacks its last column
    columns = torch.from_numpy(mfcc(wave)).float()
    assert torch.equal(windows[3, 0], columns[:, 12:32])
    with pytest.raises(ValueError, match="one window"):
        sound_windows(wave[:3000])


def _small() -> SyncNet:
    network = filled(SyncNet(SMALL), "small")
    assert isinstance(network, SyncNet)
    return network


def _crops(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, CROP_PX, CROP_PX, 3), dtype=np.uint8)


def test_batches_change_nothing_and_windows_do_not_know_of_each_other() -> None:
    network, crops, wave = _small(), _crops(14), speech("sync_wave", 14 * 640)
    lips = {size: network.embed_lips(crops, size) for size in (1, 8, 64)}
    sound = {size: network.embed_sound(wave, size) for size in (1, 8, 64)}
    assert lips[1].shape == (10, 24) and sound[1].shape == (9, 24)
    for found in (lips, sound):
        for size in (8, 64):
            assert float((found[size] - found[1]).abs().max()) < 1e-5 * float(found[1].abs().max())
    assert not torch.allclose(lips[1][0], lips[1][1])


def test_the_view_is_the_mouth_in_bgr_and_the_published_view_is_everything() -> None:
    crops = _crops(2)
    whole = look(crops, SyncNetConfig())
    assert torch.equal(whole[0, :, 1], torch.from_numpy(crops[1, :, :, ::-1].copy()).permute(2, 0, 1).float())
    crops[:] = 50
    crops[:, 116:130, 105:119] = 250  # at the middle of the view: 0.05 below the crop's
    seen = look(crops, SMALL)
    assert seen.shape == (1, 3, 2, 56, 56)
    at = (seen[0, 0, 0] > 150).nonzero().float().mean(0)
    assert float((at - 27.5).abs().max()) < 1.0
    with pytest.raises(ValueError, match="wanted uint8"):
        look(crops[:, ::2, ::2], SMALL)
    with pytest.raises(ValueError, match="outside the face crop"):
        SyncNetConfig(view_side=0.9, view_down=0.1)


def test_the_published_file_loads_without_counters_and_nothing_else_may_miss(
    published: SyncNet, tmp_path: Path
) -> None:
    tensors = {k: v for k, v in published.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(tensors, tmp_path / "syncnet_v2.model", _use_new_zipfile_serialization=False)
    network = SyncNet.from_published(tmp_path / "syncnet_v2.model")
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    for name, value in tensors.items():
        assert torch.equal(network.state_dict()[name], value), name
    del tensors["netfclip.3.bias"]
    torch.save(tensors | {"netfclip.9.bias": torch.zeros(1)}, tmp_path / "other.model")
    with pytest.raises(CheckpointError, match=r"1 missing \(netfclip.3.bias\); 1 unexpected"):
        SyncNet.from_published(tmp_path / "other.model")
    with pytest.raises(FileNotFoundError, match="SyncNet"):
        SyncNet.from_published(tmp_path / "nothing.model")


class _Harmful:
    """Would make a folder if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def test_a_file_that_holds_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save(_Harmful(tmp_path / "ran"), tmp_path / "harmful.model")
    torch.save(_small(), tmp_path / "module.model")
    for name in ("harmful", "module"):
        with pytest.raises(CheckpointError, match="holds code, which is never run"):
            SyncNet.from_published(tmp_path / f"{name}.model")
    assert not (tmp_path / "ran").exists()


def test_the_stand_in_is_the_same_class_in_less_than_a_megabyte(tmp_path: Path) -> None:
    sizes = load("train_judges").judges["judge_sync"].syncnet
    network = SyncNet(sizes)
    path = tmp_path / NETWORKS["judge_sync"].file
    save_network(network, path, {})
    assert path.stat().st_size < 1_000_000 and sizes.width == 0.25
    again = SyncNet.from_pretrained(path)
    assert set(again.state_dict()) == set(network.state_dict())
