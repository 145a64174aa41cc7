"""Rigid and learned warps between the volume as seen and the canonical volume, both ways (MegaPortraits,
section 3.1).

A volume as seen is aligned with the image: x with u, y with v upside down, z with depth, in perspective. The
canonical volume is the head frame's cube of half side ``REACH``. MegaPortraits uses an affine matrix on [-1,
1]^3 instead (weak perspective); ours is the renderer's and the proxy's camera, so that all parts agree.

Nothing here copies numbers from the host, so that rendering can be captured in a CUDA graph.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vasa.face.config import FaceConfig
from vasa.face.volumetric.encoders import CODE_SIDE
from vasa.geometry import CAMERA_DISTANCE, CAMERA_ZOOM, camera_rays, head_centre, rotation_matrix, to_camera
from vasa.nn.blocks import AdaptiveResBlock3d, Conv3d, ResBlock3d, group_norm, relu

REACH = 1.55
"""Half side of the canonical volume, in head units."""


def identity_grid(depth: int, size: int, device: torch.device | str | None = None) -> Tensor:
    """Voxel centres (D, H, W, 3) as (x, y, z) in [-1, 1], y DOWN as rows are, z towards the viewer."""
    axis = (torch.arange(size, device=device) + 0.5) / size * 2 - 1
    deep = (torch.arange(depth, device=device) + 0.5) / depth * 2 - 1
    z, y, x = torch.meshgrid(deep, axis, axis, indexing="ij")
    return torch.stack([x, y, z], -1)


def _downwards(like: Tensor) -> Tensor:
    """(1, -1, 1): between y up, of the head, and y down, of the grid."""
    flip = like.new_ones(3)
    flip[1].neg_()
    return flip


def seen_from_canonical(grid: Tensor, pose: Tensor) -> Tensor:
    """Canonical voxel positions (B or 1, D, H, W, 3) -> where they lie in the volume as seen under pose
    (B, 6).
    """
    flip = _downwards(grid) * REACH
    points = to_camera((grid * flip).flatten(1, 3), pose)
    centre_z = head_centre(pose)[:, None, 2:]
    depth = (CAMERA_DISTANCE - points[..., 2:]).clamp(min=0.5)
    uv = points[..., :2] * flip[:2].sign() * (CAMERA_ZOOM * CAMERA_DISTANCE) / depth
    return torch.cat([uv, (points[..., 2:] - centre_z) / REACH], -1).view(pose.shape[0], *grid.shape[1:])


def canonical_from_seen(grid: Tensor, pose: Tensor) -> Tensor:
    """The inverse of ``seen_from_canonical``: positions (B or 1, D, H, W, 3) as seen -> canonical
    positions.
    """
    flat = grid.flatten(1, 3)
    centre = head_centre(pose)[:, None]
    z = flat[..., 2:] * REACH + centre[..., 2:]
    rays = camera_rays(flat[..., :2])
    points = torch.cat([rays[..., :2] * (CAMERA_DISTANCE - z), z], -1) - centre
    flip = _downwards(grid) / REACH
    return (points @ rotation_matrix(pose[:, :3]) * flip).view(pose.shape[0], *grid.shape[1:])


class WarpGenerator(nn.Module):
    """Condition (B, id_channels, 4, 4) -> fields (B, 3 + extra, D, H, W), zero at the start (fig. 9b):
    offsets within +-warp_reach, then, where asked for, features to add to the volume.

    Each doubling comes after its block, as drawn, so nothing wider than widths[-1] channels ever has the
    volume's full size.
    """

    def __init__(self, config: FaceConfig, extra: int = 0) -> None:
        super().__init__()
        widths, channels = config.warp_widths, config.identity_channels
        self.start = nn.Conv2d(channels, widths[0] * CODE_SIDE, 1)
        self.blocks = nn.ModuleList(
            AdaptiveResBlock3d(a, b, channels, CODE_SIDE**2)
            for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.norm = group_norm(widths[-1])
        self.out = nn.Conv3d(widths[-1], 3 + extra, 3, padding=1)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.depth, self.size, self.reach = config.volume_depth, config.volume_size, config.warp_reach

    def forward(self, condition: Tensor, size: int | None = None) -> Tensor:
        """size: height and width of the volume to be warped, where it is not the config's."""
        x = rearrange(self.start(condition), "b (c d) h w -> b c d h w", d=CODE_SIDE)
        for block in self.blocks:
            deeper = 2 if x.shape[2] < self.depth else 1
            x = F.interpolate(block(x, condition), scale_factor=(deeper, 2, 2), mode="trilinear")
        fields = self.out(relu(self.norm(x))).float()
        offsets = fields[:, :3].tanh() * self.reach
        fields = torch.cat([offsets, fields[:, 3:]], 1) if fields.shape[1] > 3 else offsets
        wanted = (self.depth, size or self.size, size or self.size)
        return fields if fields.shape[2:] == wanted else F.interpolate(fields, wanted, mode="trilinear")


