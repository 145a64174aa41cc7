"""Whether it is still the same person: distances between unit embeddings, in shares of the distance between
people.

Distance is 1 - cosine, as face recognition states it; it grows as the square of a small angle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vasa.metrics.protocol import EvalClip, Unscored
from vasa.metrics.seen import Seen
from vasa.pretrained.arcface import ArcFace

Embed = Callable[[np.ndarray], Tensor]
"""Frames uint8 (T, H, W, 3) -> unit vectors (T, E) of whoever is in them; raises Unscored where nobody is."""


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


def by_judge(seen: Seen) -> Embed:
    """Embeds with our identity judge, which is trained on procedural people and blunt on real ones."""
    return lambda frames: seen(frames).identity


def by_arcface(seen: Seen, network: ArcFace) -> Embed:
    """Embeds with ArcFace, aligned by the landmarks that the pose judge finds."""
    return lambda frames: network.embed(seen.framed(frames), seen(frames).landmarks)


class IdentityMetric:
    """Columns ``identity`` and ``identity_min``: mean and lowest cosine of a clip's frames to its portrait.

    embed: ``by_judge``, ``by_arcface``, or anything else that recognises. source: what it is, for the label.
    fingerprint: what it depends on (weights' hashes), as plain data.
    """

    name = "identity"

    def __init__(self, embed: Embed, source: str, fingerprint: dict[str, Any]) -> None:
        self._embed, self._source, self._fingerprint = embed, source, fingerprint

    @property
    def identity(self) -> dict[str, Any]:
        return {"metric": "identity", "version": 1, "source": self._source, **self._fingerprint}

    @property
    def label(self) -> str:
        return f"cosine to the portrait, by {self._source}"

    def measure(self, clip: EvalClip) -> dict[str, float]:
        """Numbers by column. Raises: Unscored without a portrait, or without a face in it or in the clip."""
        if clip.portrait is None:
            raise Unscored("no portrait")
        try:
            wanted = self._embed(clip.portrait[None])
        except Unscored as reason:
            raise Unscored(f"portrait: {reason}") from reason
        cosine = self._embed(clip.frames) @ wanted[0]
        return {"identity": float(cosine.mean()), "identity_min": float(cosine.min())}
