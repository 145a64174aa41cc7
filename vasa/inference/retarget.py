"""From generated motion to the motion of this portrait: its own pose, framing and resting face stay, the
movement is added.

Motion vectors are absolute: taken as they are, every portrait would jump to the framing and the bearing of
some training head, and its lips and lids to that head's proportions. Works on chunks, in order, holding
nothing but the pose that the first chunk had on average.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vasa.face.space import FaceSpace
from vasa.inference.config import POSES
from vasa.records import CONTROL_HIGH, CONTROL_LOW, CONTROL_NAMES

RESTING = {
    "gaze_yaw": 0.3,
    "gaze_pitch": 0.3,
    "blink_left": 0.8,
    "blink_right": 0.8,
    "brow_raise": 0.5,
    "frown": 0.5,
    "jaw": 0.25,
    "lip_width": 0.5,
    "lip_pucker": 0.25,
    "lip_press": 0.25,
    "smile": 0.5,
}
"""How much of what a face space reads in a portrait is taken for how that face looks at rest, per control.

A face space reads a narrow mouth as narrowed lips, a moustache as an open jaw and heavy lids as half a blink.
Up to these values the reading is the face; what is beyond is an expression, and gives way: an open mouth is
closed to a quarter before it speaks.
"""
_CLOSING = [
    CONTROL_NAMES.index(name) for name in ("blink_left", "blink_right", "jaw", "lip_pucker", "lip_press")
]
"""Controls with an end: from where the portrait rests the movement takes what is left of the way there."""


class Retargeter:
    """Turns chunks of generated raw motion into raw motion of one portrait.

    pose "relative": rotation, translation and scale are the portrait's, moved by the generated ones less
    their mean over the first chunk, so that the video starts at the picture and head motion keeps its size;
    ``distance`` then moves the head away from the picture's own framing. "absolute": the generated pose.

    keep_expression: how much of the resting face (see RESTING) the generated expression is added to; at 0 it
    replaces the portrait's own.
    """

    def __init__(
        self,
        face: FaceSpace,
        portrait_motion: Tensor,
        pose: str = "relative",
        keep_expression: float = 1.0,
        distance: float = 1.0,
    ) -> None:
        """portrait_motion: (1, E), what the face space says of the portrait itself."""
        if pose not in POSES:
            raise ValueError(f"pose is {pose!r}; wanted one of {', '.join(POSES)}.")
        if not 0 <= keep_expression <= 1:
            raise ValueError(f"keep_expression is {keep_expression:g}; wanted 0 to 1.")
        self._face, self._relative = face, pose == "relative"
        self._pose = portrait_motion[:, face.layout.pose].clone()
        self._pose[:, face.layout.scale] -= math.log(distance)
        reach = portrait_motion.new_tensor([RESTING[name] for name in CONTROL_NAMES])
        low, high = (portrait_motion.new_tensor(bound) for bound in (CONTROL_LOW, CONTROL_HIGH))
        rest = face.controls(portrait_motion).clamp(low, high)
        self._rest = keep_expression * torch.maximum(torch.minimum(rest, reach), -reach)  # (1, 11)
        self._first_mean: Tensor | None = None

    def __call__(self, motion: Tensor) -> Tensor:
        """Generated raw motion (t, E) of the next frames -> raw motion of the portrait (t, E)."""
        motion, layout = motion.clone(), self._face.layout
        if self._relative:
            if self._first_mean is None:
                self._first_mean = motion[:, layout.pose].mean(0, keepdim=True)
            motion[:, layout.pose] += self._pose - self._first_mean
        if bool(self._rest.any()):
            motion = self._face.set_controls(motion, self._added(self._face.controls(motion)))
        return motion

    def _added(self, controls: Tensor) -> Tensor:
        """Generated controls (t, 11) on top of the resting face."""
        moved = controls + self._rest
        closing, rest = controls[:, _CLOSING], self._rest[:, _CLOSING]
        moved[:, _CLOSING] = torch.where(closing > 0, rest + closing * (1 - rest), rest + closing)
        return moved
