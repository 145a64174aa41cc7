"""Noise of a seed that may change with time: from the window in which it changes on, another seed draws."""

from __future__ import annotations

from collections.abc import Callable

import torch

SeedTrack = Callable[[int, int], int]
"""(first, stop) -> the seed of the window of frames first .. stop - 1."""


class SeededNoise:
    """The generator of every window, asked for in order: a ``vasa.motion.windows.NoiseTrack``. While the seed
    stays, its noise goes on; another one begins at its beginning.
    """

    def __init__(self, seed: int | SeedTrack) -> None:
        self._seed_at = seed if callable(seed) else lambda *_: seed
        self._seed: int | None = None
        self._generator = torch.Generator()

    def __call__(self, first: int, stop: int) -> torch.Generator:
        seed = self._seed_at(first, stop)
        if seed != self._seed:
            self._seed, self._generator = seed, torch.Generator().manual_seed(seed)
        return self._generator


def first_seed(seed: int | SeedTrack) -> int:
    """The one that a video begins with: what reports name."""
    return seed(0, 1) if callable(seed) else seed
