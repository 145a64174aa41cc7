"""Angles, rotation and the keypoint transform, LivePortrait equation 2, in its own signs and units.

Keypoints (B, 21, 3) are row vectors: x = scale (x_c R + exp) + t, of which t's z is dropped. Angles are in
degrees; R is the transpose of Rz(roll) Ry(yaw) Rx(pitch), as motion templates store it.
"""

from __future__ import annotations

import torch
from torch import Tensor

BIN_DEGREES, FIRST_BIN = 3.0, -97.5


def headpose_degrees(logits: Tensor) -> Tensor:
    """Bins (B, 66) -> degrees (B,): the expectation of the bin."""
    places = torch.arange(logits.shape[-1], dtype=logits.dtype, device=logits.device)
    return (logits.softmax(-1) * places).sum(-1) * BIN_DEGREES + FIRST_BIN


def rotation(pitch: Tensor, yaw: Tensor, roll: Tensor) -> Tensor:
    """Degrees, each (B,) or (B, 1) -> R (B, 3, 3), to be used from the right."""
    x, y, z = (torch.deg2rad(angle.reshape(-1)) for angle in (pitch, yaw, roll))
    one, zero = torch.ones_like(x), torch.zeros_like(x)

    def matrix(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    about_x = matrix((one, zero, zero), (zero, x.cos(), -x.sin()), (zero, x.sin(), x.cos()))
    about_y = matrix((y.cos(), zero, y.sin()), (zero, one, zero), (-y.sin(), zero, y.cos()))
    about_z = matrix((z.cos(), -z.sin(), zero), (z.sin(), z.cos(), zero), (zero, zero, one))
    return (about_z @ about_y @ about_x).transpose(1, 2)


def transformed(canonical: Tensor, turned: Tensor, expression: Tensor, scale: Tensor, t: Tensor) -> Tensor:
    """Equation 2: canonical keypoints and expression (B, 21, 3), R (B, 3, 3), scale (B, 1), t (B, 3) -> x (B,
    21, 3).
    """
    flat = torch.cat([t[:, :2], torch.zeros_like(t[:, 2:])], -1)
    return scale[..., None] * (canonical @ turned + expression) + flat[:, None]


def angles_of(turned: Tensor) -> Tensor:
    """R (B, 3, 3) -> yaw, pitch, roll (B, 3) in degrees, yaw within 90 of 0."""
    r = turned.transpose(1, 2)
    pitch = torch.atan2(r[:, 2, 1], r[:, 2, 2])
    yaw = torch.asin((-r[:, 2, 0]).clamp(-1, 1))
    roll = torch.atan2(r[:, 1, 0], r[:, 0, 0])
    return torch.rad2deg(torch.stack([yaw, pitch, roll], -1))
