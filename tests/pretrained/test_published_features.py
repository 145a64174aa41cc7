"""VGG19, VGG Face and RT-GENE: the published files by their own names, with made-up numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from vasa.checkpoint import CheckpointError
from vasa.geometry import pixel_grid
from vasa.losses.perceptual import EyeFeatureLoss, FaceFeatureLoss, FeatureLoss
from vasa.pretrained.gaze import GazeFeatures, eye_patch
from vasa.pretrained.vgg import IMAGENET_MEAN, IMAGENET_STD, FaceFeatures, ImageNetFeatures

Shapes = dict[str, torch.Size]


def shapes(build: Callable[[], nn.Module]) -> Shapes:
    """Of a network of torchvision, which allocates nothing."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in build().state_dict().items()}


def made_up(names: Shapes, salt: float = 0.0) -> dict[str, Tensor]:
    """Each tensor has one number, stored once, another in each: means over the filter, a little off."""
    tensors = {}
    for index, (name, shape) in enumerate(names.items()):
        value = (1 + 0.01 * index + salt) / shape[1:].numel() if name.endswith("weight") else 0.001 * index
        tensors[name] = torch.tensor(value).expand(shape)
    return tensors


def reference(tensors: dict[str, Tensor], build: Callable[[], nn.Module], taps: list[int]) -> list[Tensor]:
    """Maps of torchvision's own network with these tensors, of `pictures()`."""
    with torch.device("meta"):
        features = build().features
    features.load_state_dict(
        {k.removeprefix("features."): v.clone() for k, v in tensors.items()}, assign=True
    )
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    x, maps = ((pictures() + 1) / 2 - mean) / std, []
    for index, layer in enumerate(features[: taps[-1] + 1]):
        x = layer(x).clone()  # torchvision's ReLUs work in place
        if index in taps:
            maps.append(x)
    return maps


def pictures() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def assert_frozen(network: nn.Module) -> None:
    assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_vgg19_loads_torchvisions_file_and_computes_its_maps(tmp_path: Path) -> None:
    names = shapes(torchvision.models.vgg19)
    tensors = made_up(names)
    torch.save(tensors, tmp_path / "vgg19.pth")
    network = ImageNetFeatures.from_published(tmp_path / "vgg19.pth")
    assert_frozen(network)
    assert network.taps == [1, 6, 11, 20, 29]  # relu1_1 to relu5_1
    convolutions = {k: v for k, v in tensors.items() if k.startswith("features.")}
    wanted = reference(convolutions, torchvision.models.vgg19, network.taps)
    with torch.no_grad():
        for found, map_ in zip(network(pictures()), wanted, strict=True):
            torch.testing.assert_close(found, map_)
    image = pictures().requires_grad_()
    FeatureLoss(network)(image, pictures().flip(0)).backward()
    assert image.grad.isfinite().all() and image.grad.any()


@pytest.mark.parametrize("fault", ["missing", "unexpected", "shape", "text"])
def test_another_file_is_refused(tmp_path: Path, fault: str) -> None:
    tensors = made_up(shapes(torchvision.models.vgg19))
    if fault == "missing":
        del tensors["features.28.bias"]
    elif fault == "unexpected":
        tensors["features.28.scale"] = torch.zeros(1)
    elif fault == "shape":
        tensors["features.0.weight"] = torch.zeros(64, 1, 3, 3)
    torch.save({"state_dict": tensors} if fault == "text" else tensors, tmp_path / "vgg19.pth")
    with pytest.raises(CheckpointError, match="VGG19"):
        ImageNetFeatures.from_published(tmp_path / "vgg19.pth")


