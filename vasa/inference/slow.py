"""The slow course of a signal that comes in chunks: what remains of it when looks aside, nods and blinks are
left out. Corrections of gaze, distance and head go by it, so that they never jump and leave liveliness alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vasa.records import VIDEO_FPS

BLOCK = 100
"""Frames solved at once, at most: cost grows with their cube."""
ROUNDS = 8
"""Of reweighting by the distance from the course so far."""


class SlowPart:
    """The course s that minimises  sum_t w_t |x_t - s_t|^2 + (seconds * fps)^2 sum_t |s_t - s_(t-1)|^2  over
    a chunk, going on from where it ended in the chunk before: a two-sided exponential average within a chunk,
    continuous between chunks, never looking beyond one.

    outlier: distance from the course beyond which a frame pulls no harder (Huber's estimator), so that the
    course is where the signal mostly is and not its mean; None: all frames count by their distance.
    """

    def __init__(self, seconds: float, outlier: float | None = None) -> None:
        self._stiffness, self._outlier = (seconds * VIDEO_FPS) ** 2, outlier
        self._last: Tensor | None = None

    def __call__(self, values: Tensor, weights: Tensor | None = None) -> Tensor:
        """Frames (t, n) that follow those of the last call -> their slow part (t, n). weights: (t,)."""
        given = values.new_ones(len(values)) if weights is None else weights
        parts = [
            self._block(some.double().cpu(), counts.double().cpu())
            for some, counts in zip(values.split(BLOCK), given.split(BLOCK), strict=True)
        ]
        return torch.cat(parts).to(values)

    def _block(self, values: Tensor, given: Tensor) -> Tensor:
        """One solve, float64 on the CPU."""
        start = values.median(0, keepdim=True).values if self._last is None else self._last
        slow = start.expand_as(values)
        for _ in range(1 if self._outlier is None else ROUNDS):
            weights = given
            if self._outlier is not None:
                away = (values - slow).square().sum(1).sqrt()
                weights = given * (self._outlier / away.clamp(min=self._outlier))
            slow = self._solved(values, weights.clamp(min=1e-6))
        self._last = slow[-1:].clone()
        return slow

    def _solved(self, values: Tensor, weights: Tensor) -> Tensor:
        count, right = len(values), weights[:, None] * values
        steps = torch.zeros(count, count, dtype=values.dtype)
        steps.diagonal().fill_(1)
        steps.diagonal(-1).fill_(-1)
        if self._last is None:
            steps[0] = 0
        else:
            right[0] += self._stiffness * self._last[0]
        return torch.linalg.solve(torch.diag(weights) + self._stiffness * steps.T @ steps, right)
