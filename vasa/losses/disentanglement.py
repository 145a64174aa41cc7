"""Losses that keep identity, pose and dynamics apart: l_consist and l_cross_id of VASA-1, the contrastive
cycle of MegaPortraits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CYCLE_SCALE = 5.0
"""s of the contrastive term (MegaPortraits, section 3.2)."""
CYCLE_MARGIN = 0.2
"""m of the contrastive term."""


def consistency(pose_onto: Tensor, dynamics_onto: Tensor) -> Tensor:
    """l_consist (VASA-1, section 3.1): two images (B, C, H, W) that must agree, though no truth of them
    exists.

    pose_onto = D(V_j, id_j, pose_i, dyn_j) and dynamics_onto = D(V_i, id_i, pose_i, dyn_j), i and j frames of
    one video. VASA-1 does not say which discrepancy; ours is L1 (DPE, its source, adds a perceptual term), of
    which both sides get gradient.
    """
    return (pose_onto.float() - dynamics_onto.float()).abs().mean()


def cross_identity(source_embedding: Tensor, output_embedding: Tensor) -> Tensor:
    """l_cross_id (VASA-1, section 3.1): 1 - cos of face recognition features (B, E) of source and cross-
    reenacted image.
    """
    return (1 - F.cosine_similarity(source_embedding.float(), output_embedding.float(), dim=-1)).mean()


def contrastive_cycle(predicted: Tensor, driver: Tensor, other: Tensor) -> Tensor:
    """L_cos (MegaPortraits, section 3.2) on dynamics codes (B, E): the predicted image's code, its driver's,
    another video's.

    -log( exp d(z, z_d) / (exp d(z, z_d) + exp d(z, z_other)) ), d = s (cos - m) for the positive pair. As
    printed the margin stands on every pair and cancels; the authors' code puts it on the positive one only,
    and so do we. Printed, too, both pictures' terms (cycle, cross_cycle) share their negatives; each has its
    own here, as in that code.
    """
    positive = CYCLE_SCALE * (F.cosine_similarity(predicted.float(), driver.float(), dim=-1) - CYCLE_MARGIN)
    negative = CYCLE_SCALE * F.cosine_similarity(predicted.float(), other.float(), dim=-1)
    return -torch.log_softmax(torch.stack([positive, negative]), 0)[0].mean()


def decorrelation(z_dyn: Tensor, pose: Tensor) -> Tensor:
    """Mean squared correlation over the batch of each entry of z_dyn (B, E) with each of pose (B, 6), less
    what chance gives (1 / B). In no paper: a guard, without labels, against the leak that a linear probe
    would find.
    """
    z, p = (x.float() - x.float().mean(0) for x in (z_dyn, pose.detach()))
    z, p = z / z.std(0).clamp(min=1e-4), p / p.std(0).clamp(min=1e-4)
    return (z.T @ p / (len(z) - 1)).square().mean() - 1 / len(z)
