"""Training batches for models that hear sound themselves: two consecutive windows of motion with the sound
under them, cut from latent caches.

A pure function of (seed, position), as ``motion_windows``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vasa.data.latent_cache import LatentCache
from vasa.data.motion_windows import cache_shares
from vasa.records import SAMPLES_PER_FRAME


@dataclass(slots=True)
class WindowPairBatch:
    """B samples of two windows of L frames. motion (B, 2 L, E) raw and sound (B, 2 L x SAMPLES_PER_FRAME),
    zero where a clip has ended; lengths (B,) int64: frames that it has. positions (B,) int64: the samples'
    numbers. ids: clip names, for messages.
    """

    motion: Tensor
    sound: Tensor
    lengths: Tensor
    positions: Tensor
    ids: list[str]


class WindowPairs:
    """Random places of caches that keep their sound: a cache, a clip, a variant of its sound, a first frame.

    A clip of fewer than 2 L frames is taken from its start and padded behind. (JoyVASA repeats such clips
    until they are long enough, and so learns the jump from their end to their start.)
    """

    def __init__(
        self,
        caches: Sequence[LatentCache],
        *,
        window_frames: int,
        batch_size: int,
        seed: int,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.caches, self.shares = list(caches), cache_shares(caches, weights)
        self.window_frames, self.batch_size, self.seed = window_frames, batch_size, seed

    def batch_at(self, step: int) -> WindowPairBatch:
        """The batch of a training step. Raises: CacheError of a cache without sound."""
        first = step * self.batch_size
        return self.batch(list(range(first, first + self.batch_size)))

    def batch(self, positions: list[int]) -> WindowPairBatch:
        """The samples with these numbers."""
        num, frames = len(positions), 2 * self.window_frames
        batch = WindowPairBatch(
            motion=torch.zeros(num, frames, self.caches[0].header.layout.width),
            sound=torch.zeros(num, frames * SAMPLES_PER_FRAME),
            lengths=torch.zeros(num, dtype=torch.int64),
            positions=torch.tensor(positions),
            ids=[],
        )
        for row, position in enumerate(positions):
            self._fill(batch, row, position)
        return batch

    def _fill(self, batch: WindowPairBatch, row: int, position: int) -> None:
        rng = np.random.default_rng((self.seed, position))
        cache = self.caches[int(rng.choice(len(self.caches), p=self.shares))]
        clip, variant = int(rng.integers(len(cache))), int(rng.integers(cache.header.num_variants))
        num_frames = cache.clips[clip].num_frames
        length = min(2 * self.window_frames, num_frames)
        start = int(rng.integers(num_frames - length + 1))
        batch.motion[row, :length] = cache.motion(clip, start, start + length)
        sound = cache.audio(clip, variant)[start * SAMPLES_PER_FRAME : (start + length) * SAMPLES_PER_FRAME]
        batch.sound[row, : len(sound)] = sound
        batch.lengths[row] = length
        batch.ids.append(cache.clips[clip].clip_id)
