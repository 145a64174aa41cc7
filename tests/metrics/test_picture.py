"""Frames against true frames: hand-made values, the foreground, and what cannot be compared."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from vasa.checkpoint import CheckpointError
from vasa.data.config import PoolConfig
from vasa.data.judge_pools import render_labelled
from vasa.metrics.fid import InceptionFeatures
from vasa.metrics.picture import LandmarkBoxes, PictureMetric, ssim_map, to_images
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.pretrained.inception import FidInception
from vasa.pretrained.perceptual import load_lpips
from vasa.pretrained.registry import JUDGE_DIR, NETWORKS, path_of

LEFT = torch.tensor([-1.0, -1.0, 0.0, 1.0])


class LeftHalf:
    """A FaceFinder that knows where the face is."""

    identity: dict[str, Any] = {"boxes": "left"}

    def __call__(self, frames: np.ndarray) -> Tensor:
        return LEFT.expand(len(frames), -1)


def pictures(length: int = 20, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (length, height, width, 3), dtype=np.uint8)


def clip(made: np.ndarray, true: np.ndarray | None) -> EvalClip:
    return EvalClip(name="a", frames=made, reference=true)


def test_equal_videos_have_the_best_values() -> None:
    found = PictureMetric(LeftHalf()).measure(clip(pictures(), pictures()))
    assert found == pytest.approx({"psnr": 80, "ssim": 1, "psnr_face": 80, "ssim_face": 1}, abs=1e-5)


def test_a_known_error_has_its_psnr_and_the_foreground_is_scored_alone() -> None:
    true = np.full((3, 48, 64, 3), 100, np.uint8)
    made = true.copy()
    made[:, :, 40:] += 16  # right of the face by more than the 5 px that a window reaches
    found = PictureMetric(LeftHalf()).measure(clip(made, true))
    assert found["psnr"] == pytest.approx(10 * math.log10(255**2 / (16**2 * 24 / 64)), abs=1e-4)
    assert found["psnr_face"] == pytest.approx(80)
    assert found["ssim_face"] == pytest.approx(1, abs=1e-4) and found["ssim"] < 0.99


def test_ssim_of_flat_pictures_is_its_luminance_term() -> None:
    """Wang et al. 2004, eq. 6 with C1 = (0.01 L)^2; range 2."""
    a, b = torch.full((1, 3, 32, 32), 0.2), torch.full((1, 3, 32, 32), 0.6)
    c1 = (0.01 * 2) ** 2
    wanted = (2 * 0.2 * 0.6 + c1) / (0.2**2 + 0.6**2 + c1)
    assert float(ssim_map(a, b).mean()) == pytest.approx(wanted, abs=1e-4)  # variances of float32 are 1e-8


def test_ssim_equals_its_formula_at_a_pixel() -> None:
    """Wang et al. 2004, eq. 13, by hand at one pixel: an 11x11 Gaussian window of 1.5 px."""
    a, b = to_images(pictures(1, 32, 32, 1)), to_images(pictures(1, 32, 32, 2))
    t = torch.arange(11, dtype=torch.float64) - 5
    g = (-(t**2) / (2 * 1.5**2)).exp()
    window = torch.outer(g, g) / g.sum() ** 2
    x, y = (image[0, 0, 10:21, 10:21].double() for image in (a, b))
    mx, my = (window * x).sum(), (window * y).sum()
    vx, vy = (window * x**2).sum() - mx**2, (window * y**2).sum() - my**2
    vxy = (window * x * y).sum() - mx * my
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    wanted = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert float(ssim_map(a, b)[0, 0, 15, 15]) == pytest.approx(float(wanted), abs=1e-5)


def test_means_over_frames_do_not_depend_on_chunks() -> None:
    true, made = pictures(20), pictures(20, seed=1)
    whole = PictureMetric().measure(clip(made, true))
    each = [PictureMetric().measure(clip(made[t : t + 1], true[t : t + 1])) for t in range(20)]
    for column in ("psnr", "ssim"):
        assert whole[column] == pytest.approx(np.mean([one[column] for one in each]), rel=1e-6)


def test_another_size_is_brought_to_the_reference() -> None:
    true = np.full((2, 64, 64, 3), 50, np.uint8)
    assert PictureMetric().measure(clip(true[:, ::2, ::2], true))["psnr"] == pytest.approx(80)


def test_what_cannot_be_compared_is_unscored() -> None:
    metric = PictureMetric()
    with pytest.raises(Unscored, match="no reference"):
        metric.measure(clip(pictures(), None))
    with pytest.raises(Unscored, match="20 frames against 10"):
        metric.measure(clip(pictures(), pictures(10)))
    with pytest.raises(Unscored, match="proportions"):
        metric.measure(clip(pictures(), pictures(20, 64, 64)))
    with pytest.raises(Unscored, match="16x16"):
        metric.measure(clip(pictures(2, 16, 16), pictures(2, 16, 16)))
    found = metric.measure(clip(pictures(20), pictures(22)))  # what a codec may add at the end
    assert found["psnr"] == pytest.approx(80)


def made_up(path: Path, state: dict[str, Tensor], without: str = "-") -> Path:
    """A file of the true names and shapes: small random kernels, every other number equal."""
    generator = torch.Generator().manual_seed(0)

    def value(name: str, tensor: Tensor) -> Tensor:
        if tensor.ndim == 4:
            one = torch.randn(tensor.shape[1:], generator=generator) / tensor[0].numel() ** 0.5
            return one.expand(tensor.shape)
        number = 1.0 if name.endswith(("running_var", "bn.weight")) else 0.0
        return torch.tensor(number, dtype=tensor.dtype).expand(tensor.shape)

    torch.save({name: value(name, t) for name, t in state.items() if without not in name}, path)
    return path


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.device("meta"):
        state = torchvision.models.alexnet().state_dict()
    return made_up(tmp_path_factory.mktemp("lpips") / "alexnet.pth", state)


def test_lpips_loads_from_the_true_shapes_and_measures_whole_and_face(alexnet: Path) -> None:
    true, made = pictures(3, 64, 64), pictures(3, 64, 64)
    made[:, :, 40:] = 0
    metric = PictureMetric(LeftHalf(), alexnet)
    found = metric.measure(clip(made, true))
    assert found["lpips"] > 2 * found["lpips_face"] >= 0
    assert metric.measure(clip(true, true))["lpips"] == pytest.approx(0, abs=1e-7)
    assert "AlexNet" in metric.label and "no LPIPS" in PictureMetric().label
    assert metric.identity["lpips"] != PictureMetric().identity["lpips"]


def test_lpips_is_that_of_the_package(alexnet: Path) -> None:
    """Unit features, squared differences, weighted by the package's own positive weights."""
    network = load_lpips(alexnet)
    assert not any(p.requires_grad for p in network.parameters()) and not network.training
    a, b = to_images(pictures(2, 64, 64)), to_images(pictures(2, 64, 64, seed=1))
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x, y = ((image - shift.view(3, 1, 1)) / scale.view(3, 1, 1) for image in (a, b))
    total = torch.zeros(2)
    for index, (fx, fy) in enumerate(zip(network.net(x), network.net(y), strict=True)):
        difference = [f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10) for f in (fx, fy)]
        weight = getattr(network, f"lin{index}").model[1].weight
        assert float(weight.min()) >= 0
        total += ((difference[0] - difference[1]) ** 2 * weight.view(1, -1, 1, 1)).sum(1).mean((1, 2))
    assert torch.allclose(network(a, b).view(-1), total, atol=1e-5)


