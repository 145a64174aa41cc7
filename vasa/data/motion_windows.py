"""Training batches of stage 2: windows of W frames with the K frames before them, cut from latent caches.

A pure function of (seed, position), where position counts samples: step x batch + place in the batch. It
reads raw values and converts none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vasa.data.latent_cache import CONTROL_WIDTHS, LatentCache


@dataclass(slots=True)
class MotionWindowBatch:
    """B raw windows. Frames outside a clip are zero and marked.

    motion (B, W, E), features (B, W, A) float32, history (B, K, E), history_features (B, K, A), has_history
    (B,) bool, valid (B, K + W) bool: which frames of history and window a sample has. gaze (B, 2), distance
    (B, 1), emotion (B, 8), zero where absent, and has_gaze, has_distance, has_emotion (B,) bool. positions
    (B,) int64: the samples' numbers. ids: clip names, for messages.
    """

    motion: Tensor
    valid: Tensor
    features: Tensor
    history: Tensor
    history_features: Tensor
    has_history: Tensor
    gaze: Tensor
    has_gaze: Tensor
    distance: Tensor
    has_distance: Tensor
    emotion: Tensor
    has_emotion: Tensor
    positions: Tensor
    ids: list[str]

    def __len__(self) -> int:
        return len(self.ids)


class MotionWindows:
    """Random windows of caches: a cache, a clip, a variant of its sound, a place in it.

    weights: how often each cache is drawn from, in any unit; None: as often as it has clips, so that all
    clips of all caches are drawn alike. That is how languages or corpora of unlike size are mixed.

    start_share: share of windows taken at a clip's first frame, where there is no history; the others lie
    uniformly among those that have all K frames of it. A clip shorter than a window is padded behind.

    min_window, min_history: frames of the shortest window and history; the others are padded, windows behind
    and histories in front. None: all have W or K, and so have ``whole_share`` of the samples in any case.
    """

    def __init__(
        self,
        caches: LatentCache | Sequence[LatentCache],
        *,
        window_frames: int,
        history_frames: int,
        batch_size: int,
        seed: int,
        start_share: float = 0.1,
        min_window: int | None = None,
        min_history: int | None = None,
        whole_share: float = 0.5,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.caches = [caches] if isinstance(caches, LatentCache) else list(caches)
        for cache in self.caches:
            if len(cache) == 0:
                raise ValueError(f"latent cache {cache.folder} holds no clips; wanted at least one.")
        self.shares = cache_shares(self.caches, weights)
        self.window_frames, self.history_frames = window_frames, history_frames
        self.batch_size, self.seed, self.start_share = batch_size, seed, start_share
        self.min_window, self.min_history, self.whole_share = min_window, min_history, whole_share

    def batch_at(self, step: int) -> MotionWindowBatch:
        """The batch of a training step: samples step x batch_size and on."""
        first = step * self.batch_size
        return self.batch(list(range(first, first + self.batch_size)))

    def batch(self, positions: list[int]) -> MotionWindowBatch:
        """The samples with these numbers."""
        W, K, num = self.window_frames, self.history_frames, len(positions)
        header = self.caches[0].header
        batch = MotionWindowBatch(
            motion=torch.zeros(num, W, header.layout.width),
            features=torch.zeros(num, W, header.audio_dim),
            history=torch.zeros(num, K, header.layout.width),
            history_features=torch.zeros(num, K, header.audio_dim),
            has_history=torch.zeros(num, dtype=torch.bool),
            valid=torch.zeros(num, K + W, dtype=torch.bool),
            positions=torch.tensor(positions),
            ids=[],
            **{name: torch.zeros(num, width) for name, width in CONTROL_WIDTHS.items()},
            **{f"has_{name}": torch.zeros(num, dtype=torch.bool) for name in CONTROL_WIDTHS},
        )
        for row, position in enumerate(positions):
            self._fill(batch, row, position)
        return batch

    def _fill(self, batch: MotionWindowBatch, row: int, position: int) -> None:
        """Draws the sample of a position into a row, which is zero."""
        rng = np.random.default_rng((self.seed, position))
        cache = self.caches[0]
        if len(self.caches) > 1:
            cache = self.caches[int(rng.choice(len(self.caches), p=self.shares))]
        clip = int(rng.integers(len(cache)))
        variant = int(rng.integers(cache.header.num_variants))
        num_frames = cache.clips[clip].num_frames
        W, K = self._lengths(rng)
        at_start = num_frames - W < K or rng.random() < self.start_share
        start = 0 if at_start else int(rng.integers(K, num_frames - W + 1))
        stop, before = min(start + W, num_frames), 0 if at_start else start - K
        motion, features = cache.motion(clip, before, stop), cache.features(clip, variant, before, stop)
        split, length = start - before, stop - start
        batch.motion[row, :length], batch.features[row, :length] = motion[split:], features[split:]
        if not at_start:
            batch.history[row, -K:], batch.history_features[row, -K:] = motion[:split], features[:split]
            batch.has_history[row] = True
        batch.valid[row, self.history_frames - K : self.history_frames + length] = True
        batch.ids.append(cache.clips[clip].clip_id)
        for name in CONTROL_WIDTHS:
            value = cache.control(clip, name)
            if value is not None:
                getattr(batch, name)[row], getattr(batch, f"has_{name}")[row] = value, True

    def _lengths(self, rng: np.random.Generator) -> tuple[int, int]:
        """Frames of window and history of a sample."""
        W, K = self.window_frames, self.history_frames
        if (self.min_window is None and self.min_history is None) or rng.random() < self.whole_share:
            return W, K
        return (
            W if self.min_window is None else int(rng.integers(self.min_window, W + 1)),
            K if self.min_history is None else int(rng.integers(self.min_history, K + 1)),
        )


def cache_shares(caches: Sequence[LatentCache], weights: Sequence[float] | None = None) -> np.ndarray:
    """Probability of each cache, from weights in any unit. Raises: ValueError for weights that make none."""
    given = np.asarray([len(cache) for cache in caches] if weights is None else weights, dtype=np.float64)
    if len(given) != len(caches) or not np.isfinite(given).all() or (given < 0).any() or given.sum() <= 0:
        raise ValueError(
            f"cache weights are {given.tolist()}; wanted {len(caches)}, one for each cache, none below 0 and "
            "at least one above it."
        )
    return given / given.sum()


def pooled_statistics(caches: Sequence[LatentCache], shares: np.ndarray) -> dict[str, Tensor]:
    """Mean and deviation of what is drawn from several caches, by each one's share."""
    if len(caches) == 1:
        return caches[0].statistics
    share = torch.tensor(shares, dtype=torch.float64)[:, None]
    pooled: dict[str, Tensor] = {}
    for name in ("motion", "features", "distance"):
        mean, std = (
            torch.stack([cache.statistics[f"{name}_{kind}"].double() for cache in caches])
            for kind in ("mean", "std")
        )
        middle = (share * mean).sum(0)
        spread = (share * (std.square() + (mean - middle).square())).sum(0).sqrt()
        pooled |= {f"{name}_mean": middle.float(), f"{name}_std": spread.float()}
    return pooled
