"""Perceptual losses: values by hand, where their gradients go, and samples that do not know of each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vasa.losses.perceptual import EyeFeatureLoss, FaceFeatureLoss, FeatureLoss, covered
from vasa.pretrained.gaze import eye_mask, eyes_visible


class Pixels:
    """An extractor whose maps are the picture itself and half of it; its view is the picture."""

    layer_weights: tuple[float, ...] = (1.0, 2.0)
    num_scales, smallest = 3, 2

    def __init__(self) -> None:
        self.sides: list[int] = []

    def __call__(self, view: Tensor) -> list[Tensor]:
        self.sides.append(view.shape[-1])
        return [view, view / 2]

    def view(self, images: Tensor, points: Tensor) -> Tensor:
        return images


def face(left: tuple[float, float] = (-0.4, -0.2), right: tuple[float, float] = (0.2, 0.4)) -> Tensor:
    """Landmarks (1, 68, 2) with open eyes between these u, at v = 0."""
    points = torch.zeros(1, 68, 2)
    for start, (a, b) in ((36, left), (42, right)):
        u = torch.tensor([0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]) * (b - a) + a
        points[0, start : start + 6] = torch.stack([u, torch.tensor([0, -0.05, -0.05, 0, 0.05, 0.05])], -1)
    return points


def test_a_distance_is_the_mean_over_scales_of_weighted_maps() -> None:
    target = torch.zeros(1, 3, 8, 8)
    image = torch.zeros(1, 3, 8, 8)
    image[..., ::2] = 1.0  # every other column: mean 1/2 at each scale
    assert FeatureLoss(Pixels())(image, target).item() == pytest.approx(0.5 * (1 + 2 / 2))
    image = image * 2 - 1  # columns of +1 and -1: nothing is left of them once 2x2 are averaged
    assert FeatureLoss(Pixels())(image, target).item() == pytest.approx((2 + 0 + 0) / 3)


@pytest.mark.parametrize(("size", "sides"), [(16, [16, 8, 4]), (4, [4, 2]), (12, [12, 6]), (3, [3])])
def test_a_small_picture_has_fewer_scales(size: int, sides: list[int]) -> None:
    network = Pixels()
    FeatureLoss(network)(torch.ones(1, 3, size, size), torch.zeros(1, 3, size, size))
    assert network.sides[::2] == sides


def test_a_mask_leaves_only_the_foreground_and_targets_get_no_gradient() -> None:
    image = torch.randn(2, 3, 8, 8, requires_grad=True)
    target = torch.randn(2, 3, 8, 8, requires_grad=True)
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., :4] = 1
    assert torch.equal(covered(image, None), image)
    for loss in (
        FeatureLoss(Pixels())(image, target, mask),
        FaceFeatureLoss(Pixels())(image, target, face(), mask),
    ):
        (gradient,) = torch.autograd.grad(loss, image)
        assert gradient[..., :4].abs().min() > 0 and not gradient[..., 4:].any()
        assert target.grad is None


def test_a_batch_of_two_is_the_mean_of_two_batches_of_one() -> None:
    image, target = torch.randn(2, 2, 3, 32, 32)
    points = torch.cat([face(), face(right=(0.9, 1.1))])
    losses = (
        lambda i, t, p: FeatureLoss(Pixels())(i, t),
        FaceFeatureLoss(Pixels()),
        EyeFeatureLoss(Pixels()),
    )
    for loss in losses:
        alone = [loss(image[k : k + 1], target[k : k + 1], points[k : k + 1]) for k in (0, 1)]
        torch.testing.assert_close(loss(image, target, points), torch.stack(alone).mean())


def test_the_gaze_loss_moves_pixels_of_the_eyes_alone() -> None:
    image = torch.randn(1, 3, 64, 64, requires_grad=True)
    EyeFeatureLoss(Pixels())(image, torch.zeros(1, 3, 64, 64), face()).backward()
    touched = image.grad[0].abs().sum(0) > 0
    assert torch.equal(touched, eye_mask(face(), 64)[0, 0] > 0)
    grid = (torch.arange(64) + 0.5) / 32 - 1
    rows, columns = touched.any(1), touched.any(0)
    assert grid[rows].abs().max() < 0.12  # lids at 0.05, and 0.2 of an eye of 0.2 around them
    assert grid[columns].abs().max() < 0.45 and not touched[:, grid.abs() < 0.15].any()
    assert touched[:, (grid > -0.4) & (grid < -0.2)].any() and touched[:, (grid > 0.2) & (grid < 0.4)].any()


def test_closed_eyes_still_have_pixels() -> None:
    points = face()
    points[..., 1] = 0
    mask = eye_mask(points, 64)
    assert mask.max() > 0.5 and mask.isfinite().all()


@pytest.mark.parametrize(
    ("points", "seen"),
    [(face(), True), (face(right=(0.9, 1.1)), False), (face(right=(0.2, 0.25)), False)],
    ids=["both in sight", "one outside the picture", "one turned away"],
)
def test_eyes_that_cannot_be_seen_cost_nothing(points: Tensor, seen: bool) -> None:
    assert eyes_visible(points).item() is seen
    image = torch.ones(1, 3, 64, 64, requires_grad=True)
    loss = EyeFeatureLoss(Pixels())(image, torch.zeros(1, 3, 64, 64), points)
    loss.backward()
    assert (loss.item() > 0) is seen and bool(image.grad.abs().any()) is seen
