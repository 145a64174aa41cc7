"""What happens to pictures before the motion encoders see them, and nowhere else (MegaPortraits, section 4):
colours and shapes change so that a motion code cannot say who moves.

Every number comes from the record (frame_pairs.FacePairs), so that a sample is augmented alike in every run.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.geometry import pixel_grid
from vasa.nn.warp import sample_image

WARP_CELLS = 8
"""Cells a side of the warped grid, as in the authors' code; its outer nodes stay."""
NUDGE_SCALE = (0.06, 0.06, 0.04, 0.02, 0.02, 0.04)
"""Standard deviation of each pose entry at a crop nudge of 1: about 3 degrees, 2 % of a half width, 4 % of
size.
"""


def to_float(images: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> float (B, 3, H, W) in [-1, 1]: the one place where stage 1 converts."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def colour_jitter(images: Tensor, jitter: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] under gains, offsets (3 each) and log gamma of jitter (B, 7):
    MegaPortraits' severe jitter.
    """
    gain = torch.exp(jitter[:, :3])[..., None, None]
    offset = jitter[:, 3:6, None, None] * 0.5
    gamma = torch.exp(jitter[:, 6:7])[..., None, None]
    unit = ((images + 1) / 2).clamp(1e-4, 1) ** gamma
    return (unit * 2 - 1).mul(gain).add(offset).clamp(-1, 1)


def grid_warp(images: Tensor, noise: Tensor, strength: float) -> Tensor:
    """Images (B, 3, H, W) whose shapes are disturbed: noise (B, 7, 7, 2) standard normal times ``strength``
    of a cell moves the inner nodes of a grid of 8 x 8 cells; between them it is bicubic.

    MegaPortraits says a random thin-plate spline; its authors' code moves such a grid by 0.1 of a cell.
    """
    moved = F.pad(noise.permute(0, 3, 1, 2), (1, 1, 1, 1)) * (strength * 2 / WARP_CELLS)
    size = images.shape[-2:]
    shift = F.interpolate(moved, size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return sample_image(images, pixel_grid(size[0], size[1], images.device) + shift)


def nudged(pose: Tensor, nudge: Tensor, strength: float) -> Tensor:
    """Poses (B, 6) as crops are cut by them in training, off by nudge (B, 6) standard normal times
    ``strength`` of NUDGE_SCALE: a dynamics code must not read how exactly a pose was found.
    """
    return pose + nudge * pose.new_tensor(NUDGE_SCALE) * strength
