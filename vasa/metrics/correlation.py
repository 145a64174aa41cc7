"""How well one signal follows another: Pearson's r, shares of a ceiling, responses to what was asked for."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor


def pearson(a: Tensor, b: Tensor, dim: int = 0) -> Tensor:
    """Pearson's r of a and b along `dim`; 0 where either does not vary (a signal that never moves follows
    nothing).

    Raises: ValueError when the shapes differ or fewer than two values are compared.
    """
    if a.shape != b.shape or a.shape[dim] < 2:
        raise ValueError(
            f"pearson compares {tuple(a.shape)} with {tuple(b.shape)}; wanted equal shapes, 2 values or more."
        )
    a, b = a.double(), b.double()
    a, b = a - a.mean(dim, keepdim=True), b - b.mean(dim, keepdim=True)
    norms = a.norm(dim=dim) * b.norm(dim=dim)
    tiny = 1e-9 * a.shape[dim]
    return torch.where(norms > tiny, (a * b).sum(dim) / norms.clamp(min=tiny), torch.zeros_like(norms))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of (n,) and (n,); 0 where either does not vary."""
    return float(pearson(torch.from_numpy(rankdata(a)), torch.from_numpy(rankdata(b))))


def share_of_ceiling(generated: Tensor, true: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """How much of what a judge can see at all reaches generated frames.

    generated, true: what the judge says of generated frames and of true renders of the same animation,
    (N, ...). wanted: the animation's own values. Gives (r of generated against wanted) / (r of true against
    wanted), and the latter: the ceiling.
    """
    ceiling = pearson(true, wanted)
    return pearson(generated, wanted) / ceiling.clamp(min=1e-3), ceiling


def mean_over_clips(measured: list[Tensor], wanted: list[Tensor]) -> float:
    """Mean of the clips' own r, so that differences between clips count for nothing.

    Measured, wanted: lists of (T,).
    """
    if len(measured) != len(wanted) or not measured:
        raise ValueError(
            f"{len(measured)} measured clips against {len(wanted)} wanted; wanted as many, at least one."
        )
    return float(torch.stack([pearson(m, w) for m, w in zip(measured, wanted, strict=True)]).mean())


def shuffled_over_clips(measured: list[Tensor], wanted: list[Tensor]) -> float:
    """The control of ``mean_over_clips``:

    Every clip against the next clip's wanted values, cut to the shorter.
    """
    others = wanted[1:] + wanted[:1]
    lengths = [min(len(m), len(w)) for m, w in zip(measured, others, strict=True)]
    cut_m = [m[:n] for m, n in zip(measured, lengths, strict=True)]
    return mean_over_clips(cut_m, [w[:n] for w, n in zip(others, lengths, strict=True)])
