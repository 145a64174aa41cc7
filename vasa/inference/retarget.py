"""From generated motion to the motion of this portrait: its own pose and framing stay, the movement is added.

Motion vectors are absolute: taken as they are, every portrait would jump to the framing and the bearing of
some training head. (Its resting expression is the face space's own matter: see ``encode``.) Works on chunks,
in order, holding nothing but the pose that the first chunk had on average.
"""

from __future__ import annotations

import math

from torch import Tensor

from vasa.face.space import FaceSpace
from vasa.inference.config import POSES


class Retargeter:
    """Turns chunks of generated raw motion into raw motion of one portrait.

    pose "relative": rotation, translation and scale are the portrait's, moved by the generated ones less
    their mean over the first chunk, so that the video starts at the picture and head motion keeps its size;
    ``distance`` then moves the head away from the picture's own framing. "absolute": the generated pose.
    """

    def __init__(
        self,
        face: FaceSpace,
        portrait_motion: Tensor,
        pose: str = "relative",
        distance: float = 1.0,
    ) -> None:
        """portrait_motion: (1, E), what the face space says of the portrait itself."""
        if pose not in POSES:
            raise ValueError(f"pose is {pose!r}; wanted one of {', '.join(POSES)}.")
        self._face, self._relative = face, pose == "relative"
        self._pose = portrait_motion[:, face.layout.pose].clone()
        self._pose[:, face.layout.scale] -= math.log(distance)
        self._first_mean: Tensor | None = None

    def __call__(self, motion: Tensor) -> Tensor:
        """Generated raw motion (t, E) of the next frames -> raw motion of the portrait (t, E)."""
        motion, layout = motion.clone(), self._face.layout
        if self._relative:
            if self._first_mean is None:
                self._first_mean = motion[:, layout.pose].mean(0, keepdim=True)
            motion[:, layout.pose] += self._pose - self._first_mean
        return motion
