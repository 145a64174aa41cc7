"""The small convolutional trunks of our stand-in networks. They know of pixels and widths, nothing of faces.

Two kinds, so that a teacher and a judge of the same thing are different networks: ``residual`` (halving
convolutions, each followed by a pre-activation residual block) and ``plain`` (two convolutions a stage, no
skips).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vasa.nn.blocks import ResBlock2d, group_norm


class PlainStage(nn.Module):
    """Two 3x3 convolutions with GroupNorm and SiLU: x (B, cin, H, W) -> (B, cout, H, W)."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(cin, cout, 3, padding=1, bias=False), group_norm(cout)
        self.conv2, self.norm2 = nn.Conv2d(cout, cout, 3, padding=1, bias=False), group_norm(cout)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm2(self.conv2(F.silu(self.norm1(self.conv1(x))))))


class Trunk(nn.Module):
    """Image (B, 3, H, W) -> one feature map per stage; stage i is at 1/2^(i+1) of the input (stage 0: 1/2).

    The first stage reads 2x2 pixels as 12 channels. kind: "residual" or "plain".
    """

    def __init__(self, widths: list[int], kind: str, cin: int = 3) -> None:
        super().__init__()
        make = {"residual": ResBlock2d, "plain": PlainStage}[kind]
        self.stem = nn.Conv2d(cin * 4, widths[0], 3, padding=1)
        self.downs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.stages = nn.ModuleList(make(width, width) for width in widths[1:])

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [self.stem(F.pixel_unshuffle(x, 2))]
        for down, stage in zip(self.downs, self.stages, strict=True):
            maps.append(stage(down(F.silu(maps[-1]))))
        return maps
