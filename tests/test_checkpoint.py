from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vasa import checkpoint
from vasa.checkpoint import (
    CheckpointError,
    atomic_path,
    content_hash,
    from_plain,
    load_into,
    load_weights,
    plain,
    save_weights,
)


def tensors() -> dict[str, torch.Tensor]:
    weight = torch.randn(3, 4)
    return {
        "weight": weight,
        "transposed": weight.T,  # shares memory and is not contiguous
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 2),
        "half": torch.randn(5).bfloat16(),
        "flag": torch.tensor([True, False]),
    }


def save(path: Path, **changes: object) -> str:
    torch.manual_seed(1)
    arguments = {
        "tensors": tensors(),
        "config": {"dim": 3, "names": ["a", "é"]},
        "meta": {"step": 5},
    } | changes
    return checkpoint.save_weights(path, **arguments)


def test_saved_weights_come_back_exactly(tmp_path: Path) -> None:
    digest = save(tmp_path / "new" / "face.safetensors")
    loaded = load_weights(str(tmp_path / "new" / "face.safetensors"))
    torch.manual_seed(1)
    wanted = tensors()
    assert loaded.tensors.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)
    assert loaded.config == {"dim": 3, "names": ["a", "é"]}
    assert loaded.meta["step"] == 5
    assert loaded.meta["torch"] == torch.__version__
    assert content_hash(loaded.path) == digest


def test_a_parts_hash_ignores_the_rest(tmp_path):
    tensors = {"encoder.weight": torch.ones(2), "decoder.weight": torch.zeros(2)}
    save_weights(tmp_path / "a.safetensors", tensors, {"size": 1}, {})
    save_weights(tmp_path / "b.safetensors", {**tensors, "decoder.weight": torch.ones(2)}, {"size": 2}, {})
    save_weights(tmp_path / "c.safetensors", {**tensors, "encoder.weight": torch.zeros(2)}, {"size": 1}, {})
    a, b, c = (content_hash(tmp_path / f"{name}.safetensors", ("encoder.",)) for name in "abc")
    assert a == b != c
    with pytest.raises(CheckpointError, match="no tensor"):
        content_hash(tmp_path / "a.safetensors", ("head.",))


def test_hash_is_of_content_and_not_of_meta_data_or_order(tmp_path: Path) -> None:
    digest = save(tmp_path / "a.safetensors")
    backwards = dict(reversed(tensors().items()))
    torch.manual_seed(1)
    assert save(tmp_path / "b.safetensors", meta={"step": 6}) == digest
    assert list(backwards) != list(tensors())
    torch.manual_seed(1)
    values = dict(reversed(tensors().items()))
    assert save(tmp_path / "c.safetensors", tensors=values) == digest

    changed = {**values, "count": torch.tensor(8)}
    renamed = {"other" if k == "count" else k: v for k, v in values.items()}
    reshaped = {**values, "weight": values["weight"].reshape(4, 3)}
    retyped = {**values, "flag": values["flag"].to(torch.uint8)}
    for number, other in enumerate((changed, renamed, reshaped, retyped)):
        assert save(tmp_path / f"d{number}.safetensors", tensors=other) != digest
    assert save(tmp_path / "e.safetensors", tensors=values, config={"dim": 4}) != digest


def test_half_precision_is_for_floats_only_and_refuses_overflow(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    values = {
        "weight": torch.randn(64, 64),
        "count": torch.tensor(70_000),
        "already": torch.tensor(float("inf")),
    }
    checkpoint.save_weights(path, values, {}, {}, dtype=torch.float16)
    loaded = load_weights(path).tensors
    assert loaded["weight"].dtype == torch.float16
    assert torch.equal(loaded["weight"], values["weight"].half())
    assert loaded["count"].item() == 70_000
    with pytest.raises(ValueError, match=r"Tensor large .*range of torch\.float16"):
        checkpoint.save_weights(path, {"large": torch.tensor(1e6)}, {}, {}, dtype=torch.float16)
    assert torch.equal(
        load_weights(path).tensors["weight"], loaded["weight"]
    )  # the failed save left the old file


def test_config_that_is_no_plain_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="config of a checkpoint must be plain"):
        save(tmp_path / "a.safetensors", config={"path": tmp_path})
    with pytest.raises(ValueError, match="meta of a checkpoint must be plain"):
        save(tmp_path / "a.safetensors", meta={"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors does not exist"):
        load_weights(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 200, -1])
