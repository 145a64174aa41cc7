"""Teachers: built where a term has a weight, stood in for offline, and missed in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from vasa.checkpoint import CheckpointError
from vasa.losses.perceptual import FeatureLoss
from vasa.pretrained.config import (
    TEACHERS,
    IdentityNetConfig,
    LandmarkNetConfig,
    RegionNetConfig,
    TeachersConfig,
)
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.files import save_network
from vasa.pretrained.identity import IdentityNet
from vasa.pretrained.landmarks import LandmarkNet
from vasa.pretrained.vgg import ImageNetFeatures
from vasa.training.teachers import build_teachers, network_of

SMALL = [8, 8, 12, 16, 16]
EVERY = dict.fromkeys(TEACHERS, 1.0)
OFFLINE = dict.fromkeys(("perceptual", "face", "gaze", "identity"), "standin")


@pytest.fixture(autouse=True)
def _homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCH_HOME", "VASA_CACHE", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture
def judges(tmp_path: Path) -> Path:
    """A folder of this project's networks, small and untrained."""
    networks = {
        "landmarks": LandmarkNet(LandmarkNetConfig(size=64, widths=SMALL, decoder_width=8)),
        "teacher_identity": IdentityNet(IdentityNetConfig(widths=SMALL[:4], embedding_dim=8)),
        "teacher_expression": ExpressionNet(RegionNetConfig(widths=SMALL[:4], squeeze=4, hidden=8)),
    }
    for name, network in networks.items():
        save_network(network, tmp_path / "judges" / f"{name}.safetensors", {})
    return tmp_path / "judges"


def points(count: int) -> Tensor:
    """Landmarks (B, 68, 2) of a face with open eyes."""
    made = torch.rand(count, 68, 2) - 0.5
    for start, u in ((36, -0.4), (42, 0.2)):
        lids = torch.tensor([[0, 0], [0.07, -0.05], [0.14, -0.05], [0.2, 0], [0.14, 0.05], [0.07, 0.05]])
        made[:, start : start + 6] = lids + torch.tensor([u, -0.1])
    return made


def test_every_term_runs_offline_on_stand_ins(judges: Path) -> None:
    teachers = build_teachers(TeachersConfig(judges=judges, **OFFLINE), EVERY, licence="commercial_ok")
    image, target = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    image.requires_grad_()
    where, mask = points(2), torch.ones(2, 1, 64, 64)
    losses = {
        "perceptual": teachers.perceptual(image, target, mask=mask),
        "face": teachers.face(image, target, where, mask=mask),
        "gaze": teachers.gaze(image, target, where),
        "identity": (teachers.identity(image, where) * teachers.identity(target, where)).sum(),
        "expression": teachers.expression(image, where).abs().mean(),
    }
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, image)
        assert loss.shape == () and gradient.isfinite().all() and gradient.any(), name
    assert teachers.identity(image, where).norm(dim=-1).tolist() == pytest.approx([1, 1], abs=1e-5)
    for name in ("perceptual", "face", "gaze"):
        same = getattr(teachers, name)(*([target] * 2), *([where] if name != "perceptual" else []))
        assert same.item() == 0, name
    modules = [getattr(teachers, name) for name in TEACHERS]
    assert not any(p.requires_grad for m in modules for p in m.parameters())
    assert not any(m.training for module in modules for m in module.modules())


def test_a_stand_in_sees_alike_what_is_brighter(judges: Path) -> None:
    """Maps have unit length at each place: two pictures cannot differ by more than twice that."""
    loss = build_teachers(TeachersConfig(judges=judges, **OFFLINE), {"perceptual": 1}).perceptual
    target = torch.rand(1, 3, 64, 64) * 2 - 1
    assert isinstance(loss, FeatureLoss)
    for features in loss.network(target):
        assert features.square().mean(1).amax() <= 1 + 1e-5
    assert 0 < loss(-target, target).item() < 2


def test_a_term_without_a_weight_needs_nothing(tmp_path: Path) -> None:
    teachers = build_teachers(TeachersConfig(judges=tmp_path), {"perceptual": 0, "face": 0.0})
    assert all(getattr(teachers, name) is None for name in TEACHERS)
    with pytest.raises(ValueError, match="'vgg'.*perceptual, face"):
        build_teachers(TeachersConfig(), {"vgg": 1})


def test_all_that_is_missing_is_told_in_one_sentence_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        build_teachers(TeachersConfig(judges=tmp_path, face="standin"), EVERY)
    text = str(error.value)
    for word in (
        "vgg19-dcbb9e9d.pth",
        "w600k_r50.onnx",
        "allsubjects1.model",
        "teacher_identity.safetensors",
    ):
        assert word in text
    assert "weights.py action=fetch names=[arcface_w600k_r50,rt_gene,vgg19]" in text
    assert "train_judges.py only=[teacher_expression,teacher_identity]" in text
    for name in ("perceptual", "gaze", "identity"):
        assert f"teachers.{name}=standin" in text
    assert "teachers.face=standin" not in text and "\n" not in text


def test_a_licence_is_asked_for_before_anything_is_looked_for(judges: Path) -> None:
    with pytest.raises(ValueError, match=r"forbids vgg_face .*teachers.face=standin"):
        build_teachers(TeachersConfig(judges=judges), {"face": 4}, licence="commercial_ok")


def test_a_file_of_the_published_network_or_of_ours_can_be_named(tmp_path: Path, judges: Path) -> None:
    with torch.device("meta"):
        names = torchvision.models.vgg19().state_dict()
    tensors = {name: torch.tensor(1e-3).expand(tensor.shape) for name, tensor in names.items()}
    torch.save(tensors, tmp_path / "mine.pth")
    config = TeachersConfig(
        perceptual=str(tmp_path / "mine.pth"), identity=str(judges / "teacher_identity.safetensors")
    )
    teachers = build_teachers(config, {"perceptual": 20, "identity": 1})
    assert isinstance(teachers.perceptual, FeatureLoss) and isinstance(teachers.identity, IdentityNet)
    assert isinstance(teachers.perceptual.network, ImageNetFeatures)
    assert network_of(config, "identity") == "teacher_identity"
    (tmp_path / "mine.pth").write_bytes(b"another")
    with pytest.raises(CheckpointError, match="has changed"):
        build_teachers(config, {"perceptual": 20})


@pytest.mark.gpu
def test_teachers_say_on_the_gpu_what_they_say_on_the_cpu(judges: Path) -> None:
    config = TeachersConfig(judges=judges, **OFFLINE)
    image, target = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    where = points(2)
    found = []
    for device in ("cpu", "cuda"):
        teachers = build_teachers(config, EVERY, device)
        i, t, w = (value.to(device) for value in (image, target, where))
        terms = [teachers.perceptual(i, t), teachers.face(i, t, w), teachers.gaze(i, t, w)]
        found.append([*terms, teachers.identity(i, w), teachers.expression(i, w)])
    for on_cpu, on_gpu in zip(*found, strict=True):
        torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=2e-3, rtol=2e-3)  # TF32 in the convolutions
