"""Training batches of stage 2: windows of W frames with the K frames before them, cut from a latent cache.

A pure function of (seed, position), where position counts samples: step x batch + place in the batch. It
reads raw values and converts none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vasa.data.latent_cache import CONTROL_WIDTHS, LatentCache


@dataclass(slots=True)
class MotionWindowBatch:
    """B raw windows. Frames outside a clip are zero and marked.

    motion (B, W, E), features (B, W, A) float32, valid (B, W) bool. history (B, K, E), history_features
    (B, K, A), has_history (B,) bool. gaze (B, 2), distance (B, 1), emotion (B, 8), zero where absent, and
    has_gaze, has_distance, has_emotion (B,) bool. positions (B,) int64: the samples' numbers. ids: clip
    names, for messages.
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
    """Random windows of a cache: a clip, a variant of its sound, a place in it.

    start_share: share of windows taken at a clip's first frame, where there is no history; the others lie
    uniformly among those that have all K frames of it. A clip shorter than a window is padded behind.
    """

    def __init__(
        self,
        cache: LatentCache,
        *,
        window_frames: int,
        history_frames: int,
        batch_size: int,
        seed: int,
        start_share: float = 0.1,
    ) -> None:
        if len(cache) == 0:
            raise ValueError(f"latent cache {cache.folder} holds no clips; wanted at least one.")
        self.cache, self.window_frames, self.history_frames = cache, window_frames, history_frames
        self.batch_size, self.seed, self.start_share = batch_size, seed, start_share

    def batch_at(self, step: int) -> MotionWindowBatch:
        """The batch of a training step: samples step x batch_size and on."""
        first = step * self.batch_size
        return self.batch(list(range(first, first + self.batch_size)))

    def batch(self, positions: list[int]) -> MotionWindowBatch:
        """The samples with these numbers."""
        samples = [self._sample(position) for position in positions]
        columns = {
            name: torch.stack([sample[name] for sample in samples])
            for name in samples[0]
            if name != "clip_id"
        }
        return MotionWindowBatch(
            **columns, positions=torch.tensor(positions), ids=[sample["clip_id"] for sample in samples]
        )

    def _sample(self, position: int) -> dict:
        cache, W, K = self.cache, self.window_frames, self.history_frames
        rng = np.random.default_rng((self.seed, position))
        clip = int(rng.integers(len(cache)))
        variant = int(rng.integers(cache.header.num_variants))
        num_frames = cache.clips[clip].num_frames
        at_start = num_frames - W < K or rng.random() < self.start_share
        start = 0 if at_start else int(rng.integers(K, num_frames - W + 1))
        stop, before = min(start + W, num_frames), 0 if at_start else start - K
        motion = cache.motion(clip, before, stop)
        features = cache.features(clip, variant, before, stop).float()
        split = start - before
        sample = {
            "motion": _padded(motion[split:], W),
            "valid": torch.arange(W) < stop - start,
            "features": _padded(features[split:], W),
            "history": _padded(motion[:split], K),
            "history_features": _padded(features[:split], K),
            "has_history": torch.tensor(not at_start),
            "clip_id": cache.clips[clip].clip_id,
        }
        for name, width in CONTROL_WIDTHS.items():
            value = cache.control(clip, name)
            sample[name] = torch.zeros(width) if value is None else value
            sample[f"has_{name}"] = torch.tensor(value is not None)
        return sample


def _padded(values: Tensor, length: int) -> Tensor:
    """(t, D) to (length, D), zeros behind."""
    if len(values) == length:
        return values
    return torch.cat([values, values.new_zeros(length - len(values), values.shape[1])])
