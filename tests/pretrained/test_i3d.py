"""I3D: the published numbers layer by layer, the published file, and clips that do not know of each other."""

from __future__ import annotations

from pathlib import Path

import metrics_adapter as adapter
import numpy as np
import pytest
import torch
from recipe import FOLDER, draw, filled, video
from torch import Tensor, nn

from vasa.checkpoint import CheckpointError
from vasa.pretrained.i3d import I3D, Unit3D
from vasa.pretrained.registry import path_of

TOLERANCE = 3e-5
"""Largest error, in root mean squares of the golden values; float32 against float64 is 5.8e-6."""


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "fvd.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def network() -> I3D:
    filled_one = filled(I3D(), "I3D")
    assert isinstance(filled_one, I3D)
    return filled_one


def clip(length: int) -> Tensor:
    frames = video(f"i3d_clip{length}", length).astype(np.float32)
    return torch.from_numpy(frames.transpose(3, 0, 1, 2)[None] / 127.5 - 1).float()


def assert_golden(golden: dict[str, np.ndarray], name: str, value: Tensor) -> None:
    """Against the whole array, or where that is large against 1024 of its numbers and its mean and size."""
    got = value.double().numpy()
    if name in golden:
        assert got.shape == golden[name].shape
        wanted, found = golden[name].astype(np.float64), got
    else:
        assert got.shape == tuple(golden[f"{name}#shape"])
        index = np.sort(draw("probe", name).choice(got.size, 1024, replace=False))
        wanted, found = golden[f"{name}#probe"].astype(np.float64), got.reshape(-1)[index]
        assert got.mean() == pytest.approx(golden[f"{name}#stats"][0], abs=1e-4)
    assert np.abs(found - wanted).max() < TOLERANCE * np.sqrt(np.square(wanted).mean()), name


@torch.no_grad()
def check(network: I3D, golden: dict[str, np.ndarray], length: int) -> None:
    prefix, seen = f"I3D/{length}", {}
    layers = {name.split("/hook/")[1].split("#")[0] for name in golden if name.startswith(f"{prefix}/hook/")}

    def keep(name: str) -> object:
        return lambda module, inputs, output: seen.__setitem__(name, output)

    hooks = [network.get_submodule(name).register_forward_hook(keep(name)) for name in layers]
    logits = adapter.run_i3d(network, clip(length))
    for hook in hooks:
        hook.remove()
    for name in layers:
        assert_golden(golden, f"{prefix}/hook/{name}", seen[name])
    assert_golden(golden, f"{prefix}/logits", logits)


def test_the_shortest_clip_gives_the_published_numbers_layer_by_layer(network, golden) -> None:
    assert len([name for name in golden if name.startswith("I3D/9/hook")]) >= 4
    check(network, golden, 9)


@pytest.mark.full
@pytest.mark.parametrize("length", [16, 25])
def test_longer_clips_give_the_published_numbers(network, golden, length: int) -> None:
    check(network, golden, length)
    with torch.no_grad():
        assert_golden(golden, f"I3D/{length}/pooled", adapter.run_i3d_pooled(network, clip(length)))


def test_another_epsilon_gives_other_numbers_by_the_same_keys(network) -> None:
    """The trap of the file that does not name it: one layer is enough to see it."""
    unit, other = Unit3D(3, 4), Unit3D(3, 4, eps=1e-3)
    other.load_state_dict(unit.state_dict())
    x = torch.randn(1, 3, 2, 4, 4)
    assert not torch.allclose(unit.train()(x * 0.1), other.train()(x * 0.1), rtol=1e-3)
    assert all(m.eps == 1e-5 for m in network.modules() if isinstance(m, nn.BatchNorm3d))


def test_the_network_has_the_published_size_and_refuses_what_it_cannot_pool() -> None:
    with torch.device("meta"):
        meta = I3D()
    state = meta.state_dict()
    assert len(state) == 344
    counted = sum(t.numel() for name, t in state.items() if not name.endswith(("tracked", "mean", "var")))
    assert counted == 12_697_264
    with pytest.raises(ValueError, match="T at least 9"):
        meta(torch.zeros(1, 3, 8, 224, 224, device="meta"))
    assert meta(torch.zeros(2, 3, 25, 224, 224, device="meta")).shape == (2, 400)


def published_file(path: Path, without: str = "num_batches_tracked") -> Path:
    """A file with the published names and shapes, all numbers equal and stored once."""
    with torch.device("meta"):
        state = I3D().state_dict()
    torch.save({k: torch.tensor(0.01).expand(v.shape) for k, v in state.items() if without not in k}, path)
    return path


def test_the_published_file_loads_strictly_and_is_never_executed(tmp_path: Path) -> None:
    loaded = I3D.from_file(published_file(tmp_path / "i3d.pt"))
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert float(loaded.logits.conv3d.bias[0]) == pytest.approx(0.01)
    with pytest.raises(CheckpointError, match="2 missing .logits.conv3d.weight"):
        I3D.from_file(published_file(tmp_path / "headless.pt", without="logits"))
    with pytest.raises(FileNotFoundError, match="published weights of I3D"):
        I3D.from_file(tmp_path / "none.pt")
    torch.save({"epoch": nn.Linear(1, 1)}, tmp_path / "module.pt")
    with pytest.raises(CheckpointError, match="never run"):
        I3D.from_file(tmp_path / "module.pt")
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "wrapped.pt")
    with pytest.raises(CheckpointError, match="flat state dict"):
        I3D.from_file(tmp_path / "wrapped.pt")


def test_a_missing_file_says_where_to_get_it_and_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="i3d_pretrained_400.pt is missing.*VideoGPT.*put it there"):
        path_of("i3d", tmp_path)
