"""What a person may ask of a performance: names, ranges, emotions. Checked in one place, in radians, before
anything is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vasa.records import CONTROL_HIGH, CONTROL_INDEX, EMOTIONS, Conditions

MAX_GAZE_YAW_RAD = CONTROL_HIGH[CONTROL_INDEX["gaze_yaw"]]
MAX_GAZE_PITCH_RAD = CONTROL_HIGH[CONTROL_INDEX["gaze_pitch"]]
MIN_DISTANCE, MAX_DISTANCE = 0.7, 1.4
"""A little beyond what training clips show (0.8 to 1.25)."""

Emotion = str | Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Range:
    """What a control may be. low, high: inside units. is_angle: radians inside, degrees where people see it.
    note: what its values mean, for messages.
    """

    low: float
    high: float
    is_angle: bool = False
    note: str = ""


RANGES = {
    "gaze_yaw": Range(-MAX_GAZE_YAW_RAD, MAX_GAZE_YAW_RAD, True),
    "gaze_pitch": Range(-MAX_GAZE_PITCH_RAD, MAX_GAZE_PITCH_RAD, True),
    "distance": Range(MIN_DISTANCE, MAX_DISTANCE, note=", where 1 is the picture's own framing"),
    "head_yaw": Range(-math.radians(30), math.radians(30), True),
    "head_pitch": Range(-math.radians(20), math.radians(20), True),
    "head_roll": Range(-math.radians(20), math.radians(20), True),
    "head_motion": Range(0, 2, note=", where 1 is as the model moves it and 0 holds it still"),
    "blink_rate": Range(0, 60, note=" blinks a minute"),
}
"""Every control that is a number. The head's angles are the most that synthetic heads turn and a portrait
bears; blinks are at most one a second.
"""


def check(name: str, value: float) -> None:
    """Raises: ValueError naming the control, its value and its range (angles in degrees)."""
    wanted = RANGES[name]
    if wanted.low <= value <= wanted.high:  # false for NaN too
        return
    if wanted.is_angle:
        low, high = (math.trunc(round(math.degrees(end), 6)) for end in (wanted.low, wanted.high))
        raise ValueError(
            f"{name} is {math.degrees(value):g} degrees ({value:.3g} rad); wanted {low} to {high} degrees."
        )
    raise ValueError(f"{name} is {value:g}; wanted {wanted.low:g} to {wanted.high:g}{wanted.note}.")


AUTO, NONE = "auto", "none"
"""Of an emotion: what the checkpoint says of itself (neutral, or none), and none: the sound suggests it."""


def conditions(
    gaze_yaw: float, gaze_pitch: float, distance: float, emotion: Emotion, neutral: bool = True
) -> Conditions:
    """Conditions (batch of 1) for the whole clip. Angles in radians. neutral: what AUTO stands for, a neutral
    face or no emotion at all (``SamplerConfig.neutral``).

    Raises: ValueError naming the control and its range.
    """
    check("gaze_yaw", gaze_yaw)
    check("gaze_pitch", gaze_pitch)
    check("distance", distance)
    return Conditions(
        gaze=torch.tensor([[gaze_yaw, gaze_pitch]], dtype=torch.float32),
        distance=torch.tensor([[distance]], dtype=torch.float32),
        emotion=None if is_unasked(emotion, neutral) else emotion_weights(emotion)[None],
    )


def is_unasked(emotion: Emotion, neutral: bool) -> bool:
    """Whether the motion model hears of no emotion. neutral: see ``conditions``."""
    return emotion == NONE or (emotion == AUTO and not neutral)


def emotion_weights(emotion: Emotion) -> Tensor:
    """(8,) weights over EMOTIONS that sum to 1. emotion: a name; "happy:0.7+surprise:0.3"; or a dict of names
    to weights. AUTO and NONE ask for nothing: neutral.

    Weights may sum to less than 1: neutral takes the rest, as in the clips that models are trained on.
    """
    if emotion in (AUTO, NONE):
        emotion = "neutral"
    parts = dict(_parse(emotion)) if isinstance(emotion, str) else dict(emotion)
    weights = torch.zeros(len(EMOTIONS))
    for name, weight in parts.items():
        if name not in EMOTIONS:
            raise ValueError(
                f"emotion is {name!r}; wanted one of {', '.join(EMOTIONS)}, {NONE}, {AUTO}, or a mixture "
                "such as happy:0.7+surprise:0.3."
            )
        if not 0 <= weight <= 1:
            raise ValueError(f"emotion {name} has weight {weight:g}; wanted 0 to 1.")
        weights[EMOTIONS.index(name)] = weight
    if float(weights.sum()) > 1 + 1e-6:
        raise ValueError(f"emotion weights sum to {float(weights.sum()):g}; wanted at most 1.")
    weights[EMOTIONS.index("neutral")] += 1 - weights.sum()
    return weights


def _parse(text: str) -> list[tuple[str, float]]:
    parts = []
    for part in text.split("+"):
        name, colon, weight = part.strip().partition(":")
        try:
            parts.append((name.strip(), float(weight) if colon else 1.0))
        except ValueError:
            raise ValueError(
                f"emotion {name} has weight {weight!r}; wanted a number from 0 to 1, as in happy:0.7."
            ) from None
    return parts
