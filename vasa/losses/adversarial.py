"""The adversarial terms of MegaPortraits (section 3.2): hinge and feature matching over patches and scales.

They receive what a discriminator said: a list over scales of (scores (B, 1, h, w), list of features), see
face/volumetric/discriminator.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Verdict = list[tuple[Tensor, list[Tensor]]]


def _mean(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).mean()


def discriminator_hinge(real: Verdict, fake: Verdict) -> Tensor:
    """mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake)), averaged over the scales."""
    said = zip(real, fake, strict=True)
    return _mean([F.relu(1 - r.float()).mean() + F.relu(1 + f.float()).mean() for (r, _), (f, _) in said])


def generator_hinge(fake: Verdict) -> Tensor:
    """-mean D(fake), averaged over the scales: L_adv."""
    return _mean([-scores.float().mean() for scores, _ in fake])


def feature_matching(real: Verdict, fake: Verdict) -> Tensor:
    """L_FM: L1 between the discriminator's features of the two pictures, mean over layers and scales. The
    real side gets no gradient.
    """
    terms = [
        (a.float().detach() - b.float()).abs().mean()
        for (_, seen), (_, made) in zip(real, fake, strict=True)
        for a, b in zip(seen, made, strict=True)
    ]
    return _mean(terms)
