"""Expression offsets of the eight emotions."""

from __future__ import annotations

import torch
from torch import Tensor

from vasa.records import CONTROL_INDEX, EMOTIONS, NUM_CONTROLS

_OFFSETS: dict[str, dict[str, float]] = {
    "neutral": {},
    "happy": {"smile": 0.85, "lip_width": 0.35, "blink_left": 0.10, "blink_right": 0.10, "brow_raise": 0.1},
    "sad": {"smile": -0.75, "brow_raise": 0.25, "frown": 0.45, "blink_left": 0.18, "blink_right": 0.18},
    "surprise": {"brow_raise": 0.95, "blink_left": -0.22, "blink_right": -0.22, "jaw": 0.35},
    "fear": {
        "brow_raise": 0.6,
        "frown": 0.45,
        "blink_left": -0.18,
        "blink_right": -0.18,
        "lip_width": 0.4,
        "smile": -0.25,
    },
    "disgust": {"frown": 0.6, "smile": -0.45, "lip_pucker": 0.2, "blink_left": 0.22, "blink_right": 0.22},
    "anger": {"frown": 1.0, "brow_raise": -0.6, "lip_press": 0.4, "smile": -0.3},
    "contempt": {"smile": 0.3, "brow_raise": -0.2, "blink_left": 0.15, "blink_right": 0.15, "lip_press": 0.3},
}


def emotion_controls(weights: Tensor) -> Tensor:
    """Control offsets (..., 11) of a blend of emotions, weights (..., 8)."""
    table = torch.zeros(len(EMOTIONS), NUM_CONTROLS)
    for row, name in enumerate(EMOTIONS):
        for control, value in _OFFSETS[name].items():
            table[row, CONTROL_INDEX[control]] = value
    return weights @ table.to(weights)
