"""Who it is: a metric embedding of the head, blind to pose, expression, light and background.

Weights: ``judge_identity`` (measures) and ``teacher_identity`` (VASA-1's l_cross_id): other seeds, other
people, another trunk. Trained on procedural people only: on photographs it is a weak signal, see the card
of the judges.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.pretrained.config import IdentityNetConfig
from vasa.pretrained.crops import head_crop
from vasa.pretrained.files import load_network
from vasa.pretrained.trunk import Trunk


class IdentityNet(nn.Module):
    """images (B, 3, S, S) in [-1, 1] and landmarks (B, 68, 2) -> unit vectors (B, embedding_dim).

    Differentiable in the images; landmarks only place the crop and get no gradient.
    """

    def __init__(self, config: IdentityNetConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.widths, config.trunk)
        cells = (config.size // 2 ** len(config.widths)) ** 2
        self.squeeze = nn.Conv2d(config.widths[-1], 32, 1)
        self.embed = nn.Linear(32 * cells + config.widths[-1], config.embedding_dim)

    def forward(self, images: Tensor, landmarks: Tensor) -> Tensor:
        last = self.trunk(head_crop(images, landmarks, self.config.size))[-1]
        features = [F.silu(self.squeeze(last)).flatten(1), last.mean((2, 3))]
        return F.normalize(self.embed(torch.cat(features, -1)).float(), dim=-1)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Reads a network this project trained. Raises: FileNotFoundError, CheckpointError."""
        return load_network(cls, IdentityNetConfig, path)
