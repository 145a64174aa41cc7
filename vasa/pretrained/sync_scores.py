"""What distances between SyncNet's embeddings of lips and of sound say: S_D, S_C and the offset.

The scores are exactly those of the published code. Metrics of generated videos and the preprocessing of real
ones read them here. Knows no network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.ndimage import median_filter
from torch import Tensor

MEDIAN_WINDOWS = 9
"""Of the median filter over the confidences of single windows."""


@dataclass(slots=True)
class SyncScores:
    """What N windows and shifts of up to V frames either way give.

    table (N, 2 V + 1): distances; column j pairs lips with the sound of j - V frames later. means (2 V + 1,):
    of its columns. s_d: the lowest mean. s_c: the median of the means minus s_d. offset: V minus the column
    of s_d, in frames of 40 ms: > 0 where sound comes too early. confidence (N,): of each window,
    median-filtered.
    """

    table: Tensor
    means: Tensor
    s_d: float
    s_c: float
    offset: int
    confidence: Tensor


def sync_scores(lips: Tensor, sound: Tensor, max_shift: int) -> SyncScores:
    """Scores of embeddings (N, E) and (N, E) of windows that begin with the same frames.

    Beyond both ends the sound is padded with zero embeddings, as published. Their share of the table is
    larger in short clips, so only scores of equally long clips can be compared.
    """
    count = len(lips)
    if lips.shape != sound.shape or not count:
        raise ValueError(
            f"lips {tuple(lips.shape)} and sound {tuple(sound.shape)}; wanted equal, at least one row."
        )
    padded = F.pad(sound, (0, 0, max_shift, max_shift))
    shifted = [F.pairwise_distance(lips, padded[j : j + count]) for j in range(2 * max_shift + 1)]
    table = torch.stack(shifted, 1)
    means = table.mean(0)
    best = int(means.argmin())
    s_d = float(means[best])
    single = (means.median() - table[:, best]).double().numpy()
    confidence = median_filter(single, MEDIAN_WINDOWS, mode="constant")  # zeros beyond both ends
    return SyncScores(
        table, means, s_d, float(means.median()) - s_d, max_shift - best, torch.from_numpy(confidence)
    )
