"""Head pose against what was asked for, and how steady a pose track is. Radians in, degrees out."""

from __future__ import annotations

import math

import torch
from torch import Tensor

DEGREES = 180 / math.pi


def axis_errors(measured: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute error of yaw, pitch, roll in degrees, (3,), from poses (B, 6) or angles (B, 3)."""
    return (measured[:, :3] - wanted[:, :3]).abs().mean(0) * DEGREES


def error_beyond_judge(generated: Tensor, true: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Worst axis of (error of generated frames - the judge's own error on true renders), and that judge's
    error on that axis; degrees. All poses (B, 6).
    """
    own = axis_errors(true, wanted)
    beyond = axis_errors(generated, wanted) - own
    worst = int(beyond.argmax())
    return float(beyond[worst]), float(own[worst])


def jitter(track: Tensor) -> Tensor:
    """Mean size of the second difference of a track's angles (T, >= 3), degrees per frame squared, ()."""
    if len(track) < 3:
        raise ValueError(f"jitter of {len(track)} frames was asked for; wanted at least 3.")
    second = track[2:, :3] - 2 * track[1:-1, :3] + track[:-2, :3]
    return second.norm(dim=-1).mean() * DEGREES


def jitter_ratio(generated: list[Tensor], true: list[Tensor]) -> float:
    """Mean jitter of generated tracks over that of true ones; each (T, >= 3)."""
    mean_true = torch.stack([jitter(t) for t in true]).mean()
    return float(torch.stack([jitter(t) for t in generated]).mean() / mean_true.clamp(min=1e-9))
