"""Which emotion a stretch of frames shows, from what the expression judge read in them.

A single talking frame hardly shows one: the mouth belongs to speech. So the judge reads the mean of the
eleven controls over some frames, which speech and blinks leave. Weights: ``judge_emotion`` (measures, is in
no loss).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from torch import Tensor, nn

from vasa.pretrained.config import EmotionNetConfig
from vasa.pretrained.files import load_network
from vasa.records import EMOTIONS, NUM_CONTROLS


class EmotionNet(nn.Module):
    """Mean controls (B, 11) of a stretch of frames -> weights (B, 8) over EMOTIONS that sum to 1."""

    def __init__(self, config: EmotionNetConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden
        self.layers = nn.Sequential(
            nn.Linear(NUM_CONTROLS, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, len(EMOTIONS)),
        )

    def logits(self, controls: Tensor) -> Tensor:
        return self.layers(controls).float()

    def forward(self, controls: Tensor) -> Tensor:
        return self.logits(controls).softmax(-1)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Reads a network this project trained. Raises: FileNotFoundError, CheckpointError."""
        return load_network(cls, EmotionNetConfig, path)
