"""Random animations and expression blends of the procedural heads: what a head may do, apart from who it
is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vasa.data.synthetic.parameters import seed_generator
from vasa.records import CONTROL_HIGH, CONTROL_INDEX, CONTROL_LOW, EMOTIONS, NUM_CONTROLS, Animation

YAW_LIMIT, PITCH_LIMIT, ROLL_LIMIT = 30.0, 22.0, 20.0  # degrees
EMOTION_TABLE: dict[str, dict[str, float]] = {
    "neutral": {},
    "happy": {"smile": 0.85, "lip_width": 0.35, "blink_left": 0.15, "blink_right": 0.15, "brow_raise": 0.1},
    "sad": {
        "smile": -0.70,
        "brow_raise": 0.25,
        "frown": 0.55,
        "blink_left": 0.22,
        "blink_right": 0.22,
        "lip_width": -0.2,
    },
    "surprise": {
        "brow_raise": 0.95,
        "blink_left": -0.25,
        "blink_right": -0.25,
        "jaw": 0.35,
        "lip_width": -0.25,
    },
    "fear": {
        "brow_raise": 0.65,
        "frown": 0.5,
        "blink_left": -0.20,
        "blink_right": -0.20,
        "lip_width": 0.45,
        "jaw": 0.15,
        "smile": -0.2,
    },
    "disgust": {
        "frown": 0.60,
        "brow_raise": -0.35,
        "blink_left": 0.32,
        "blink_right": 0.32,
        "smile": -0.50,
        "lip_pucker": 0.30,
    },
    "anger": {
        "frown": 1.0,
        "brow_raise": -0.75,
        "lip_press": 0.55,
        "smile": -0.30,
        "blink_left": 0.08,
        "blink_right": 0.08,
    },
    "contempt": {
        "smile": 0.25,
        "lip_press": 0.45,
        "brow_raise": -0.25,
        "blink_left": 0.20,
        "blink_right": 0.20,
        "lip_width": 0.15,
    },
}
"""Control offsets of each emotion at full weight."""


def emotion_controls(weights: Tensor) -> Tensor:
    """Control offsets (..., 11) of a blend of emotions with weights (..., 8), in the order of EMOTIONS."""
    table = weights.new_zeros(len(EMOTIONS), NUM_CONTROLS)
    for row, name in enumerate(EMOTIONS):
        for control, value in EMOTION_TABLE[name].items():
            table[row, CONTROL_INDEX[control]] = value
    return weights @ table


SPEECH_KEEPS = {"jaw": 0.0, "lip_press": 0.25, "lip_width": 0.6, "lip_pucker": 0.5}
"""Share of an emotion's offset that is left to it while somebody speaks: a mood may shape the lips but
neither hold the jaw open in silence nor press a vowel shut.
"""


def mood_controls(weights: Tensor) -> Tensor:
    """As ``emotion_controls``, of a face that speaks: weights (..., 8) -> offsets (..., 11), float64."""
    share = torch.ones(NUM_CONTROLS, dtype=torch.float64)
    for name, kept in SPEECH_KEEPS.items():
        share[CONTROL_INDEX[name]] = kept
    return emotion_controls(weights).double() * share.to(weights.device)


def random_animation(seeds: Sequence[int], scale_range: tuple[float, float] = (0.80, 1.25)) -> Animation:
    """One wild frame per seed (B): every pose and control exercised independently; for training stage 1.

    scale_range: nearness s is drawn log-uniformly from it; a wider one gives loose and tight framing.
    """
    frames = [_random_frame(int(seed), scale_range) for seed in seeds]
    return Animation(torch.stack([f[0] for f in frames]), torch.stack([f[1] for f in frames]))


def _random_frame(seed: int, scale_range: tuple[float, float]) -> tuple[Tensor, Tensor]:
    generator = seed_generator(seed, 7)
    normal, uniform = torch.randn(16, generator=generator), torch.rand(32, generator=generator)
    angles = normal[:3] * torch.tensor([14.0, 9.0, 7.0])
    limits = torch.tensor([YAW_LIMIT, PITCH_LIMIT, ROLL_LIMIT])
    pose = torch.empty(6)
    pose[:3] = torch.deg2rad(angles.clamp(-limits, limits))
    pose[3:5] = (0.06 * normal[3:5]).clamp(-0.18, 0.18)
    low, high = scale_range
    pose[5] = math.log(low) + float(uniform[0]) * math.log(high / low)
    c = torch.zeros(NUM_CONTROLS)
    c[0:2] = (uniform[1:3] * 2 - 1) * torch.tensor([CONTROL_HIGH[0], CONTROL_HIGH[1]])
    c[2:4] = _blinks(uniform[3:8])
    c[CONTROL_INDEX["brow_raise"]] = _some(uniform[8], uniform[9] * 2 - 1, 0.6)
    c[CONTROL_INDEX["frown"]] = _some(uniform[10], uniform[11], 0.4)
    c[CONTROL_INDEX["jaw"]] = _some(uniform[12], uniform[13] ** 1.4, 0.7)
    c[CONTROL_INDEX["lip_width"]] = _some(uniform[14], uniform[15] * 2 - 1, 0.7)
    c[CONTROL_INDEX["lip_pucker"]] = _some(uniform[16], uniform[17], 0.3)
    c[CONTROL_INDEX["lip_press"]] = _some(uniform[18], uniform[19], 0.25) * (c[CONTROL_INDEX["jaw"]] < 0.25)
    c[CONTROL_INDEX["smile"]] = _some(uniform[20], uniform[21] * 2 - 1, 0.65)
    return pose, c.clamp(torch.tensor(CONTROL_LOW), torch.tensor(CONTROL_HIGH))


def _some(chance: Tensor, value: Tensor, share: float) -> Tensor:
    """``value`` in ``share`` of the cases, else 0."""
    return torch.where(chance < share, value, torch.zeros_like(value))


def _blinks(u: Tensor) -> Tensor:
    """Lids of both eyes: a quarter of the frames blink, mostly with both eyes; else open, with small
    variation."""
    rest = 0.22 * (u[1] * 2 - 1)
    if u[0] > 0.25:
        return torch.stack([rest, rest])
    closing = 0.3 + 0.8 * u[2]
    if u[3] < 0.8:
        return torch.stack([closing, closing]).clamp(max=1)
    one = torch.stack([closing, rest]) if u[4] < 0.5 else torch.stack([rest, closing])
    return one.clamp(max=1)