def test_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "face.safetensors"
    save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"face\.safetensors is not a checkpoint or is damaged"):
        load_weights(path)


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "face.safetensors"
    save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="does not match its own SHA-256"):
        load_weights(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, foreign)
    with pytest.raises(CheckpointError, match="not written by vasa"):
        load_weights(foreign)
    later = tmp_path / "later.safetensors"
    save_file({"a": torch.zeros(2)}, later, {"vasa_format": "99", "kind": "weights"})
    with pytest.raises(CheckpointError, match="has checkpoint format 99, this vasa reads 1"):
        load_weights(later)
    state = tmp_path / "state.safetensors"
    checkpoint.write_file(state, "training state", {"a": torch.zeros(2)}, {}, {})
    with pytest.raises(CheckpointError, match="holds a training state; wanted weights"):
        load_weights(state)
    huge = tmp_path / "huge.safetensors"
    huge.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(CheckpointError, match="is not a checkpoint or is damaged"):
        load_weights(huge)


def test_load_into_lists_everything_that_does_not_fit() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    good = {name: torch.full_like(value, 2.0).half() for name, value in module.state_dict().items()}
    load_into(module, good, "toy")
    assert all(
        torch.equal(p, torch.full_like(p, 2.0)) and p.dtype == torch.float32 for p in module.parameters()
    )
    bad = {**good, "0.weight": torch.zeros(4, 2), "extra": torch.zeros(1)}
    del bad["1.bias"]
    wanted = (
        r"Weights of toy do not fit: 1 missing \(1\.bias\); 1 unexpected \(extra\); "
        r"1 mis-shaped \(0\.weight \(4, 2\), wanted \(3, 2\)\)\."
    )
    with pytest.raises(CheckpointError, match=wanted):
        load_into(module, bad, "toy")
    assert all(
        torch.equal(p, torch.full_like(p, 2.0)) for p in module.parameters()
    )  # nothing was half loaded


def test_atomic_path_leaves_old_or_new_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "clip.mp4"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".mp4"
        temporary.write_text("one")
        assert not path.exists()
    with pytest.raises(RuntimeError, match="halfway"), atomic_path(path) as temporary:
        temporary.write_text("tw")
        raise RuntimeError("halfway")
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["clip.mp4"]


class Kind(Enum):
    A = 1
    B = 2


@dataclass(kw_only=True, slots=True)
class Inner:
    width: int = 3
    path: Path | None = None


@dataclass(kw_only=True, slots=True)
class Outer:
    name: str
    kind: Kind = Kind.A
    inner: Inner = field(default_factory=Inner)
    many: list[Inner] = field(default_factory=list)
    pair: tuple[float, ...] = (1.0, 2.0)
    named: dict[str, Inner] = field(default_factory=dict)


def test_configs_survive_as_plain_data() -> None:
    config = Outer(name="x", kind=Kind.B, inner=Inner(path=Path("a b")), many=[Inner(width=4)], pair=(3.0,))
    config.named["a"] = Inner(width=5)
    data = plain(config)
    assert data == {
        "name": "x",
        "kind": "B",
        "inner": {"width": 3, "path": "a b"},
        "many": [{"width": 4, "path": None}],
        "pair": [3.0],
        "named": {"a": {"width": 5, "path": None}},
    }
    assert from_plain(Outer, data) == config
    assert from_plain(Outer, {"name": "y"}) == Outer(name="y")
    with pytest.raises(CheckpointError, match=r"config\.inner has fields this vasa does not know: wdth"):
        from_plain(Outer, {"name": "y", "inner": {"wdth": 3}})
    with pytest.raises(CheckpointError, match=r"config is incomplete.*name"):
        from_plain(Outer, {})
