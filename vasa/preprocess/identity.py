"""Who a clip shows, as one unit vector over several looks, and whether it is one person throughout.

ArcFace where its file is, else our own teacher of identity, which on photographs is a weak signal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.pretrained.arcface import ArcFace
from vasa.pretrained.identity import IdentityNet

Embed = Callable[[np.ndarray, Tensor], Tensor]
"""Frames uint8 (L, S, S, 3) and landmarks (L, 68, 2) -> unit vectors (L, E)."""
LOOKS = 8


@dataclass(slots=True)
class ClipIdentity:
    """embedding: unit vector (E,), mean over the looks. agreement: the lowest cosine of a look to the mean of
    the others, 1 where all are the same; a second person pulls it down. 1 for a single look.
    """

    embedding: Tensor
    agreement: float


def clip_identity(embed: Embed, frames: np.ndarray, landmarks: Tensor) -> ClipIdentity:
    """Of LOOKS frames, evenly spread over frames uint8 (T, S, S, 3) with landmarks (T, 68, 2)."""
    places = np.unique(np.linspace(0, len(frames) - 1, LOOKS).round().astype(int))
    return mean_identity(embed(frames[places], landmarks[torch.from_numpy(places)]))


def mean_identity(looks: Tensor) -> ClipIdentity:
    """Of unit vectors (L, E)."""
    total = looks.sum(0)
    others = F.cosine_similarity(looks, total - looks, dim=-1) if len(looks) > 1 else torch.ones(1)
    return ClipIdentity(F.normalize(total, dim=0), float(others.min()))


def embed_by(path: Path, device: torch.device | str = "cpu") -> Embed:
    """ArcFace from an ONNX file, our own network from safetensors. Raises: as they do."""
    if path.suffix != ".safetensors":
        return ArcFace(path).embed
    network = IdentityNet.from_pretrained(path).to(device)

    @torch.inference_mode()
    def embed(frames: np.ndarray, landmarks: Tensor) -> Tensor:
        images = torch.from_numpy(frames).permute(0, 3, 1, 2).to(device).float() / 127.5 - 1
        return network(images, landmarks.to(device)).float().cpu()

    return embed
