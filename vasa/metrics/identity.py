"""Whether it is still the same person: distances between unit embeddings, in shares of the distance between
people.

Distance is 1 - cosine, as face recognition states it; it grows as the square of a small angle.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """1 - cosine of unit vectors (B, E) and (B, E): (B,)."""
    return 1 - (a * b).sum(-1)


def distance_between_people(embeddings: Tensor, people: Tensor) -> float:
    """Mean distance over all pairs of different people; embeddings (N, E), people (N,) integers."""
    distances = 1 - embeddings @ embeddings.T
    different = people[:, None] != people[None]
    if not different.any():
        raise ValueError("the distance between people was asked for with one person; wanted at least two.")
    return float(distances[different].mean())


def change_share(before: Tensor, after: Tensor, between_people: float) -> float:
    """Mean distance from before to after (N, E), as a share of the distance between people."""
    return float(cosine_distance(before, after).mean()) / between_people


def verification_accuracy(embeddings: Tensor, people: Tensor) -> float:
    """Accuracy of "same person?" at the best single threshold, same and different pairs weighted equally."""
    above = torch.triu(torch.ones(len(people), len(people), dtype=torch.bool, device=people.device), 1)
    similarity, same = (embeddings @ embeddings.T)[above], (people[:, None] == people[None])[above]
    if same.all() or not same.any():
        raise ValueError("verification needs pairs of the same person and of different people.")
    order = similarity.argsort(descending=True)
    hits = same[order].double().cumsum(0) / same.sum()
    false_alarms = (~same[order]).double().cumsum(0) / (~same).sum()
    return float(((hits + 1 - false_alarms) / 2).max())
