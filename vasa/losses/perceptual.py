"""Perceptual losses: weighted L1 of what a frozen network sees in two pictures, over an image pyramid.

L_IN, L_face and L_gaze of MegaPortraits (section 3.2; details as in its authors' code). The published
networks and our stand-ins differ in the extractor that is handed in, and in nothing else. Targets get no
gradient, and neither do landmarks.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.pretrained.gaze import eye_mask, eyes_visible


class Extractor(Protocol):
    """A frozen network whose maps are compared.

    layer_weights: of its maps. num_scales: of the pyramid. smallest: side in px below which it has no scale.
    """

    layer_weights: tuple[float, ...]
    num_scales: int
    smallest: int

    def __call__(self, view: Tensor, /) -> list[Tensor]:
        """Views (B, C, H, W) in [-1, 1] -> maps (B, c, h, w)."""


class PartExtractor(Extractor, Protocol):
    """One that sees a part of the picture."""

    def view(self, images: Tensor, points: Tensor, /) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1], landmarks (B, 68, 2) -> views (B, C, H, W)."""


class FeatureLoss(nn.Module):
    """L_IN: (image, target, mask=None) -> scalar; images (B, 3, S, S) in [-1, 1], mask (B, 1, S, S)."""

    def __init__(self, network: Extractor) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return feature_distance(self.network, covered(image, mask), covered(target, mask)).mean()


class FaceFeatureLoss(nn.Module):
    """L_face: (image, target, points, mask=None) -> scalar; points (B, 68, 2) cut the face out of both."""

    def __init__(self, network: PartExtractor) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, target: Tensor, points: Tensor, mask: Tensor | None = None) -> Tensor:
        seen, wanted = (self.network.view(covered(i, mask), points) for i in (image, target))
        return feature_distance(self.network, seen, wanted).mean()


class EyeFeatureLoss(nn.Module):
    """L_gaze: (image, target, points) -> scalar. Gradients reach the pixels of the eyes alone.

    A sample whose eyes cannot be seen counts as 0. The authors' code takes the mean over the others; then the
    same samples would weigh differently in other batches and on other numbers of processes.
    """

    def __init__(self, network: PartExtractor) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, target: Tensor, points: Tensor) -> Tensor:
        mask = eye_mask(points, image.shape[-1]).to(image.dtype)
        image = image * mask + image.detach() * (1 - mask)
        seen, wanted = (self.network.view(i, points) for i in (image, target))
        return (feature_distance(self.network, seen, wanted) * eyes_visible(points)).mean()


def covered(images: Tensor, mask: Tensor | None) -> Tensor:
    """Images in [-1, 1] times a mask, as MegaPortraits' losses see the foreground; 0, grey, elsewhere."""
    return images if mask is None else images * mask.to(images.dtype)


def feature_distance(network: Extractor, view: Tensor, target: Tensor) -> Tensor:
    """Mean over scales of the sum over maps of weight * mean |map - map of the target|: (B,), in fp32.

    Each scale halves the one before by averaging 2x2 pixels, which is what the authors' bilinear resizing
    does. A picture too small for all scales has fewer.
    """
    distances = []
    for scale in range(network.num_scales):
        if scale:
            if min(view.shape[-2:]) < 2 * network.smallest or any(side % 4 for side in view.shape[-2:]):
                break
            view, target = F.avg_pool2d(view, 2), F.avg_pool2d(target, 2)
        with torch.no_grad():
            wanted = network(target)
        pairs = zip(network.layer_weights, network(view), wanted, strict=True)
        layers = [w * (a.float() - b.float()).abs().flatten(1).mean(1) for w, a, b in pairs]
        distances.append(torch.stack(layers).sum(0))
    return torch.stack(distances).mean(0)
