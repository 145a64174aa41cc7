"""What the golden values of the metric networks are checked through: published names in front, ours behind.

The networks are filled with made-up weights by their key names: an architecture is proven without files.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vasa.metrics.frechet import frechet_distance
from vasa.metrics.fvd import preprocess
from vasa.metrics.syncnet import SyncScores
from vasa.metrics.syncnet import sync_clip as score_clip
from vasa.metrics.syncnet import sync_scores as score_embeddings
from vasa.pretrained.i3d import I3D
from vasa.pretrained.mfcc import mfcc
from vasa.pretrained.syncnet import SyncNet

__all__ = ["I3D", "SyncNet", "mfcc"]


# I3D and FVD


def run_i3d(network: I3D, clips: Tensor) -> Tensor:
    """(N, 3, T, 224, 224) in [-1, 1] -> (N, 400)."""
    return network(clips)


def run_i3d_pooled(network: I3D, clips: Tensor) -> Tensor:
    """(N, 3, T, 224, 224) -> (N, 1024, T')."""
    return network.pooled(clips)


def fvd_preprocess(video: Tensor, method: str) -> Tensor:
    """(3, T, H, W) in [0, 1] -> (3, T, 224, 224) in [-1, 1]."""
    return preprocess(video, method)


def frechet(made: np.ndarray, real: np.ndarray) -> float:
    """Fréchet distance of two sets of features (N, D)."""
    return frechet_distance(torch.from_numpy(made), torch.from_numpy(real))


# SyncNet


def run_lip(network: SyncNet, windows: Tensor) -> Tensor:
    """(N, 3, 5, 224, 224), BGR, 0 to 255 -> (N, 1024)."""
    return network.lip(windows)[:, 0]


def run_lipfeat(network: SyncNet, windows: Tensor) -> Tensor:
    """(N, 3, 5, 224, 224) -> (N, 512)."""
    return network.lip_features(windows)[:, 0]


def run_aud(network: SyncNet, windows: Tensor) -> Tensor:
    """(N, 1, 13, 20) -> (N, 1024)."""
    return network.sound(windows)


def sync_scores(lips: Tensor, sound: Tensor, max_shift: int) -> dict[str, object]:
    """Scores of embeddings (N, D), by their published names."""
    return by_published_names(score_embeddings(lips, sound, max_shift))


def sync_clip(
    network: SyncNet, frames_bgr: np.ndarray, wave: np.ndarray, max_shift: int
) -> dict[str, object]:
    """Scores of frames (T, 224, 224, 3) in BGR and sound (N,) int16."""
    return by_published_names(score_clip(network, frames_bgr[..., ::-1], wave, max_shift))


def by_published_names(scores: SyncScores) -> dict[str, object]:
    return {
        "offset": scores.offset,
        "dist": scores.s_d,
        "conf": scores.s_c,
        "mdist": scores.means,
        "table": scores.table,
        "frame_conf": scores.confidence,
    }