def test_vgg_face_loads_by_caffes_names(tmp_path: Path) -> None:
    tensors = made_up(shapes(torchvision.models.vgg16))
    numbers = {f"conv{s}_{n}" for s, depth in enumerate((2, 2, 3, 3, 3), 1) for n in range(1, depth + 1)}
    convolutions = [k for k in tensors if k.startswith("features.")]
    theirs = {
        f"{name}.{kind}": tensors[convolutions[2 * place + (kind == "bias")]]
        for place, name in enumerate(sorted(numbers))
        for kind in ("weight", "bias")
    }
    heads = {f"fc{n}.{kind}": torch.zeros(1) for n in (6, 7, 8) for kind in ("weight", "bias")}
    torch.save(theirs | heads, tmp_path / "vgg_face_dag.pth")
    network = FaceFeatures.from_published(tmp_path / "vgg_face_dag.pth")
    assert_frozen(network)
    assert network.taps == [1, 6, 11, 18, 25]
    wanted = reference({k: tensors[k] for k in convolutions}, torchvision.models.vgg16, network.taps)
    with torch.no_grad():
        for found, map_ in zip(network(pictures()), wanted, strict=True):
            torch.testing.assert_close(found, map_)
    assert network.view(pictures(), torch.rand(2, 68, 2) - 0.5).shape == (2, 3, 224, 224)
    network.size = 32  # the test's, so that it is brief
    image = pictures().requires_grad_()
    FaceFeatureLoss(network)(image, pictures().flip(0), torch.rand(2, 68, 2) - 0.5).backward()
    assert image.grad.isfinite().all() and image.grad.any()


def eyes(size: int = 64) -> Tensor:
    """Landmarks (1, 68, 2) of two open eyes on a line that falls to the right."""
    points = torch.zeros(1, 68, 2)
    for start, (u, v) in ((36, (-0.4, -0.1)), (42, (0.2, 0.1))):
        along = torch.tensor(
            [[0, 0], [0.07, -0.03], [0.14, -0.02], [0.2, 0.2 / 3], [0.13, 0.1], [0.05, 0.06]]
        )
        points[0, start : start + 6] = along + torch.tensor([u, v])
    return points


def test_rt_gene_loads_its_towers_each_for_the_persons_own_side(tmp_path: Path) -> None:
    vgg16 = {k: s for k, s in shapes(torchvision.models.vgg16).items() if k.startswith("features.")}
    tensors = {
        f"{side}_{name}": value
        for side, salt in (("left", 0.0), ("right", 0.1))
        for name, value in made_up(vgg16, salt).items()
    }
    heads = {f"{name}.0.weight": torch.zeros(1) for name in ("xl", "xr", "concat", "fc")}
    torch.save(tensors | heads, tmp_path / "gaze.model")
    network = GazeFeatures.from_published(tmp_path / "gaze.model")
    assert_frozen(network)
    assert torch.equal(network.right.features[0].weight, tensors["right_features.0.weight"])
    view = torch.randn(1, 6, 36, 60)
    with torch.no_grad():
        found = network(view)
        for tower, own in ((network.left, view[:, 3:]), (network.right, view[:, :3])):
            half = slice(0, 64) if tower is network.left else slice(64, 128)
            assert torch.equal(found[0][:, half], tower(own)[0])  # the viewer's right eye is the left one
    assert [m.shape[1:] for m in found][-1] == (1024, 2, 3)
    image = torch.rand(1, 3, 64, 64).requires_grad_()
    EyeFeatureLoss(network)(image, torch.rand(1, 3, 64, 64), eyes()).backward()
    assert image.grad.isfinite().all() and image.grad.any()


def test_an_eyes_picture_is_twice_as_wide_as_the_eye_and_upright() -> None:
    where = pixel_grid(256, 256).permute(2, 0, 1)[None]  # a picture that says where it is
    points = eyes()
    patch = eye_patch(where, points, slice(36, 42))[0]
    middle = (points[0, 36] + points[0, 39]) / 2
    torch.testing.assert_close(patch[:, 17:19, 29:31].mean((1, 2)), middle, atol=2e-3, rtol=0)
    across = patch[:, 17:19].mean(1)
    step = across[:, -1] - across[:, 0]
    width = (points[0, 39] - points[0, 36]).norm() * 2 * 59 / 60
    assert step.norm().item() == pytest.approx(width.item(), abs=2e-3)
    line = points[0, 42:48].mean(0) - points[0, 36:42].mean(0)
    torch.testing.assert_close(step / step.norm(), line / line.norm(), atol=5e-3, rtol=0)
    down = (patch[:, -1] - patch[:, 0]).mean(1)
    assert down.norm() / step.norm() == pytest.approx(35 / 59, abs=0.01) and down[1] > 0
