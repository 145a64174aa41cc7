"""What cameras, files and the world do to a picture: tone, blur, noise, JPEG, occluders. Geometry is left
alone."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vasa.data.synthetic import patterns
from vasa.data.synthetic.parameters import seed_generator

SHARES = {"tone": 0.7, "blur": 0.35, "noise": 0.5, "jpeg": 0.4, "occluder": 0.15, "grey": 0.06}
"""Share of the seeds that get each degradation."""


def degrade(
    image: Tensor, seeds: Sequence[int] | Tensor, frame_seeds: Sequence[int] | Tensor | None = None
) -> Tensor:
    """Degrades pictures (B, 3, H, W) in [0, 1]; kind and strength depend on ``seeds``, grain on
    ``frame_seeds`` too."""
    frame_seeds = seeds if frame_seeds is None else frame_seeds
    frames = [_degrade_one(image[i], int(seeds[i]), int(frame_seeds[i])) for i in range(len(image))]
    return torch.stack(frames)


def _degrade_one(image: Tensor, seed: int, frame_seed: int) -> Tensor:
    generator = seed_generator(seed, 60)
    chance = dict(zip(SHARES, torch.rand(len(SHARES), generator=generator).tolist(), strict=True))
    use = {name: chance[name] < share for name, share in SHARES.items()}
    strength = torch.rand(8, generator=generator)
    if use["occluder"]:
        image = _occlude(image, generator)
    if use["tone"]:
        image = _tone(image, strength)
    if use["grey"]:
        image = image.mean(0, keepdim=True).expand(3, -1, -1)
    if use["blur"]:
        image = blurred(image[None], (0.2 + 1.1 * float(strength[5])) * image.shape[-1] / 128)[0]
    if use["noise"]:
        grain = torch.randn(image.shape, generator=seed_generator(seed + 7919 * frame_seed, 61)).to(
            image.device
        )
        image = image + (0.004 + 0.035 * float(strength[6]) ** 2) * grain
    if use["jpeg"]:
        image = _jpeg(image, 25 + int(65 * strength[7]))
    return image.clamp(0, 1)


def _tone(image: Tensor, strength: Tensor) -> Tensor:
    """Gain per colour, gamma, contrast, black level."""
    gain = torch.exp(0.35 * (strength[0:3] - 0.5)).to(image.device)[:, None, None]
    gamma = math.exp(0.7 * (float(strength[3]) - 0.5))
    black = 0.12 * max(float(strength[4]) - 0.4, 0.0)
    toned = (image * gain).clamp(1e-4, 1) ** gamma
    contrast = 0.8 + 0.5 * float(strength[0])
    return ((toned - 0.45) * contrast + 0.45) * (1 - black) + black


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, C, H, W), ``sigma`` in pixels; edges are repeated."""
    radius = max(1, math.ceil(2.5 * sigma))
    x = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-((x / max(sigma, 1e-3)) ** 2) / 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(images.flatten(0, 1)[:, None], (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1)).view_as(images)


def _jpeg(image: Tensor, quality: int) -> Tensor:
    array = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=quality)
    decoded = np.array(Image.open(buffer))
    return torch.from_numpy(decoded).permute(2, 0, 1).to(image) / 255


def _occlude(image: Tensor, generator: torch.Generator) -> Tensor:
    """A patterned bar or disc near the border, as a hand, microphone or caption would be."""
    size = image.shape[-1]
    x, y, radius, angle = torch.rand(4, generator=generator).tolist()
    pattern = patterns.random_pattern(generator, 64, 64)
    pattern = F.interpolate(pattern[None], (size, size), mode="bilinear", align_corners=False)[0].to(
        image.device
    )
    v, u = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    centre = (math.cos(2 * math.pi * x) * 0.95, math.sin(2 * math.pi * x) * 0.95)
    along = (u - centre[0]) * math.cos(3 * angle) + (v - centre[1]) * math.sin(3 * angle)
    across = (v - centre[1]) * math.cos(3 * angle) - (u - centre[0]) * math.sin(3 * angle)
    reach = (along / (0.15 + 0.35 * radius)) ** 2 + (across / (0.10 + 0.22 * y)) ** 2
    cover = ((1 - reach) * 6).clamp(0, 1).to(image.device)
    return image * (1 - cover) + pattern * cover
