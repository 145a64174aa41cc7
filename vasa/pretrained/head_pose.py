"""Head pose from 68 landmarks alone: the mean face, turned, moved and sized until its points are seen there.

For landmark networks that give no pose (fan.py). A weak-perspective fit of 68 points in three dimensions
(Umeyama 1991) needs a second network for the depth; ours fits 15 points that speech hardly moves under the
project's camera (geometry.py), which needs only where they are seen, and gives distance and place in the
units of records.py directly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vasa.geometry import project

FITTED = (0, 16, 36, 39, 42, 45, 27, 28, 29, 30, 31, 33, 35, 48, 54)
MEAN_XYZ = (
    (-0.679, 0.017, 0.055),  # where the jaw's line begins, by the ears
    (0.679, 0.017, 0.055),
    (-0.447, 0.016, 0.597),  # corners of the eyes
    (-0.120, 0.002, 0.707),
    (0.120, 0.002, 0.707),
    (0.447, 0.016, 0.597),
    (0.0, 0.033, 0.779),  # along the nose
    (0.0, -0.105, 0.827),
    (0.0, -0.229, 0.883),
    (0.0, -0.339, 0.971),
    (-0.107, -0.434, 0.753),  # its base
    (0.0, -0.437, 0.758),
    (0.107, -0.434, 0.753),
    (-0.265, -0.587, 0.688),  # corners of the mouth
    (0.265, -0.587, 0.688),
)
"""Where they lie on the mean of the procedural heads, in head units: the head that the crop rule knows."""
SPREAD = (0.06, 0.06, *(0.03,) * 8, 0.025, 0.025, 0.025, 0.08, 0.08)
"""How far people, and speech, move each of them, in head units."""
ITERATIONS = 12
DAMPING = 1e-3
STEP = 1e-6
"""Of the differences that give the slopes."""


def pose_from_landmarks(landmarks: Tensor) -> Tensor:
    """landmarks (T, 68, 2) in image coordinates -> poses (T, 6) in the order of POSE_NAMES.

    Gauss and Newton's steps, a little damped, from a level head where the eyes and the nose are.
    Raises: ValueError for another shape, or points that are not finite.
    """
    if landmarks.shape[1:] != (68, 2) or not bool(landmarks.isfinite().all()):
        raise ValueError(f"landmarks are {tuple(landmarks.shape)}, or not finite; wanted finite (T, 68, 2).")
    seen = landmarks[:, FITTED].double()
    mean, weight = seen.new_tensor(MEAN_XYZ), 1 / seen.new_tensor(SPREAD)[:, None]
    pose = _level(seen, mean)

    def stray(poses: Tensor) -> Tensor:
        return ((project(mean, poses) - seen) * weight).flatten(1)  # (T, 30)

    for _ in range(ITERATIONS):
        error = stray(pose)
        slope = torch.stack(
            [(stray(pose + step) - error) / STEP for step in STEP * torch.eye(6).to(seen)], -1
        )
        normal = slope.transpose(1, 2) @ slope  # (T, 6, 6)
        normal = normal + DAMPING * torch.diag_embed(normal.diagonal(dim1=1, dim2=2))
        move = torch.linalg.solve(normal, (slope.transpose(1, 2) @ error[..., None])[..., 0])
        pose = (pose - move.clamp(-0.5, 0.5)).clamp(-1.5, 1.5)
    return pose.to(landmarks.dtype)


def _level(seen: Tensor, mean: Tensor) -> Tensor:
    """Poses (T, 6) to begin with: no turn but the roll of the eyes' line, size and place of the points."""
    level = project(mean, seen.new_zeros(6))
    middle, spread = seen.mean(1), (seen - seen.mean(1, keepdim=True)).square().sum((1, 2)).sqrt()
    scale = spread.clamp(min=1e-6) / (level - level.mean(0)).square().sum().sqrt()
    across = seen[:, FITTED.index(45)] - seen[:, FITTED.index(36)]
    roll = torch.atan2(-across[:, 1], across[:, 0])
    centre = middle - scale[:, None] * level.mean(0)
    zero = torch.zeros_like(roll)
    return torch.stack([zero, zero, roll, centre[:, 0], -centre[:, 1], scale.log()], 1).clamp(-1.5, 1.5)