class WarpCondition(nn.Module):
    """(z_dyn, z_id) -> the generators' condition (B, id_channels, 4, 4): MegaPortraits' z + e_s, brought
    to one shape.
    """

    def __init__(self, config: FaceConfig) -> None:
        super().__init__()
        self.lift = nn.Linear(config.dynamics_dim, config.identity_channels * CODE_SIDE**2, bias=False)
        self.mix = nn.Conv2d(config.identity_channels, config.identity_channels, 1)

    def forward(self, z_dyn: Tensor, z_id: Tensor) -> Tensor:
        lifted = self.lift(z_dyn).view(-1, *z_id.shape[1:])
        return self.mix((lifted + z_id) * 0.5)


class VolumeRefiner(nn.Module):
    """G3D: a 3D U-Net on the canonical volume, (B, C, D, H, W) -> the same shape (fig. 9c).

    Skips go through one block and are added. As in the paper's figure the depth GROWS on the first way down
    where it is smaller than half the height of the config's volume, and shrinks back on the way up: 16, 32,
    16 and back for 64 x 64. A smaller volume of the same config has the same depths. Ours: the whole is a
    correction of the volume, added to it, so that appearance passes from the start; and "196" of the figure
    is read as 192.
    """

    def __init__(self, config: FaceConfig) -> None:
        super().__init__()
        widths, channels = config.refiner_widths, config.volume_channels
        inputs = [channels, *widths[:-1]]
        self.down = nn.ModuleList(ResBlock3d(a, b) for a, b in zip(inputs, widths, strict=True))
        self.middle = ResBlock3d(widths[-1], widths[-1])
        self.up = nn.ModuleList(ResBlock3d(b, a) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.skips = nn.ModuleList(ResBlock3d(width, width) for width in widths[:-1])
        self.last = ResBlock3d(widths[0], channels)
        self.norm, self.out = group_norm(channels), Conv3d(channels, channels)
        self.depths, height = [config.volume_depth], config.volume_size
        for _ in widths[:-1]:
            depth = self.depths[-1]
            self.depths.append(depth * 2 if depth < height // 2 else max(depth // 2, 1))
            height //= 2

    def forward(self, volume: Tensor) -> Tensor:
        x, kept = volume, []
        for index, block in enumerate(self.down):
            x = block(x)
            if index < len(self.down) - 1:
                kept.append(x)
                x = F.avg_pool3d(x, (1, 2, 2))
                x = F.interpolate(x, (self.depths[index + 1], *x.shape[3:]), mode="trilinear")
        x = x + self.middle(x)
        for block, skip, before in zip(reversed(self.up), reversed(self.skips), reversed(kept), strict=True):
            x = F.interpolate(block(x), before.shape[2:], mode="trilinear") + skip(before)
        return volume + self.out(relu(self.norm(self.last(x))))
