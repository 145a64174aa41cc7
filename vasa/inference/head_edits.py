"""The head's pose as asked: held still, moved more or less, turned by a constant or a track; and kept near
the portrait's own, from which a long talk would wander off.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vasa.inference.asked import Asked
from vasa.inference.slow import SlowPart
from vasa.records import MotionLayout

NECK = (0.10, 0.10, -0.12)
"""What a full turn in yaw moves the head's centre to the right, in pitch up, in roll to the right, in half
image widths: heads turn about the neck. As in vasa.data.synthetic.dynamics.head_pose.
"""
WANDERS_S = 2.0
"""Over which time a pose counts as a bearing and not as a movement."""
TURNS = ("head_yaw", "head_pitch", "head_roll")


class HeadEdit:
    """An ``Edit`` of the pose.

    home: pose (1, 6) about which it moves; None: the mean of the first chunk. range_rad: how far the slow
    part of each angle may be from home; up to half of it nothing changes, from there on it is held back ever
    more. head_motion and the turns come from ``asked``.
    """

    def __init__(self, layout: MotionLayout, asked: Asked, home: Tensor | None, range_rad: float) -> None:
        self._layout, self._asked, self._home, self._range = layout, asked, home, range_rad
        self._slow = SlowPart(WANDERS_S)

    def __call__(self, motion: Tensor, first: int) -> Tensor:
        motion, layout, frames = motion.clone(), self._layout, (first, first + len(motion))
        if self._home is None:
            self._home = motion[:, layout.pose].mean(0, keepdim=True)
        pose, home = motion[:, layout.pose], self._home.to(motion)
        beyond = self._beyond(self._slow((pose - home)[:, layout.rotation]))
        pose = turned(pose, -beyond, layout)
        share = self._asked.at("head_motion", *frames)[:, None].to(motion)
        pose = pose + (pose - home) * (share - 1)
        turns = torch.stack([self._asked.at(name, *frames) for name in TURNS], 1).to(motion)
        motion[:, layout.pose] = turned(pose, turns, layout)
        return motion

    def _beyond(self, bearing: Tensor) -> Tensor:
        """How much of a bearing (t, 3) is too much: 0 up to half the range, all but a rest beyond it."""
        half = self._range / 2
        over = (bearing.abs() - half).clamp(min=0)
        return bearing.sign() * (over - half * torch.tanh(over / half))


def turned(pose: Tensor, turns: Tensor, layout: MotionLayout) -> Tensor:
    """Poses (t, 6) with angles (t, 3) added, turned about the neck."""
    before = pose[:, layout.rotation]
    moved = before + turns
    yaw, pitch, roll = (moved.sin() - before.sin()).unbind(1)
    pose = pose.clone()
    pose[:, layout.rotation] = moved
    pose[:, layout.translation] += torch.stack([NECK[0] * yaw + NECK[2] * roll, NECK[1] * pitch], 1)
    return pose
