"""Rotations, rigid transforms, the camera and sampling grids: one convention, stated once (signs and axes
in records.py).
"""

from __future__ import annotations

import torch
from torch import Tensor

CAMERA_DISTANCE = 6.0
"""Distance from camera to head centre at scale 1, in head units (half head heights)."""
CAMERA_ZOOM = 0.70
"""Image half widths that one head unit spans at the head centre at scale 1: a bare head fills 70 % of the
frame's height.
"""


def rotation_matrix(yaw_pitch_roll: Tensor) -> Tensor:
    """R = Rz(roll) Ry(yaw) Rx(-pitch), from angles (..., 3) in radians to (..., 3, 3); head frame to
    camera frame.
    """
    yaw, pitch, roll = yaw_pitch_roll.unbind(-1)
    cy, sy, cp, sp, cr, sr = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin(), roll.cos(), roll.sin()
    rows = (
        (cr * cy, -cr * sy * sp - sr * cp, cr * sy * cp - sr * sp),
        (sr * cy, cr * cp - sr * sy * sp, cr * sp + sr * sy * cp),
        (-sy, -cy * sp, cy * cp),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def euler_angles(rotation: Tensor) -> Tensor:
    """The inverse of ``rotation_matrix`` for |yaw| < 90 degrees: (..., 3, 3) to (yaw, pitch, roll) in
    radians.
    """
    yaw = torch.asin((-rotation[..., 2, 0]).clamp(-1, 1))
    pitch = torch.atan2(-rotation[..., 2, 1], rotation[..., 2, 2])
    roll = torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return torch.stack([yaw, pitch, roll], -1)


def head_centre(pose: Tensor) -> Tensor:
    """Position (..., 3) of the head's centre in the camera frame (camera at z = CAMERA_DISTANCE, looking
    along -z).
    """
    distance = torch.exp(-pose[..., 5])
    centre_xy = pose[..., 3:5] * (distance / CAMERA_ZOOM)[..., None]
    return torch.cat([centre_xy, (CAMERA_DISTANCE * (1 - distance))[..., None]], -1)


def to_camera(points: Tensor, pose: Tensor) -> Tensor:
    """Head-frame points (..., N, 3) under pose (..., 6) to the camera frame (..., N, 3)."""
    return points @ rotation_matrix(pose[..., :3]).transpose(-1, -2) + head_centre(pose)[..., None, :]


def project_camera(points: Tensor) -> Tensor:
    """Camera-frame points (..., 3) to image coordinates (..., 2): u right, v DOWN, both in half image
    widths.
    """
    depth = (CAMERA_DISTANCE - points[..., 2:3]).clamp(min=1e-3)
    flip = points.new_tensor([1.0, -1.0])
    return points[..., :2] * flip * (CAMERA_ZOOM * CAMERA_DISTANCE) / depth


def project(points: Tensor, pose: Tensor) -> Tensor:
    """Head-frame points (..., N, 3) under pose (..., 6) to image coordinates (..., N, 2)."""
    return project_camera(to_camera(points, pose))


def pixel_grid(height: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """Image coordinates (H, W, 2) of pixel centres: (u, v), as grid_sample(align_corners=False) reads
    them.
    """
    u = (torch.arange(width, device=device) + 0.5) / width * 2 - 1
    v = (torch.arange(height, device=device) + 0.5) / height * 2 - 1
    return torch.stack(torch.meshgrid(u, v, indexing="xy"), -1)


def camera_rays(image_points: Tensor) -> Tensor:
    """Directions (..., 3) in the camera frame of rays through image points (..., 2), scaled so that -z
    advances by 1.
    """
    slope = image_points / (CAMERA_ZOOM * CAMERA_DISTANCE)
    return torch.cat([slope[..., :1], -slope[..., 1:], -torch.ones_like(slope[..., :1])], -1)
