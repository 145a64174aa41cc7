"""VGG networks as the perceptual losses read them: ImageNet's VGG19 and the VGG Face descriptor.

They know of pixels and weights; what is compared, and how, is in losses/perceptual.py. Published files are
read by their own names, strictly; what lies behind the last map that is read is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from vasa.pretrained.crops import head_crop
from vasa.pretrained.third_party import load_published

WIDTHS = (64, 128, 256, 512, 512)
VGG16, VGG19 = (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
"""Convolutions of the five stages (Simonyan and Zisserman 2015, table 1, columns D and E)."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of pixels in [0, 1], as torchvision's networks take them."""
TO_THE_LAST = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""Weights of the five maps in L_face and L_gaze (the authors' code of MegaPortraits)."""


class VggFeatures(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] -> the maps behind the ReLU of the first convolution of each stage.

    Map i is at 1 / 2^i of the input, whose sides are at least 16. ``features`` has torchvision's indices.
    """

    def __init__(self, depths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taps: list[int] = []
        channels = 3
        for stage, (width, depth) in enumerate(zip(WIDTHS, (*depths[:-1], 1), strict=True)):
            if stage:
                layers.append(nn.MaxPool2d(2))
            self.taps.append(len(layers) + 1)
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = ((images.float() + 1) / 2 - self.mean) / self.std
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                maps.append(x)
        return maps


class ImageNetFeatures(VggFeatures):
    """VGG19 for L_IN (MegaPortraits, section 3.2): equal weights, four scales (the authors' code)."""

    layer_weights: tuple[float, ...] = (0.2,) * 5
    num_scales, smallest = 4, 16

    def __init__(self) -> None:
        super().__init__(VGG19)

    @classmethod
    def from_published(cls, path: str | Path) -> Self:
        """torchvision's ``vgg19-dcbb9e9d.pth``, frozen.

        Raises: FileNotFoundError; CheckpointError listing missing and unexpected keys.
        """
        behind = ("features.30.", "features.32.", "features.34.", "classifier.")
        return load_published(cls(), path, "VGG19", {}, behind)


class FaceFeatures(VggFeatures):
    """The VGG Face descriptor (Parkhi et al. 2015) for L_face: the upright head at 224 px, two scales.

    It takes pixels normalised as ImageNet's, as the authors of MegaPortraits feed it. The file itself asks
    for 0 to 255 less its mean colour: then its maps would be about fifty times as large, and the weight 4 of
    L_face another. The authors' crop is theirs; ours is the one that the stand-in sees.
    """

    layer_weights: tuple[float, ...] = TO_THE_LAST
    num_scales, smallest = 2, 16
    size = 224  # px, of its training

    def __init__(self) -> None:
        super().__init__(VGG16)

    def view(self, images: Tensor, points: Tensor) -> Tensor:
        """What it sees of images (B, 3, S, S) with landmarks (B, 68, 2): (B, 3, 224, 224)."""
        return head_crop(images, points, self.size)

    @classmethod
    def from_published(cls, path: str | Path) -> Self:
        """Albanie's ``vgg_face_dag.pth``, frozen. Raises: as of ImageNetFeatures."""
        network = cls()
        convolutions = [n for n, layer in enumerate(network.features) if isinstance(layer, nn.Conv2d)]
        published = [f"conv{s}_{n}" for s, depth in enumerate(VGG16, 1) for n in range(1, depth + 1)]
        read = zip(published[: len(convolutions)], convolutions, strict=True)
        names = {f"{a}.{kind}": f"features.{b}.{kind}" for a, b in read for kind in ("weight", "bias")}
        behind = ("conv5_2.", "conv5_3.", "fc6.", "fc7.", "fc8.")
        return load_published(network, path, "VGG Face", names, behind)
