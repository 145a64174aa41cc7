"""Mattes: MODNet is fed as its authors feed it, ours fits into its place and is worth what its file says."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from vasa.checkpoint import load_weights
from vasa.data.config import PoolConfig
from vasa.data.judge_pools import render_labelled
from vasa.pretrained.config import MatteConfig, MatteNetConfig
from vasa.pretrained.files import save_network
from vasa.pretrained.matte import MatteNet, ModNet, build_matte

SHIPPED = MatteConfig().weights
needs_matte = pytest.mark.skipif(
    not SHIPPED.is_file(), reason="the trained matte is not here: run scripts/train_judges.py"
)


def modnet(path: Path, channels: int = 3, says: str = "light") -> Path:
    """A file of MODNet's signature. says: "light" gives back how light a pixel is, "size" the height of what
    it is fed over 1024, everywhere.
    """
    mean = helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1], keepdims=1)
    number = [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("half", 0.5), ("most", 1024.0))]
    if says == "light":
        nodes = [
            helper.make_node("Mul", ["mean", "half"], ["halved"]),
            helper.make_node("Add", ["halved", "half"], ["output"]),
        ]
    else:
        number.append(helper.make_tensor("two", TensorProto.INT64, [], [2]))
        nodes = [
            helper.make_node("Shape", ["input"], ["shape"]),
            helper.make_node("Gather", ["shape", "two"], ["height"]),
            helper.make_node("Cast", ["height"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["real", "most"], ["share"]),
            helper.make_node("Sub", ["mean", "mean"], ["zero"]),
            helper.make_node("Add", ["zero", "share"], ["output"]),
        ]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, channels, "height", "width"])
    made = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, "height", "width"])
    graph = helper.make_graph([mean, *nodes], "net", [given], [made], number)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_modnet_sees_pixels_from_minus_one_to_one_and_gives_mattes_of_the_frames_size(tmp_path) -> None:
    images = torch.full((3, 3, 48, 64), -1.0)
    images[1:, :, :, 32:] = 1.0
    alpha = build_matte(MatteConfig(modnet=modnet(tmp_path / "m.onnx"))).alpha(images)
    assert alpha.shape == (3, 1, 48, 64)
    assert float(alpha[0].max()) == 0.0
    assert float(alpha[1:, :, :, :28].max()) < 0.01 and float(alpha[1:, :, :, 36:].min()) > 0.99


@pytest.mark.parametrize(("size", "fed"), [((64, 64), 512), ((720, 480), 768), ((333, 512), 512)])
def test_modnet_is_fed_512_pixels_on_the_shorter_side_in_multiples_of_32(tmp_path, size, fed) -> None:
    alpha = ModNet(modnet(tmp_path / "m.onnx", says="size")).alpha(torch.zeros(1, 3, *size))
    assert torch.allclose(alpha, torch.full((1, 1, *size), fed / 1024))


def test_a_missing_file_says_what_to_get_and_another_network_is_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone.onnx.*get modnet_photographic.*github.com/ZHKKKe"):
        build_matte(MatteConfig(modnet=tmp_path / "gone.onnx"))
    with pytest.raises(ValueError, match=r"wanted one \(1, 3, H, W\)"):
        ModNet(modnet(tmp_path / "grey.onnx", channels=1))


def test_our_network_mattes_frames_of_any_size_alone_or_together(tmp_path) -> None:
    torch.manual_seed(0)
    save_network(MatteNet(MatteNetConfig(size=32, widths=[8, 12])), tmp_path / "matte.safetensors", {})
    matte = build_matte(MatteConfig(weights=tmp_path / "matte.safetensors"))
    images = torch.rand(3, 3, 50, 50) * 2 - 1
    alpha = matte.alpha(images)
    assert alpha.shape == (3, 1, 50, 50) and 0 <= float(alpha.min()) < float(alpha.max()) <= 1
    assert torch.allclose(alpha[1:2], matte.alpha(images[1:2]), atol=1e-5)
    assert not torch.allclose(alpha[1], matte.alpha(images[1:2].roll(20, -1))[0].roll(-20, -1), atol=1e-3)
    with pytest.raises(ValueError, match="that 4 divides"):
        MatteNetConfig(size=34, widths=[8, 12])


def test_fitted_to_a_portrait_our_network_knows_its_colours() -> None:
    """A red person before a blue wall, of whom a hesitant network sees too little on one side."""
    torch.manual_seed(0)
    network = MatteNet(MatteNetConfig(size=32, widths=[8, 12]))
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    network.forward = lambda images: (  # type: ignore[method-assign]
        torch.where((columns - 14).abs() < 8, 1.5, -1.5).expand(len(images), 1, 32, 32)
    )
    person = (columns - 16).abs() < 10
    picture = torch.where(person, torch.tensor([0.8, -0.8, -0.8]).view(3, 1, 1), -1.0)[None].clone()
    picture[0, 2][~person] = 0.8
    fitted = network.fitted(picture)
    assert float((network.alpha(picture)[0, 0] > 0.5).float()[person].mean()) < 0.9
    for frame in (picture, picture.roll(3, 3)):
        red = frame[0, 0] > 0
        alpha = fitted.alpha(frame)[0, 0]
        assert float(alpha[red].min()) > 0.7
        assert float(alpha[~red].max()) < 0.5  # where the network is wrong, colours make up for it


@needs_matte
def test_the_shipped_matte_is_small_and_as_good_on_other_people_as_its_file_says() -> None:
    assert SHIPPED.stat().st_size <= 18_000
    frames = torch.from_numpy(
        render_labelled(PoolConfig(first_seed=8_600_000, num_identities=8), range(8))[0]
    )
    found = MatteNet.from_pretrained(SHIPPED)(frames[:, :3].float() / 127.5 - 1) > 0
    person = frames[:, 3:] > 0
    share = ((found & person).flatten(1).sum(1) / (found | person).flatten(1).sum(1)).mean()
    stated = load_weights(SHIPPED).meta["scores"]["validation_portrait/iou"]
    assert float(share) > stated - 0.05, f"{float(share):.3f}, the file says {stated:.3f}"
