"""Sampling of images and volumes at real coordinates, always in fp32: half precision rounds a grid by a
quarter of a pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_image(image: Tensor, grid: Tensor, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """image (B, C, H, W) at grid (B, h, w, 2) of image coordinates -> (B, C, h, w), in the image's dtype."""
    with torch.autocast(image.device.type, enabled=False):
        out = F.grid_sample(image.float(), grid.float(), mode=mode, padding_mode=padding, align_corners=False)
    return out.to(image.dtype)


def sample_volume(volume: Tensor, grid: Tensor, padding: str = "zeros") -> Tensor:
    """volume (B, C, D, H, W) at grid (B, d, h, w, 3) of (x, y, z) in [-1, 1] -> (B, C, d, h, w), in the
    volume's dtype.
    """
    with torch.autocast(volume.device.type, enabled=False):
        out = F.grid_sample(volume.float(), grid.float(), padding_mode=padding, align_corners=False)
    return out.to(volume.dtype)


def upsample_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """A flow or any (B, h, w, C) field in image coordinates -> (B, height, width, C), bilinearly."""
    resized = F.interpolate(flow.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=False)
    return resized.permute(0, 2, 3, 1)
