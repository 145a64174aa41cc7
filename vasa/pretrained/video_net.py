"""A small video network: its features of a window follow who is seen, how they move and in what order.

It stands in for I3D where that is missing. Trained on synthetic clips to say, all linearly from its features,
how the window looks, how the head is posed and moves, and which fault it has how badly
(training/video_net_step.py): so a Fréchet distance over them feels appearance, sharpness, motion and temporal
order. Not comparable with I3D.

Beside what convolutions learn, it is given the energies of detail and of change: sharpness, noise and uneven
motion are plain in them, so that little training suffices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.nn.blocks import group_norm
from vasa.pretrained.config import VideoNetConfig
from vasa.pretrained.files import load_network

PATCH = 4
"""Pixels each way that the first layer reads as channels: no detail is averaged away before it."""
GRID = 4
"""Positions each way whose content is kept apart in the features."""
NUM_ENERGIES = 5
QUIET = 1e-6
"""Energy below which nothing is told apart: a tenth of a grey level."""


class VideoNet(nn.Module):
    """Windows (B, 3, T, S, S) in [-1, 1] -> features (B, E). A single frame is a window that stands still."""

    def __init__(self, config: VideoNetConfig) -> None:
        super().__init__()
        self.config = config
        w = config.widths
        self.stem = nn.Conv3d(3 * PATCH**2, w[0], (1, 3, 3), padding=(0, 1, 1))
        self.stages = nn.ModuleList(
            VideoStage(a, b, stride) for a, b, stride in zip(w[:-1], w[1:], (2, 2, 1), strict=True)
        )
        self.squeeze = nn.Linear(2 * w[-1], config.squeeze)
        self.energies = nn.Linear(3 * NUM_ENERGIES * GRID**2, config.energies)
        self.features = nn.Linear(config.squeeze * GRID**2 + config.energies, config.features_dim)

    def forward(self, windows: Tensor) -> Tensor:
        """(B, 3, T, S, S) -> (B, E), in fp32."""
        size = self.config.size
        if windows.ndim != 5 or windows.shape[1] != 3 or windows.shape[-2:] != (size, size):
            raise ValueError(f"windows have shape {tuple(windows.shape)}; wanted (B, 3, T, {size}, {size}).")
        patches = F.pixel_unshuffle(windows.transpose(1, 2), PATCH).transpose(1, 2)  # (B, 48, T, S/4, S/4)
        x = F.silu(self.stem(patches))
        for stage in self.stages:
            x = stage(x)  # (B, C, T/4, S/32, S/32) in the end
        with torch.autocast(windows.device.type, enabled=False):
            x = x.float()
            over_time = torch.cat([x.mean(2), x.var(2, correction=0).add(1e-4).sqrt()], 1)
            cells = F.adaptive_avg_pool2d(over_time, GRID).flatten(2).transpose(1, 2)  # (B, GRID^2, 2 C)
            seen = F.silu(self.squeeze(cells)).flatten(1)
            measured = F.silu(self.energies(log_energies(patches.float())))
            return self.features(torch.cat([seen, measured], 1))

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Reads a network this project trained. Raises: FileNotFoundError, CheckpointError."""
        return load_network(cls, VideoNetConfig, path)


class VideoStage(nn.Module):
    """x (B, cin, T, H, W) -> (B, cout, T / stride, H / 2, W / 2): three frames mixed, then space halved.

    The ends of a window are repeated where a frame before or after it would be read.
    """

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.time = nn.Conv3d(
            cin, cout, (3, 1, 1), (stride, 1, 1), padding=(1, 0, 0), padding_mode="replicate"
        )
        self.norm1, self.norm2 = group_norm(cout), group_norm(cout)
        self.down = nn.Conv3d(cout, cout, (1, 3, 3), (1, 2, 2), padding=(0, 1, 1))
        self.conv = nn.Conv3d(cout, cout, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(F.silu(self.norm1(self.time(x))))
        return x + self.conv(F.silu(self.norm2(x)))


def log_energies(patches: Tensor) -> Tensor:
    """Patches (B, 48, T, h, w) -> (B, 240): their means, minima and maxima over time, in 4x4 cells.

    Five energies of the grey picture, each the decimal logarithm of a mean square: of the detail inside
    patches, and of the first and second change from frame to frame of patches' means and of their details.
    """
    pixels = patches.unflatten(1, (3, PATCH**2)).mean(1)  # (B, 16, T, h, w)
    means = pixels.mean(1, keepdim=True)
    details = pixels - means
    signals = [details]
    for signal in (means, details):
        first = _change(signal)
        signals += [first, _change(first)]
    summaries = []
    for signal in signals:
        cells = F.adaptive_avg_pool2d(signal.square().mean(1), GRID)  # (B, T, GRID, GRID)
        level = torch.log10(cells.flatten(2) + QUIET) / 2 + 1.5  # -1.5 for nothing, 1.5 for white on black
        summaries += [level.mean(1), level.amin(1), level.amax(1)]
    return torch.cat(summaries, 1)


def _change(signal: Tensor) -> Tensor:
    """Differences along time of (B, P, T, h, w); none of a single frame."""
    return signal.diff(dim=2) if signal.shape[2] > 1 else torch.zeros_like(signal)
