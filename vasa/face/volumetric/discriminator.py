"""MegaPortraits' discriminator: patches judged at several scales, spectral norm (section 3.2).

Sizes as in its authors' later code: two scales, four convolutions of stride 2, 2, 2 and 1, 64 to 512
channels, instance norm and leaky ReLU, then one score a patch.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vasa.face.config import DiscriminatorConfig

SLOPE = 0.2
"""Of the leaky ReLU below zero."""


class PatchDiscriminator(nn.Module):
    """images (B, 3, S, S) in [-1, 1] -> scores (B, 1, S/8, S/8), features of every layer."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        inputs = [3, *config.widths[:-1]]
        strides = [2] * (len(config.widths) - 1) + [1]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 3, stride, 1))
            for a, b, stride in zip(inputs, config.widths, strides, strict=True)
        )
        self.score = spectral_norm(nn.Conv2d(config.widths[-1], 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = images, []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index:  # the first keeps brightness and contrast
                x = F.instance_norm(x)
            x = F.leaky_relu(x, SLOPE)
            features.append(x)
        return self.score(x), features


class MultiScaleDiscriminator(nn.Module):
    """images (B, 3, S, S) -> for each scale (scores (B, 1, h, w), features), the full resolution first."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(config) for _ in range(config.num_scales))

    def forward(self, images: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        found = []
        for index, judge in enumerate(self.scales):
            if index:
                images = F.avg_pool2d(images, 2)
            found.append(judge(images))
        return found
