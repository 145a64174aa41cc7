"""Redraws eyes and mouth of a portrait, as seen from the front, under other facial dynamics (in no paper).

A frontalised window of the source (encoders.frontal_crop) is moved by a learned flow and completed by
learned colours, told z_dyn of the source and of the driver. It is small and local, so it learns from some ten
thousand pairs what a decoder of whole frames needs many more for; and what it cannot draw from z_dyn, z_dyn
learns to say. Where pixels are carried rigidly (face.expression_warp=false) its changes travel with the face.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.face.config import CropWindow, FaceConfig
from vasa.face.volumetric.encoders import frontal_crop
from vasa.geometry import pixel_grid
from vasa.nn.blocks import group_norm, relu
from vasa.nn.warp import sample_image
from vasa.records import POSE_NAMES

FLOW_BOUND = 0.25
"""Largest learned shift, in half windows."""
COARSE = 8
"""Pixels a side of the cells in which the codes say where something happens."""
EDGE = 0.12
"""Share of a window, from its border inwards, over which its changes fade."""


class _ToldBlock(nn.Module):
    """A residual block whose second norm is scaled and shifted by a condition: x (B, C, h, w), condition
    (B, E).
    """

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.conv2 = group_norm(width), nn.Conv2d(width, width, 3, padding=1)
        self.told = nn.Linear(condition, 2 * width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gain, offset = self.told(condition)[..., None, None].chunk(2, 1)
        h = self.norm2(self.conv1(relu(self.norm1(x)))) * (1 + gain) + offset
        return x + self.conv2(relu(h))


class WindowPainter(nn.Module):
    """crop (B, 3, h, w) in [-1, 1] and condition (B, E) -> the crop redrawn, unchanged at the start."""

    def __init__(self, window: CropWindow, condition: int, width: int) -> None:
        super().__init__()
        self.cells = (window.height // COARSE, window.width // COARSE)
        self.stem = nn.Conv2d(12, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.where = nn.Linear(condition, 2 * width * self.cells[0] * self.cells[1])
        self.blocks = nn.ModuleList(_ToldBlock(2 * width, condition) for _ in range(2))
        self.up, self.last = nn.Conv2d(2 * width, width, 3, padding=1), _ToldBlock(width, condition)
        self.out = nn.Conv2d(width, 6 * 4, 3, padding=1)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, crop: Tensor, condition: Tensor) -> Tensor:
        fine = self.stem(F.pixel_unshuffle(crop, 2))
        x = self.down(relu(fine))
        where = self.where(condition).view(len(x), -1, *self.cells)
        x = x + F.interpolate(where, x.shape[-2:], mode="bilinear")
        for block in self.blocks:
            x = block(x, condition)
        x = self.last(fine + F.interpolate(self.up(x), fine.shape[-2:]), condition)
        out = F.pixel_shuffle(self.out(relu(x)), 2).float()
        shift = torch.tanh(out[:, :2]).permute(0, 2, 3, 1) * FLOW_BOUND
        moved = sample_image(crop.float(), pixel_grid(crop.shape[-2], crop.shape[-1], crop.device) + shift)
        return moved + torch.sigmoid(out[:, 2:3] - 1) * 2 * torch.tanh(out[:, 3:])


class ExpressionPainter(nn.Module):
    """All windows of the dynamics encoder, redrawn.

    The condition is both codes, and both poses, so that z_dyn need not say how light and nose fall.
    """

    def __init__(self, config: FaceConfig) -> None:
        super().__init__()
        self.windows = config.windows
        condition = 2 * config.dynamics_dim + 2 * len(POSE_NAMES)
        self.painters = nn.ModuleList(
            WindowPainter(window, condition, config.painter_width) for window in config.windows
        )

    def forward(
        self, image: Tensor, pose: Tensor, new_pose: Tensor, dynamics: Tensor, new_dynamics: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """image (B, 3, S, S) under pose (B, 6), dynamics (B, E), to be drawn under the new ones -> for each
        window its crop as it is, and redrawn.
        """
        condition = torch.cat([dynamics, new_dynamics, pose, new_pose], 1).float()
        found = []
        for window, painter in zip(self.windows, self.painters, strict=True):
            crop = frontal_crop(image, pose, window).float()
            found.append((crop, painter(crop, condition)))
        return found

    def changes(self, painted: list[tuple[Tensor, Tensor]], x: Tensor, y: Tensor) -> Tensor:
        """What was redrawn, at face-plane points x, y (B, H, W) -> (B, 3, H, W), 0 outside the windows."""
        total = x.new_zeros(len(x), 3, *x.shape[-2:])
        for window, (before, after) in zip(self.windows, painted, strict=True):
            u = (x - (window.x0 + window.x1) / 2) * 2 / (window.x1 - window.x0)
            v = ((window.y0 + window.y1) / 2 - y) * 2 / (window.y1 - window.y0)
            inside = ((1 - torch.maximum(u.abs(), v.abs())) / EDGE).clamp(0, 1)
            total = total + sample_image(after - before, torch.stack([u, v], -1)) * inside[:, None]
        return total
