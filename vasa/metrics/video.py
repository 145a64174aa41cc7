"""Frames against frames:

PSNR and sharpness, in the whole frame or in a box. Frames are (B, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.geometry import pixel_grid

RANGE = 2.0
"""Width of the range of pixel values, [-1, 1]."""
LUMA = (0.299, 0.587, 0.114)


def box_mask(boxes: Tensor, height: int, width: int) -> Tensor:
    """1 in the pixels whose centres lie in boxes (B, 4) = (u0, v0, u1, v1), else 0: (B, 1, H, W)."""
    grid = pixel_grid(height, width, boxes.device)[None]  # (1, H, W, 2)
    low, high = boxes[:, None, None, :2], boxes[:, None, None, 2:]
    return ((grid >= low) & (grid <= high)).all(-1).float()[:, None]


def psnr(generated: Tensor, reference: Tensor, boxes: Tensor | None = None) -> Tensor:
    """Peak signal to noise ratio of each frame in dB, (B,), at most 80.

    Boxes: (B, 4), measured inside only.
    """
    _same(generated, reference)
    error = (generated - reference).float().square().mean(1, keepdim=True)
    mask = torch.ones_like(error) if boxes is None else box_mask(boxes, *error.shape[-2:])
    mse = (error * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)
    return 10 * torch.log10(RANGE**2 / mse.clamp(min=RANGE**2 * 1e-8))


def sharpness(frames: Tensor, boxes: Tensor | None = None) -> Tensor:
    """Variance of the Laplacian of the luma, (B,):

    Falls when an image is blurred. boxes: (B, 4), measured inside only.
    """
    luma = (frames.float() * frames.new_tensor(LUMA, dtype=torch.float32).view(1, 3, 1, 1)).sum(
        1, keepdim=True
    )
    kernel = luma.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    laplacian = F.conv2d(F.pad(luma, (1, 1, 1, 1), mode="replicate"), kernel)
    mask = torch.ones_like(laplacian) if boxes is None else box_mask(boxes, *laplacian.shape[-2:])
    total = mask.sum((1, 2, 3)).clamp(min=1)
    mean = (laplacian * mask).sum((1, 2, 3)) / total
    return ((laplacian - mean.view(-1, 1, 1, 1)).square() * mask).sum((1, 2, 3)) / total


def _same(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(
            f"frames {tuple(a.shape)} and {tuple(b.shape)} are compared; wanted equal (B, 3, H, W)."
        )
