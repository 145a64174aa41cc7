"""The Fréchet distance of two sets of features, taken as two Gaussians: FVD and FID are this number.

    d = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))        Heusel et al. 2017, eq. 6

with means m and unbiased covariances S. tr (S1 S2)^(1/2) is the sum of the singular values of A1 A2^T, where
A = (X - m) / sqrt(N - 1): so no matrix root is taken, nothing can turn complex or negative, and it is exact
also with fewer rows than columns. The published implementations root covariances in float32 (off by up to
7e-4, and not zero for identical sets) or by scipy's sqrtm. Everything here is float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FLOOR_SPLITS = 8
"""Random halvings of the real set that a floor is the mean of."""


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Distance of features (N1, D) and (N2, D). A single row has no covariance: then the mean term alone.

    Raises: ValueError when the shapes do not fit, a set is empty or a value is not finite.
    """
    for name, features in (("first", first), ("second", second)):
        if features.ndim != 2 or len(features) < 1 or features.shape[1] != first.shape[-1]:
            raise ValueError(
                f"the {name} features have shape {tuple(features.shape)}; wanted (N, D), N at least 1, one D."
            )
        if not bool(features.isfinite().all()):
            raise ValueError(f"the {name} features are not all finite; find the clip that makes them so.")
    x1, x2 = first.detach().cpu().double(), second.detach().cpu().double()
    mean_term = (x1.mean(0) - x2.mean(0)).square().sum()
    a1, a2 = _root(x1), _root(x2)
    overlap = torch.linalg.matrix_norm(a1 @ a2.T, ord="nuc")
    distance = mean_term + a1.square().sum() + a2.square().sum() - 2 * overlap
    return float(distance.clamp(min=0))  # rounding may leave -1e-13 of two equal sets


def _root(features: Tensor) -> Tensor:
    """A (min(N, D), D) with A^T A = the covariance of features (N, D); N = 1 has none, A is zero."""
    num, dim = features.shape
    centred = (features - features.mean(0)) / max(num - 1, 1) ** 0.5
    return torch.linalg.qr(centred, mode="r").R if num > dim else centred


def split_half_distance(clips: Sequence[Tensor], seed: int) -> float:
    """Mean distance between random halves of one set of clips' features (n, D); NaN for a single clip.

    Whole clips are dealt, so that no video is in both halves. Each half has half the rows, so this lies above
    the distance that two full sets of one distribution would show: below it, nothing is told from real.
    """
    if len(clips) < 2:
        return math.nan
    generator = torch.Generator().manual_seed(seed)
    distances = []
    for _ in range(FLOOR_SPLITS):
        order = torch.randperm(len(clips), generator=generator).tolist()
        first, second = (torch.cat([clips[i] for i in order[part::2]]) for part in (0, 1))
        distances.append(frechet_distance(first, second))
    return sum(distances) / len(distances)


def compare_sets(
    column: str, made: Sequence[Tensor], real: Sequence[Tensor], least: int, seed: int
) -> dict[str, float]:
    """``column``, the distance of two sets of clips' features; its floor on the real one; counts of rows.

    NaN instead of a distance where a set has fewer than ``least`` rows: too few.
    """
    num_made, num_real = sum(map(len, made)), sum(map(len, real))
    enough, real_enough = min(num_made, num_real) >= least, num_real >= least
    return {
        column: frechet_distance(torch.cat(list(made)), torch.cat(list(real))) if enough else math.nan,
        f"{column}_floor": split_half_distance(real, seed) if real_enough else math.nan,
        "num_made": float(num_made),
        "num_real": float(num_real),
    }
