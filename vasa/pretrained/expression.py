"""Expression controls from frontalised crops of eyes and mouth.

``ExpressionNet`` says the eleven controls of records.py (the gaze among them) from two crops, cut by
landmarks it is given, at about twice the resolution of a 128 px frame. Weights: ``judge_expression``
(measures, is in no loss) and ``teacher_expression`` (in losses, never measures): other seeds, other people,
another trunk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from vasa.pretrained.config import RegionNetConfig
from vasa.pretrained.crops import EYES, MOUTH, Region, region_crop
from vasa.pretrained.files import load_network
from vasa.pretrained.trunk import Trunk
from vasa.records import CONTROL_INDEX, NUM_CONTROLS


class RegionReader(nn.Module):
    """One crop (B, 3, h, w) -> (B, hidden), keeping where in the crop each feature was."""

    def __init__(self, config: RegionNetConfig, region: Region) -> None:
        super().__init__()
        self.trunk = Trunk(config.widths, config.trunk)
        self.squeeze = nn.Conv2d(config.widths[-1], config.squeeze, 1)
        step = 2 ** len(config.widths)
        positions = (region.height // step) * (region.width // step)
        self.read = nn.Sequential(nn.Linear(config.squeeze * positions, config.hidden), nn.SiLU())

    def forward(self, crop: Tensor) -> Tensor:
        return self.read(self.squeeze(self.trunk(crop)[-1]).flatten(1))


class ExpressionNet(nn.Module):
    """images (B, 3, S, S) in [-1, 1], landmarks (B, 68, 2) -> controls (B, 11), order and units of
    CONTROL_NAMES.

    Differentiable in the images; landmarks only place the crops and get no gradient.
    """

    def __init__(self, config: RegionNetConfig) -> None:
        super().__init__()
        if config.outputs != NUM_CONTROLS:
            raise ValueError(f"expression network: outputs is {config.outputs}; wanted {NUM_CONTROLS}.")
        self.config = config
        self.eyes = RegionReader(config, EYES)
        self.mouth = RegionReader(config, MOUTH)
        self.head = nn.Sequential(
            nn.Linear(2 * config.hidden, config.hidden), nn.SiLU(), nn.Linear(config.hidden, config.outputs)
        )

    def forward(self, images: Tensor, landmarks: Tensor) -> Tensor:
        eyes = self.eyes(region_crop(images, landmarks, EYES))
        mouth = self.mouth(region_crop(images, landmarks, MOUTH))
        return self.head(torch.cat([eyes, mouth], -1)).float()

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Reads a network this project trained. Raises: FileNotFoundError, CheckpointError."""
        return load_network(cls, RegionNetConfig, path)


def blink(controls: Tensor) -> Tensor:
    """Mean closure (...,) of the two eyes of controls (..., 11)."""
    return (controls[..., CONTROL_INDEX["blink_left"]] + controls[..., CONTROL_INDEX["blink_right"]]) / 2
