"""The plate: a portrait's background without the person, and frames of that person before it.

MegaPortraits (Drobyshev et al. 2022) never generates a background. In training its losses see the foreground
of prediction and target only, so what lies behind teaches nothing; predicting it too cost identity and
quality in the paper's ablation. At test the person is matted with MODNet and Graphonomy, the hole is
inpainted with LaMa, once, and each frame is composed over that plate.

Here it is the same, at inference. We differ: one matte does both jobs (pretrained/matte.py), and the hole is
filled by the smoothest continuation of what is around it, which suits the blurred and plain backgrounds of
portraits and no others: a bookshelf is continued as fog. Knows of images and mattes only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.pretrained.matte import Matte

DILATION = 0.04
"""How far beyond its matte a person is taken to reach, in widths of the picture: hair and shadow that the
matte missed would otherwise be smeared over the plate.
"""
BACKGROUND_ALPHA = 0.1
"""Alpha below which a pixel is only background."""
SMOOTHINGS = 4
"""Steps of diffusion on each level of the pyramid; they take away the blocks that enlarging leaves."""


@dataclass(slots=True)
class Backdrop:
    """What is behind a portrait's frames. plate: (1, 3, H, W) in [-1, 1]. matte: fitted to the portrait."""

    plate: Tensor
    matte: Matte

    @classmethod
    def of(cls, picture: Tensor, matte: Matte) -> Self:
        """The backdrop of a portrait (1, 3, H, W)."""
        fitted = matte.fitted(picture)
        return cls(background_plate(picture, fitted.alpha(picture)), fitted)

    def behind(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) of the portrait, laid over the plate by their mattes."""
        return torch.lerp(self.plate.expand_as(frames), frames, self.matte.alpha(frames))


def background_plate(picture: Tensor, alpha: Tensor) -> Tensor:
    """picture (B, 3, H, W), alpha (B, 1, H, W) in [0, 1] -> the picture without the person, (B, 3, H, W).

    Away from the person it is the picture itself. Where nothing but the person is seen nothing is known, and
    the picture stays as it is.
    """
    reach = round(DILATION * picture.shape[-1])
    known = (F.max_pool2d(alpha, 2 * reach + 1, 1, reach) < BACKGROUND_ALPHA).to(picture.dtype)
    seen = known.flatten(1).any(1).view(-1, 1, 1, 1)
    return torch.where(seen, fill(picture, known), picture)


def fill(image: Tensor, known: Tensor) -> Tensor:
    """Continues image (B, C, H, W) from where known (B, 1, H, W) is 1 into where it is 0.

    Push and pull (Gortler et al. 1996, "The Lumigraph", section 3.4): holes are filled in a copy of half the
    size, which is enlarged into them; ours then diffuses each level, towards Laplace's equation.
    """
    if min(image.shape[-2:]) == 1 or bool(known.all()):
        total = known.sum((2, 3), keepdim=True).clamp(min=1)
        return known * image + (1 - known) * (known * image).sum((2, 3), keepdim=True) / total
    share = F.avg_pool2d(known, 2, ceil_mode=True)
    half = F.avg_pool2d(known * image, 2, ceil_mode=True) / share.clamp(min=1e-6)
    guess = fill(half, (share > 0).to(known.dtype))
    guess = F.interpolate(guess, image.shape[-2:], mode="bilinear", align_corners=False)
    for _ in range(SMOOTHINGS):
        guess = F.avg_pool2d(F.pad(known * image + (1 - known) * guess, (1, 1, 1, 1), "replicate"), 3, 1)
    return known * image + (1 - known) * guess
