"""What the matting network learns from: people cut out by their true mask, dressed anew, before other walls.

Procedural people are narrow in the shoulders, wear their hair short or in strands, and stand before
patterns; sitters for portraits do not. So shoulders, hair and backgrounds are drawn here, at random, the mask
following.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.data.judge_pools import FrameSampler, LabelledFrames
from vasa.geometry import pixel_grid
from vasa.nn.warp import sample_image
from vasa.pretrained.crops import apply
from vasa.pretrained.matte import MatteNet
from vasa.training.judge_augment import clutter, degrade, draw_crops, recolour, replace_background
from vasa.training.judge_config import AugmentConfig, JudgeConfig
from vasa.training.runtime import mix

HEAD = 192  # of the mask's 255 (head), 128 (torso) and 0
STRANGERS = 0.35  # share of pictures before another person's picture, upside down
DRESSED = 0.6  # share of pictures with shoulders drawn
HAIRY = 0.4  # share of pictures with hair drawn
GAP = 5  # px; gaps in the mask below this are closed


class MatteStep:
    """Batches and loss of the matting network: images (B, 3, S, S) in [-1, 1], true alpha (B, 1, S, S)."""

    def __init__(self, config: JudgeConfig, frames: FrameSampler) -> None:
        self.config, self.frames = config, frames
        self.network = MatteNet(config.matte)
        self.module = nn.ModuleDict({"network": self.network})

    def batch_at(self, step: int) -> tuple[Tensor, Tensor]:
        """A pure function of (seed, step)."""
        generator = torch.Generator().manual_seed(mix(self.config.seed, step, 1))
        return cut_outs(self.frames.batch(step), self.config.augment, generator)

    def loss(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        """Cross-entropy of every pixel."""
        images, alpha = batch
        return {"total": F.binary_cross_entropy_with_logits(self.network(images), alpha)}


def cut_outs(
    frames: LabelledFrames, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Labelled frames -> augmented images (B, 3, S, S) and alpha (B, 1, S, S). Nothing covers a person."""
    images, alpha = dress(frames, generator)
    if config.crops:  # before the background, which then fills what the crop adds
        images, alpha = _crop(images, alpha, draw_crops(len(images), config, generator))
    behind = images.roll(1, 0).flip(2)
    share = torch.rand((len(images), 1, 1, 1), generator=generator)
    images = torch.where(share < STRANGERS, alpha * images + (1 - alpha) * behind, images)
    images = replace_background(images, alpha, config.background, generator)
    images = degrade(recolour(images, config.colour, generator), config.blur, config.noise, generator)
    mirrored = torch.rand((len(images), 1, 1, 1), generator=generator) < 0.5
    both = torch.cat([images.clamp(-1, 1), alpha], 1)
    both = torch.where(mirrored, both.flip(3), both)
    return both[:, :3], both[:, 3:]


def dress(frames: LabelledFrames, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shoulders of random place, width and cloth instead of the torso of a share of the pictures, and hair of
    random size behind the head of a share: images (B, 3, S, S) and alpha (B, 1, S, S), gaps between strands
    closed.
    """
    images, (count, _, size, _) = frames.images, frames.frames.shape

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((count, 1, 1, 1), generator=generator)

    u, v = pixel_grid(size, size).permute(2, 0, 1)[:, None]  # (1, S, S) each
    below = (v - draw(0.5, 0.95)).clamp(min=0) / draw(0.15, 0.5)
    reach = draw(0.2, 0.4) + draw(0.3, 1.0) * below.clamp(max=1).sqrt()  # half the width at each height
    cloth = ((u - draw(-0.15, 0.15)).abs() < reach) & (below > 0) & (draw(0, 1) < DRESSED)

    low, high = frames.landmarks.amin(1), frames.landmarks.amax(1)  # (B, 2), corners of the face
    across, down = ((high + low) / 2).view(count, 2, 1, 1, 1).unbind(1)
    width = ((high - low)[:, 0] / 2).clamp(min=0.1).view(count, 1, 1, 1)
    length = width * draw(1.2, 2.6)
    hair = ((u - across) / (width * draw(1.0, 1.6))).abs() ** 2.5 + (
        (v - down - 0.4 * (length - width)) / length
    ).abs() ** 2.5 < 1
    hair &= draw(0, 1) < HAIRY

    free = frames.frames[:, 3:] < HEAD  # the head is in front of both
    images = torch.where(cloth & free, clutter(count, size, generator), images)
    images = torch.where(hair & free, _strands(count, size, generator), images)
    alpha = frames.alpha.maximum(((cloth | hair) & free).float())
    return images, -F.max_pool2d(-F.max_pool2d(alpha, GAP, 1, GAP // 2), GAP, 1, GAP // 2)


def _strands(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Hair (B, 3, S, S): upright streaks of one colour, dark more often than light."""
    colour = torch.rand((count, 1, 1, 1), generator=generator) ** 2
    colour = colour + 0.1 * torch.randn((count, 3, 1, 1), generator=generator)
    streaks = torch.randn((count, 1, 4, size // 2), generator=generator)
    streaks = F.interpolate(streaks, (size, size), mode="bilinear", align_corners=False)
    return (colour * (1 + 0.3 * streaks) * 2 - 1).clamp(-1, 1)


def _crop(images: Tensor, alpha: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Both resampled by similarities (B, 2, 3) from crop to image coordinates, the border continued."""
    count, size = len(images), images.shape[-1]
    grid = apply(matrix, pixel_grid(size, size).view(1, -1, 2).expand(count, -1, -1))
    both = sample_image(torch.cat([images, alpha], 1), grid.view(count, size, size, 2))
    return both[:, :3], both[:, 3:]
