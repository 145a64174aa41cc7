"""Sampling of images and volumes at real coordinates, always in fp32: half precision rounds a grid by a
quarter of a pixel.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LANCZOS_LOBES = 3


def sample_image(image: Tensor, grid: Tensor, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """image (B or 1, C, H, W) at grid (B, h, w, 2) of image coordinates -> (B, C, h, w), in the image's
    dtype.
    """
    image = image.expand(len(grid), -1, -1, -1)
    with torch.autocast(image.device.type, enabled=False):
        out = F.grid_sample(image.float(), grid.float(), mode=mode, padding_mode=padding, align_corners=False)
    return out.to(image.dtype)


def sample_volume(volume: Tensor, grid: Tensor, padding: str = "zeros") -> Tensor:
    """volume (B or 1, C, D, H, W) at grid (B, d, h, w, 3) of (x, y, z) in [-1, 1] -> (B, C, d, h, w), in the
    volume's dtype.
    """
    volume = volume.expand(len(grid), -1, -1, -1, -1)
    with torch.autocast(volume.device.type, enabled=False):
        out = F.grid_sample(volume.float(), grid.float(), padding_mode=padding, align_corners=False)
    return out.to(volume.dtype)


def upsample_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """A flow or any (B, h, w, C) field in image coordinates -> (B, height, width, C), bilinearly."""
    return enlarge(flow.permute(0, 3, 1, 2), height, width).permute(0, 2, 3, 1)


def enlarge(image: Tensor, height: int, width: int) -> Tensor:
    """image (B, C, h, w) -> (B, C, height, width), bilinearly. Planes lie apart in the result: torch's
    kernels for interleaved channels take three times as long on a CPU.
    """
    return F.interpolate(image.contiguous(), (height, width), mode="bilinear", align_corners=False)


def enlarge_twice(image: Tensor) -> Tensor:
    """image (B, C, H, W) -> (B, C, 2 H, 2 W) by a Lanczos kernel of three lobes, the border continued.

    A picture that is to be warped is enlarged first: sampling it bicubically at arbitrary places then keeps
    nearly all of its sharpness, where sampling the picture itself costs up to a quarter of it.
    """
    offsets = torch.arange(1 - LANCZOS_LOBES, LANCZOS_LOBES + 1, dtype=torch.float64)
    for axis in (-2, -1):
        phases = []
        for place in (-0.25, 0.25):  # of the two new pixels within an old one
            near = offsets - (1 if place < 0 else 0)  # the six nearest old pixels
            x = math.pi * (near - place)
            kernel = (x.sin() / x) * ((x / LANCZOS_LOBES).sin() / (x / LANCZOS_LOBES))
            kernel = (kernel / kernel.sum()).to(image)
            first = int(near[0])
            padding = [-first, first + 2 * LANCZOS_LOBES - 1]
            along = (*padding, 0, 0) if axis == -1 else (0, 0, *padding)
            padded = F.pad(image, along, mode="replicate").flatten(0, 1)[:, None]
            weight = kernel.view(1, 1, 1, -1) if axis == -1 else kernel.view(1, 1, -1, 1)
            phases.append(F.conv2d(padded, weight).view_as(image))
        image = torch.stack(phases, axis).flatten(axis - 1, axis)
    return image
