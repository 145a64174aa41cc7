"""How a head moves: VASA-1's Delta P and what goes with it. Nothing here judges whether it suits the speech.

Angles are measured in frames, by the same estimator for every method and for real video, because methods hold
different poses inside. It trembles while a mouth speaks, by as much as calm heads move in a frame (0.1 to 0.3
degrees), so Delta P is taken of the track smoothed over five frames; what remains of the noise is in every
number and is not subtracted: read a row beside the real one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vasa.geometry import rotation_matrix
from vasa.metrics.pose import DEGREES, jitter
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.metrics.seen import Seen
from vasa.records import POSE_NAMES, VIDEO_FPS

ANGLES = POSE_NAMES[:3]
SMOOTHED_FRAMES = 5


def delta_p(pose: Tensor) -> float:
    """VASA-1's Delta P of a track (T, 3 or more; yaw, pitch, roll first, radians), in degrees a frame.

    "The average of the pose angle differences between adjacent frames" (section 4.1): the mean of |a[t+1] -
    a[t]| over frames and the three angles. The paper does not say how the angles are joined, nor its unit;
    degrees fit its values (0.2 to 0.5).
    """
    return float((pose[1:, :3] - pose[:-1, :3]).abs().mean() * DEGREES)


def smoothed(pose: Tensor) -> Tensor:
    """Moving average of a track (T, C) over SMOOTHED_FRAMES; beyond the ends it goes on as it came."""
    half = min(SMOOTHED_FRAMES // 2, len(pose) - 1)
    before, after = pose[1 : half + 1].flip(0), pose[-half - 1 : -1].flip(0)
    padded = torch.cat([2 * pose[:1] - before, pose, 2 * pose[-1:] - after])
    return padded.unfold(0, 2 * half + 1, 1).mean(-1)


def head_speed(pose: Tensor) -> float:
    """Mean angle by which a head turns about any axis, degrees a second, of a track (T, 6)."""
    change = (rotation_matrix(pose[1:, :3]) - rotation_matrix(pose[:-1, :3])).flatten(1).norm(dim=1)
    turned = 2 * (change / 8**0.5).clamp(max=1).asin()  # |R - R'| = sqrt(8) sin(angle / 2); exact near 0
    return float(turned.mean() * DEGREES * VIDEO_FPS)


class PoseMetric:
    """Delta P, amplitude of each angle (its standard deviation over the clip), speed and jitter.

    Columns: delta_p (degrees a frame, of ``smoothed`` angles), delta_p_raw (of the angles as measured),
    yaw_std, pitch_std, roll_std (degrees), head_speed (degrees a second), head_jitter (degrees a frame
    squared: metrics.pose.jitter).
    """

    name = "pose"

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    @property
    def identity(self) -> dict[str, Any]:
        return {"metric": "pose", "version": 2, **self._seen.identity}

    @property
    def label(self) -> str:
        return "head angles in degrees, by our pose judge; its own noise is in all rows alike"

    def measure(self, clip: EvalClip) -> dict[str, float]:
        """Numbers by column. Raises: Unscored for fewer than three frames or no face."""
        if len(clip.frames) < 3:
            raise Unscored("fewer than 3 frames")
        pose = self._seen(clip.frames).pose
        spread = pose[:, :3].std(0, correction=0) * DEGREES
        return {
            "delta_p": delta_p(smoothed(pose)),
            "delta_p_raw": delta_p(pose),
            **{f"{name}_std": float(value) for name, value in zip(ANGLES, spread, strict=True)},
            "head_speed": head_speed(pose),
            "head_jitter": float(jitter(pose)),
        }
