"""Kalman smoothing of a clip's motion (Rauch, Tung and Striebel 1965): every number by itself walks at random
and is seen with noise.
"""

from __future__ import annotations

import torch
from torch import Tensor

PROCESS_VARIANCE = 1e-5


def smoothed(values: Tensor, observation_variance: float) -> Tensor:
    """values (T, ...) -> the same, smoothed forwards and backwards. The first frame starts it, with variance
    1.
    """
    count = len(values)
    seen = values.double()
    means, variances, predicted = [seen[0]], [], []
    variance = 1.0
    gain = variance / (variance + observation_variance)
    variance = (1 - gain) * variance
    variances.append(variance)
    for frame in range(1, count):
        before = variance + PROCESS_VARIANCE
        predicted.append(before)
        gain = before / (before + observation_variance)
        means.append(means[-1] + gain * (seen[frame] - means[-1]))
        variance = (1 - gain) * before
        variances.append(variance)
    result = [means[-1]]
    for frame in range(count - 2, -1, -1):
        share = variances[frame] / predicted[frame]
        result.append(means[frame] + share * (result[-1] - means[frame]))
    return torch.stack(result[::-1]).to(values)
