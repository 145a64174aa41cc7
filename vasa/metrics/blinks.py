"""Blinks in a track of the lids' closure."""

from __future__ import annotations

from torch import Tensor

from vasa.records import VIDEO_FPS

BLINK_CLOSES, BLINK_OPENS = 0.35, 0.2
"""Closure beyond the clip's median at which a blink begins and ends, of the mean of both eyes. The judge
reads a full blink of rendered people as 0.65 to 1.1.
"""
LONGEST_BLINK_S = 0.8
"""Lids that stay closed for longer are closed eyes, not a blink."""


def count_blinks(closure: Tensor) -> int:
    """Blinks in a track (T,) of the lids' closure, against the clip's own open eyes (its median)."""
    beyond = (closure - closure.median()).tolist()
    count, begun = 0, None
    for frame, value in enumerate([*beyond, 0.0]):
        if begun is None and value > BLINK_CLOSES:
            begun = frame
        elif begun is not None and value < BLINK_OPENS:
            count += (frame - begun) <= LONGEST_BLINK_S * VIDEO_FPS
            begun = None
    return count


def blinks_per_min(closure: Tensor) -> float:
    """Their rate in a track (T,)."""
    return count_blinks(closure) / (len(closure) / VIDEO_FPS / 60)
