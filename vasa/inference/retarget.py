"""From motion as it comes to that of this portrait: its own pose and framing stay, the movement is added.

Motion vectors are absolute: taken as they are, every portrait would jump to the framing and the bearing of
some training head, or of a driver. (Its resting expression is the face space's own matter: see ``encode``.)
Works on chunks, in order, holding nothing but what the motion was at its beginning.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vasa.face.space import FaceSpace
from vasa.inference.config import POSES
from vasa.records import CONTROL_HIGH, CONTROL_INDEX, CONTROL_LOW, NUM_CONTROLS

FREE, MOST = 0.12, 0.3
"""Of a driver's change of place (in half picture widths) and of size (log scale): so much is followed as it
is, more only in part, up to the second: beyond that a head would leave the picture."""
DRIVER_REST = {"jaw": 0.15, "blink_left": 0.25, "blink_right": 0.25, "lip_press": 0.15, "lip_pucker": 0.15}
"""Most of a driver's first expression that can be its face at rest: a mouth that begins open is not."""


def _is_relative(pose: str) -> bool:
    if pose not in POSES:
        raise ValueError(f"pose is {pose!r}; wanted one of {', '.join(POSES)}.")
    return pose == "relative"


class Retargeter:
    """Turns chunks of raw motion into raw motion of one portrait.

    pose "relative": rotation, translation and scale are the portrait's, moved by the given ones less a
    reference, so that the video starts at the picture and head motion keeps its size; ``distance`` then moves
    the head away from the picture's own framing. "absolute": the given pose.
    """

    def __init__(
        self,
        face: FaceSpace,
        portrait_motion: Tensor,
        pose: str = "relative",
        distance: float = 1.0,
        reference: Tensor | None = None,
    ) -> None:
        """portrait_motion: (1, E), what the face space says of the portrait itself. reference (1, E): None is
        the mean of the first chunk.
        """
        self._layout, self._relative = face.layout, _is_relative(pose)
        self._pose = portrait_motion[:, face.layout.pose].clone()
        self._pose[:, face.layout.scale] -= math.log(distance)
        self._reference = None if reference is None else reference[:, face.layout.pose].to(self._pose)

    def __call__(self, motion: Tensor, first: int = 0) -> Tensor:
        """Raw motion (t, E) of the next frames -> the portrait's (t, E): an ``Edit``."""
        motion, pose = motion.clone(), self._layout.pose
        if self._relative:
            if self._reference is None:
                self._reference = motion[:, pose].mean(0, keepdim=True)
            motion[:, pose] += self._pose - self._reference
        return motion


class DriverRetargeter:
    """As ``Retargeter``, for the motion of a driver's video: what counts is its change since its first frame.

    keep_expression: share of the driver's first expression that is its face at rest and is taken away, as
    that share of the portrait's own stays; at 0 the driver's expression is shown as it is.
    """

    def __init__(
        self,
        face: FaceSpace,
        portrait_motion: Tensor,
        pose: str = "relative",
        distance: float = 1.0,
        keep_expression: float = 1.0,
    ) -> None:
        self._face, self._relative, self._keep = face, _is_relative(pose), keep_expression
        self._own, self._distance = portrait_motion, distance
        self._first: tuple[Tensor, Tensor] | None = None

    def __call__(self, motion: Tensor, first: int = 0) -> Tensor:
        """Raw motion (t, E) of the next frames -> the portrait's (t, E): an ``Edit``."""
        layout = self._face.layout
        if self._first is None:
            self._first = motion[:1, layout.pose].clone(), self._rest(self._face.controls(motion[:1]))
        motion, (pose, rest) = motion.clone(), self._first
        if self._relative:
            change = motion[:, layout.pose] - pose
            moved = slice(layout.translation.start, layout.scale.stop)
            change[:, moved] = _in_reach(change[:, moved])
            motion[:, layout.pose] = self._own[:, layout.pose] + change
            motion[:, layout.scale] -= math.log(self._distance)
        if self._keep > 0:
            controls = self._face.controls(motion) - self._keep * rest
            low, high = controls.new_tensor(CONTROL_LOW), controls.new_tensor(CONTROL_HIGH)
            motion = self._face.set_controls(motion, controls.clamp(low, high))
        return motion

    @staticmethod
    def _rest(controls: Tensor) -> Tensor:
        limits = controls.new_full((NUM_CONTROLS,), torch.inf)
        for name, limit in DRIVER_REST.items():
            limits[CONTROL_INDEX[name]] = limit
        return torch.minimum(controls, limits)


def _in_reach(change: Tensor) -> Tensor:
    """A change as it is up to FREE, bent smoothly towards MOST beyond."""
    size = change.abs()
    bent = FREE + (MOST - FREE) * ((size - FREE).clamp(min=0) / (MOST - FREE)).tanh()
    return torch.where(size <= FREE, change, change.sign() * bent)