def test_wrong_or_missing_files_are_refused(alexnet: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="AlexNet"):
        PictureMetric(alexnet=tmp_path / "alexnet.pth")
    state = torch.load(alexnet, weights_only=True)
    cut = made_up(tmp_path / "cut.pth", state, without="features.8")
    with pytest.raises(CheckpointError, match=r"2 missing \(net.slice4.8.weight"):
        load_lpips(cut)
    with pytest.raises(FileNotFoundError, match="weights-inception.*torch-fidelity.*put it there"):
        path_of("inception_fid", tmp_path)


@pytest.mark.full
def test_fids_inception_loads_by_the_published_names(tmp_path: Path) -> None:
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        state = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False)
    path = made_up(tmp_path / "inception.pth", state.state_dict())
    frames = pictures(3, 40, 56)
    found = InceptionFeatures(path, batch_size=2)(frames)
    assert found.shape == (3, 2048)
    assert torch.allclose(found, InceptionFeatures(path, batch_size=3)(frames), atol=1e-5)
    with pytest.raises(ValueError, match="wants uint8"):
        FidInception(path)(torch.zeros(1, 3, 8, 8))
    cut = made_up(tmp_path / "cut.pth", state.state_dict(), without="Mixed_7c")
    with pytest.raises(CheckpointError, match="Mixed_7c"):
        FidInception(cut)


@pytest.mark.skipif(
    not (JUDGE_DIR / NETWORKS["landmarks"].file).exists(), reason="the trained aligner is not here"
)
def test_the_face_is_found_in_frames_that_are_not_square_and_noise_has_none() -> None:
    pixels, labels = render_labelled(
        PoolConfig(first_seed=8_600_000, num_identities=2, frames_each=2), range(4)
    )
    square = pixels[:, :3].transpose(0, 2, 3, 1)
    wide = np.pad(square, ((0, 0), (0, 0), (32, 32), (0, 0)))
    finder = LandmarkBoxes.from_pretrained(JUDGE_DIR)
    boxes, in_wide = finder(square), finder(wide)
    points = torch.from_numpy(labels["landmarks"])
    inside = (points >= boxes[:, None, :2] - 0.1) & (points <= boxes[:, None, 2:] + 0.1)
    assert float(inside.float().mean()) > 0.95
    scale = torch.tensor([128 / 192, 1, 128 / 192, 1])
    assert torch.allclose(in_wide, boxes * scale, atol=0.02)
    with pytest.raises(Unscored, match="no face"):
        finder(pictures(3, 128, 128))
