"""Random conditions of tiny windows that the tests of this folder share."""

import torch

from vasa.motion.conditions import WindowConditions

W, K, E, A = 10, 4, 9, 6
"""Frames in a window, frames carried over, entries of a motion vector, entries of an audio feature."""


def conditions(batch: int = 2, seed: int = 1) -> WindowConditions:
    g = torch.Generator().manual_seed(seed)
    yes = torch.ones(batch, dtype=torch.bool)
    return WindowConditions(
        audio=torch.randn(batch, W, A, generator=g),
        has_audio=torch.ones(batch, W, dtype=torch.bool),
        history=torch.randn(batch, K, E, generator=g),
        history_audio=torch.randn(batch, K, A, generator=g),
        has_history=yes,
        gaze=torch.randn(batch, 2, generator=g),
        has_gaze=yes,
        distance=torch.randn(batch, 1, generator=g),
        has_distance=yes,
        emotion=torch.rand(batch, 8, generator=g),
        has_emotion=yes,
    )
