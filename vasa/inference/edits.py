"""What may be done to raw motion between the motion model and the renderer: a chain of edits."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Edit(Protocol):
    """Raw motion (t, E) of frames ``first`` .. first + t - 1 -> the same frames changed.

    Chunks come in order, each frame once, so an edit may carry a state; it never needs a later frame.
    """

    def __call__(self, motion: Tensor, first: int) -> Tensor: ...


def finite(motion: Tensor) -> Tensor:
    """Motion that is to be rendered. Raises: FloatingPointError."""
    if not bool(motion.isfinite().all()):
        raise FloatingPointError("the motion has values that are not finite; no frame is made of them.")
    return motion
