"""Pixel, gradient, flow and mask losses. They receive tensors, never models; every reduction is in fp32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _weighted_mean(value: Tensor, weight: Tensor) -> Tensor:
    return (value * weight).sum() / weight.expand_as(value).sum().clamp(min=1e-6)


def weighted_l1(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean |predicted - target| of (B, C, H, W) under weight (B, 1, H, W), normalised by the weights' sum."""
    return _weighted_mean((predicted.float() - target.float()).abs(), weight)


def gradient_l1(predicted: Tensor, target: Tensor, weight: Tensor, scales: int = 3) -> Tensor:
    """Weighted L1 of horizontal and vertical differences, summed over ``scales`` halvings: (B, C, H, W),
    weight (B, 1, H, W).
    """
    difference, total = predicted.float() - target.float(), predicted.new_zeros((), dtype=torch.float32)
    for scale in range(scales):
        if scale:
            difference, weight = F.avg_pool2d(difference, 2), F.avg_pool2d(weight, 2)
        total = total + _weighted_mean((difference[..., 1:] - difference[..., :-1]).abs(), weight[..., 1:])
        total = total + _weighted_mean(
            (difference[..., 1:, :] - difference[..., :-1, :]).abs(), weight[..., 1:, :]
        )
    return total


def detail_weight(eye_boxes: Tensor, mouth_box: Tensor, size: int, extra: float) -> Tensor:
    """Weight map (B, 1, S, S): 1, plus ``extra`` inside the boxes eye_boxes (B, 2, 4) and mouth_box (B, 4)
    (u0, v0, u1, v1).
    """
    axis = (torch.arange(size, device=mouth_box.device) + 0.5) / size * 2 - 1
    boxes = torch.cat([eye_boxes, mouth_box[:, None]], 1)[..., None]  # (B, 3, 4, 1)
    across = (axis >= boxes[:, :, 0]) & (axis <= boxes[:, :, 2])
    down = (axis >= boxes[:, :, 1]) & (axis <= boxes[:, :, 3])
    inside = (down[..., None] & across[..., None, :]).any(1, keepdim=True)
    return 1 + extra * inside.float()


def flow_huber(predicted: Tensor, true: Tensor, visible: Tensor, size: int) -> Tensor:
    """Huber (1 px) of flows (B, h, w, 2) in pixels of a ``size`` px image, mean over points that are
    visible (B, h, w).
    """
    error = F.huber_loss(predicted.float() * size / 2, true.float() * size / 2, reduction="none").sum(-1)
    sure = (visible > 0.99).float()
    return (error * sure).sum() / sure.sum().clamp(min=1.0)


def mask_cross_entropy(alpha: Tensor, visible: Tensor, support: Tensor) -> Tensor:
    """Cross-entropy of the synthesis mask alpha against 1 - visible, mean over ``support``; all (B, h, w)
    in [0, 1].
    """
    with torch.autocast(alpha.device.type, enabled=False):
        error = F.binary_cross_entropy(
            alpha.float().clamp(1e-4, 1 - 1e-4), 1 - visible.float(), reduction="none"
        )
    inside = (support > 0.3).float()
    return (error * inside).sum() / inside.sum().clamp(min=1.0)
