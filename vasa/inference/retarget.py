"""From generated motion to the motion of this portrait: its own pose and framing stay, the generated movement
is added.

Motion vectors are absolute: taken as they are, every portrait would jump to the framing and the mean bearing
of the training heads. Works on chunks, in order, holding nothing but the pose that the first chunk had on
average.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vasa.face.space import FaceSpace
from vasa.inference.config import POSES
from vasa.records import CONTROL_INDEX

RESTING_CONTROLS = ("brow_raise", "frown", "smile")
"""What a face at rest has of its own. Mouth, lids and gaze are not among them: speech, blinks and conditions
move those.
"""


class Retargeter:
    """Turns chunks of generated raw motion into raw motion of one portrait.

    relative: rotation and translation are the portrait's, plus the generated ones less their mean over the
    first chunk, so that the video starts near the picture and head motion keeps its size. Scale is the
    portrait's times the generated one: distance 1 is the portrait's own framing. absolute: the generated
    pose.

    The expression is the generated one in both. keep_expression (0 to 1) adds that share of what the
    portrait's own resting brows and smile are beyond neutral: all of a smile that shows teeth would pull
    every vowel wide.
    """

    def __init__(self, face: FaceSpace, portrait_motion: Tensor, pose: str, keep_expression: float) -> None:
        """portrait_motion: (1, E), what the face space says of the portrait itself."""
        if pose not in POSES:
            raise ValueError(f"pose is {pose!r}; wanted one of {', '.join(POSES)}.")
        if not 0 <= keep_expression <= 1:
            raise ValueError(f"keep_expression is {keep_expression}; wanted 0 to 1.")
        self._face, self._portrait, self._relative = face, portrait_motion, pose == "relative"
        kept = torch.zeros_like(face.controls(portrait_motion))
        for name in RESTING_CONTROLS:
            kept[:, CONTROL_INDEX[name]] = keep_expression
        self._resting = kept * face.controls(portrait_motion)  # (1, 11)
        self._first_mean: Tensor | None = None

    def __call__(self, motion: Tensor) -> Tensor:
        """Generated raw motion (t, E) of the next frames -> raw motion of the portrait (t, E)."""
        motion, layout = motion.clone(), self._face.layout
        if self._relative:
            if self._first_mean is None:
                self._first_mean = motion[:, layout.pose].mean(0, keepdim=True)
                self._first_mean[:, layout.scale] = 0.0
            motion[:, layout.pose] += self._portrait[:, layout.pose] - self._first_mean
        if bool(self._resting.any()):
            motion = self._face.set_controls(motion, self._face.controls(motion) + self._resting)
        return motion
