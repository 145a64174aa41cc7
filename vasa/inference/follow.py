"""Gaze, distance and mood as asked, at any time: what the motion model leaves of them, and what a track does
between the broad strokes that the model is asked for, is added here.

    shown = made + asked - asked of the model - slow part of (made - asked of the model)

Saccades, looks aside and nods are what is made beyond its slow part: they stay.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vasa.data.synthetic.animation import mood_controls
from vasa.face.space import FaceSpace
from vasa.inference.asked import Asked
from vasa.inference.slow import SlowPart
from vasa.inference.tracks import EMOTION
from vasa.records import CONTROL_HIGH, CONTROL_INDEX, CONTROL_LOW

GAZE = [CONTROL_INDEX["gaze_yaw"], CONTROL_INDEX["gaze_pitch"]]
LIDS = [CONTROL_INDEX["blink_left"], CONTROL_INDEX["blink_right"]]
FOLLOWS_S = 2.0
"""Over which time a made course counts as slow: longer than a look aside, shorter than a shot."""
LOOK_ASIDE_RAD = math.radians(2)
"""Away from the main direction by more, a frame pulls it no harder."""
CLOSED = 0.5
"""Closure of the lids above which a gaze says nothing."""


def limited(controls: Tensor) -> Tensor:
    """Controls (t, 11) within what faces can do."""
    return torch.minimum(
        torch.maximum(controls, controls.new_tensor(CONTROL_LOW)), controls.new_tensor(CONTROL_HIGH)
    )


class GazeEdit:
    """Brings the main direction of the eyes to what is asked: an ``Edit``."""

    def __init__(self, face: FaceSpace, asked: Asked) -> None:
        self._face, self._asked = face, asked
        self._slow = SlowPart(FOLLOWS_S, LOOK_ASIDE_RAD)

    def __call__(self, motion: Tensor, first: int) -> Tensor:
        controls = self._face.controls(motion).clone()
        frames = (first, first + len(motion))
        wanted, told = (
            torch.stack([of(name, *frames) for name in ("gaze_yaw", "gaze_pitch")], 1).to(controls)
            for of in (self._asked.at, self._asked.broadly)
        )
        is_open = (controls[:, LIDS].mean(1) < CLOSED).to(controls)
        left = self._slow(controls[:, GAZE] - told, is_open)
        controls[:, GAZE] += wanted - told - left
        controls[:, GAZE] = limited(controls)[:, GAZE]
        return self._face.set_controls(motion, controls)


class DistanceEdit:
    """Brings the head to the asked distance, over the portrait's own where ``framing`` (its log scale) says
    so: an ``Edit``.
    """

    def __init__(self, face: FaceSpace, asked: Asked, framing: float) -> None:
        self._scale, self._asked, self._framing = face.layout.scale, asked, framing
        self._slow = SlowPart(FOLLOWS_S)

    def __call__(self, motion: Tensor, first: int) -> Tensor:
        motion, frames = motion.clone(), (first, first + len(motion))
        wanted, told = (
            self._framing - of("distance", *frames).log()[:, None].to(motion)
            for of in (self._asked.at, self._asked.broadly)
        )
        scale = motion[:, self._scale]
        motion[:, self._scale] = scale + wanted - told - self._slow(scale - told)
        return motion


class MoodEdit:
    """Adds to the expression what the asked mood has beyond the one that the model was asked for: an
    ``Edit``. The mouth stays the sound's as far as it is in clips of people who speak in a mood.
    """

    def __init__(self, face: FaceSpace, asked: Asked, generated: bool = True) -> None:
        """generated: whether a model was asked for the mood; else all of it is missing."""
        self._face, self._asked, self._generated = face, asked, generated

    def __call__(self, motion: Tensor, first: int) -> Tensor:
        frames = (first, first + len(motion))
        missing = mood_controls(self._asked.at(EMOTION, *frames))
        if self._generated:
            missing = missing - mood_controls(self._asked.broadly(EMOTION, *frames))
        if not bool(missing.any()):
            return motion
        controls = self._face.controls(motion)
        return self._face.set_controls(motion, limited(controls + missing.to(controls)))
