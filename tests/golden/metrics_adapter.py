"""What the golden values of the metric networks are checked through: published names in front, ours behind.

The networks are filled with made-up weights by their key names: an architecture is proven without files.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vasa.metrics.frechet import frechet_distance
from vasa.metrics.fvd import preprocess
from vasa.pretrained.i3d import I3D

__all__ = ["I3D"]


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
