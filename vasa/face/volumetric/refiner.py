"""The network that one person's minute trains: how several warped frames of them become one picture.

It looks at each warped frame, weighs them against each other at every place, and corrects what they make
together, by a small residual flow and a residual colour. It starts as the plain weighing: nothing corrected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.face.config import PersonConfig
from vasa.face.volumetric.pixels import MAP_NAMES
from vasa.nn.blocks import ResBlock2d, group_norm, relu
from vasa.records import NUM_CONTROLS, POSE_NAMES

CODE_WIDTH = 64
PARTS = ("upper", "lower")
"""Of a face: what eyes and brows show, and what the mouth does, seldom come together twice."""
PART_EDGE, PART_SOFT = -0.2, 0.06
"""Where on the face plane they meet, below the eyes, and over how much; head units."""
LEAST_SHARE = 1e-4
FACE_Y = MAP_NAMES.index("face_y")
_Layer = TypeVar("_Layer", nn.Linear, nn.Conv2d)


@dataclass(slots=True)
class Refined:
    """weight (B, M, S/2, S/2): of each warped frame, sums to 1. flow (B, S, S, 2): residual, image
    coordinates.
    colour (B, 3, S, S): to be added.
    """

    weight: Tensor
    flow: Tensor
    colour: Tensor


class PersonRefiner(nn.Module):
    """A U-Net at half the network's size, told the target's code at every level.

    code_dim: entries of a motion vector. size: S, px of the face space.
    """

    def __init__(self, config: PersonConfig, code_dim: int, size: int) -> None:
        super().__init__()
        widths, seen, maps = config.widths, config.source_width, len(MAP_NAMES)
        self.bound = config.residual_flow_px * 2 / size
        # how much each difference counts when frames are chosen and weighed for each part, as logarithms
        self.metric = nn.Parameter(torch.zeros(len(PARTS), len(POSE_NAMES) + NUM_CONTROLS))
        self.code = nn.Sequential(
            nn.Linear(code_dim, CODE_WIDTH), nn.ReLU(), nn.Linear(CODE_WIDTH, CODE_WIDTH), nn.ReLU()
        )
        self.look = nn.Conv2d(12 + maps, seen, 3, padding=1)
        self.apart = nn.Linear(code_dim, seen)
        self.compare = ResBlock2d(seen, seen)
        self.logit = _zero(nn.Conv2d(seen, 1, 1))
        self.begin = nn.Conv2d(seen + 12 + maps, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            ResBlock2d(widths[max(level - 1, 0)], width) for level, width in enumerate(widths)
        )
        self.told = nn.ModuleList(_zero(nn.Linear(CODE_WIDTH, 2 * width)) for width in widths)
        self.narrow = nn.ModuleList(
            nn.Conv2d(wide, width, 1) for wide, width in zip(widths[1:], widths[:-1], strict=True)
        )
        self.up = nn.ModuleList(ResBlock2d(width, width) for width in widths[:-1])
        self.norm = group_norm(widths[0])
        self.out = _zero(nn.Conv2d(widths[0], 5 * 4, 3, padding=1))

    def forward(self, warped: Tensor, maps: Tensor, shares: Tensor, code: Tensor, apart: Tensor) -> Refined:
        """warped (B, M, 3, S, S), maps (B, M, 12, S/2, S/2) of their warps, shares (B, 2, M): how much each
        counts in the upper and in the lower part, code (B, E) of the target, apart (B, M, E): how far the
        kept frames' are from it.
        """
        batch, near, _, size, _ = warped.shape
        shuffled = F.pixel_unshuffle(warped.flatten(0, 1), 2)
        seen = self.look(torch.cat([shuffled, maps.flatten(0, 1)], 1))
        seen = self.compare(seen + self.apart(apart.flatten(0, 1))[..., None, None])
        logit = self.logit(seen).float().view(batch, near, size // 2, size // 2)
        weight = (logit + _prior(maps[:, 0, FACE_Y], shares)).softmax(1)
        mixed = [_mixed(each.unflatten(0, (batch, near)), weight) for each in (seen, shuffled)]
        x = self.begin(torch.cat([*mixed, _mixed(maps, weight)], 1))
        told, kept = self.code(code), []
        for level, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if level else x)
            gain, offset = self.told[level](told)[..., None, None].chunk(2, 1)
            x = x * (1 + gain) + offset
            kept.append(x)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(self.narrow[level](x), scale_factor=2, mode="nearest")
            x = self.up[level](x + kept[level])
        made = F.pixel_shuffle(self.out(relu(self.norm(x))), 2).float()
        flow = torch.tanh(made[:, 3:]) * self.bound
        return Refined(weight, flow.permute(0, 2, 3, 1), 2 * torch.tanh(made[:, :3] / 2))


def _prior(face_y: Tensor, shares: Tensor) -> Tensor:
    """Logarithms of what frames count at each place (B, M, h, h) of a height face_y (B, h, h) on the face."""
    upper = torch.sigmoid((face_y.float() - PART_EDGE) / PART_SOFT)[:, None]
    above, below = shares[..., None, None].unbind(1)
    return (upper * above + (1 - upper) * below + LEAST_SHARE).log()


def _mixed(values: Tensor, weight: Tensor) -> Tensor:
    """values (B, M, C, h, h) under weight (B, M, h, h) -> (B, C, h, h)."""
    return (values * weight[:, :, None].to(values.dtype)).sum(1)


def _zero(layer: _Layer) -> _Layer:
    """Starts a layer at saying nothing."""
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
