"""What a person may ask of a performance: gaze, distance, emotion. Checked in one place, in radians, before
anything is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from vasa.records import CONTROL_HIGH, CONTROL_INDEX, EMOTIONS, Conditions

MAX_GAZE_YAW_RAD = CONTROL_HIGH[CONTROL_INDEX["gaze_yaw"]]
MAX_GAZE_PITCH_RAD = CONTROL_HIGH[CONTROL_INDEX["gaze_pitch"]]
MIN_DISTANCE, MAX_DISTANCE = 0.7, 1.4
"""A little beyond what training clips show (0.8 to 1.25)."""

Emotion = str | Mapping[str, float]


def conditions(gaze_yaw: float, gaze_pitch: float, distance: float, emotion: Emotion) -> Conditions:
    """Conditions (batch of 1) for the whole clip. Angles in radians. Raises: ValueError naming the control
    and its range.
    """
    _check_angle("gaze_yaw", gaze_yaw, MAX_GAZE_YAW_RAD)
    _check_angle("gaze_pitch", gaze_pitch, MAX_GAZE_PITCH_RAD)
    if not MIN_DISTANCE <= distance <= MAX_DISTANCE:
        raise ValueError(
            f"distance is {distance:g}; wanted {MIN_DISTANCE:g} to {MAX_DISTANCE:g}, where 1 is the "
            "picture's own framing."
        )
    return Conditions(
        gaze=torch.tensor([[gaze_yaw, gaze_pitch]], dtype=torch.float32),
        distance=torch.tensor([[distance]], dtype=torch.float32),
        emotion=emotion_weights(emotion)[None],
    )


def _check_angle(name: str, value: float, limit: float) -> None:
    if not abs(value) <= limit:  # catches NaN too
        limit_deg = math.floor(math.degrees(limit))
        raise ValueError(
            f"{name} is {math.degrees(value):g} degrees ({value:.3g} rad); wanted {-limit_deg} to "
            f"{limit_deg} degrees."
        )


def emotion_weights(emotion: Emotion) -> Tensor:
    """(8,) weights over EMOTIONS that sum to 1. emotion: a name; "happy:0.7+surprise:0.3"; or a dict of names
    to weights.

    Weights may sum to less than 1: neutral takes the rest, as in the clips that models are trained on.
    """
    parts = dict(_parse(emotion)) if isinstance(emotion, str) else dict(emotion)
    weights = torch.zeros(len(EMOTIONS))
    for name, weight in parts.items():
        if name not in EMOTIONS:
            raise ValueError(
                f"emotion is {name!r}; wanted one of {', '.join(EMOTIONS)}, or a mixture such as "
                "happy:0.7+surprise:0.3."
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
