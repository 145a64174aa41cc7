"""W: where each place of the target comes from in the source's volume, and what is seen of it.

LivePortrait keeps face-vid2vid's dense motion (Wang et al. 2021) without its Jacobians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.face.keypoints.extractor import NUM_KEYPOINTS, VOLUME_CHANNELS, VOLUME_DEPTH, DownBlock, NormedConv

COMPRESSED = 4
NUM_FLOWS = NUM_KEYPOINTS + 1
HEAT_VARIANCE = 0.01
WIDTHS = (64, 128, 256, 512, 1024)
FEATURES = 256


def volume_grid(depth: int, height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Places (depth, height, width, 3) of a volume, x y z, corners at +-1."""
    z, y, x = (torch.linspace(-1, 1, n, device=device) for n in (depth, height, width))
    zz, yy, xx = torch.meshgrid(z, y, x, indexing="ij")
    return torch.stack([xx, yy, zz], -1)


def heat_maps(grid: Tensor, keypoints: Tensor) -> Tensor:
    """exp(-|grid - kp|^2 / (2 variance)): keypoints (B, K, 3) -> (B, K, D, H, W)."""
    away = grid - keypoints[:, :, None, None, None]
    return torch.exp(-0.5 * away.square().sum(-1) / HEAT_VARIANCE)


def sample_volume(volume: Tensor, places: Tensor) -> Tensor:
    """volume (B, C, D, H, W) at places (B, D, H, W, 3): trilinear, zero outside.

    Read with align_corners=False although the places are corner-aligned: as the weights were trained.
    """
    return F.grid_sample(volume, places, align_corners=False)


class UpBlock(NormedConv):
    """Doubles height and width by repetition, then convolution, norm, ReLU; depth stays."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=(1, 2, 2)))


class Encoder(nn.Module):
    """Five blocks down; gives the input and every result."""

    def __init__(self, inputs: int, inner: Sequence[int]) -> None:
        super().__init__()
        widths = (inputs, *inner)
        self.down_blocks = nn.ModuleList(DownBlock(3, a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        found = [x]
        for block in self.down_blocks:
            found.append(block(found[-1]))
        return found


class Decoder(nn.Module):
    """Five blocks up, each followed by the encoder's result of that size, then one more convolution."""

    def __init__(self, inputs: int, inner: Sequence[int]) -> None:
        super().__init__()
        up = (*inner[-2::-1], inner[0] // 2)
        before = (inner[-1], *(2 * width for width in up[:-1]))
        self.up_blocks = nn.ModuleList(UpBlock(3, a, b) for a, b in zip(before, up, strict=True))
        self.out_channels = up[-1] + inputs
        self.conv = nn.Conv3d(self.out_channels, self.out_channels, 3, padding=1)
        self.norm = nn.BatchNorm3d(self.out_channels)

    def forward(self, found: list[Tensor]) -> Tensor:
        x = found[-1]
        for block, skip in zip(self.up_blocks, found[-2::-1], strict=True):
            x = torch.cat([block(x), skip], 1)
        return F.relu(self.norm(self.conv(x)))


class Hourglass(nn.Module):
    def __init__(self, inputs: int, inner: Sequence[int]) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(inputs, inner), Decoder(inputs, inner)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


@dataclass(slots=True)
class DenseMotion:
    """deformation (B, D, H, W, 3): where places come from. occlusion (B, 1, H, W): what is seen, 0..1."""

    deformation: Tensor
    occlusion: Tensor


class DenseMotionNetwork(nn.Module):
    """A mixture of 22 flows, of the 21 keypoints and none at all, weighed at every place."""

    def __init__(self, narrow: int = 1) -> None:
        super().__init__()
        inputs = NUM_FLOWS * (1 + COMPRESSED)
        self.hourglass = Hourglass(inputs, [width // narrow for width in WIDTHS])
        out = self.hourglass.decoder.out_channels
        self.mask = nn.Conv3d(out, NUM_FLOWS, 7, padding=3)
        self.compress = nn.Conv3d(VOLUME_CHANNELS // narrow, COMPRESSED, 1)
        self.norm = nn.BatchNorm3d(COMPRESSED)
        self.occlusion = nn.Conv2d(out * (VOLUME_DEPTH // narrow), 1, 7, padding=3)

    def forward(self, volume: Tensor, driving: Tensor, source: Tensor) -> DenseMotion:
        """volume (B, 32, 16, 64, 64); keypoints (B, 21, 3)."""
        seen = F.relu(self.norm(self.compress(volume)))
        depth, height, width = volume.shape[2:]
        grid = volume_grid(depth, height, width, volume.device).to(driving.dtype)
        flows = self.flows(grid, driving, source)
        maps = self.described(seen, flows, self.heat(grid, driving, source))
        found = self.hourglass(maps)
        return self.mixed(flows, self.mask(found), self.occlusion(found.flatten(1, 2)))

    def flows(self, grid: Tensor, driving: Tensor, source: Tensor) -> Tensor:
        """(B, 22, D, H, W, 3): first none, then each keypoint's."""
        way = torch.cat([torch.zeros_like(source[:, :1]), source - driving], 1)
        return grid + way[:, :, None, None, None]

    def heat(self, grid: Tensor, driving: Tensor, source: Tensor) -> Tensor:
        """(B, 22, 1, D, H, W): where keypoints go to less where they come from; none for the first."""
        found = heat_maps(grid, driving) - heat_maps(grid, source)
        return torch.cat([torch.zeros_like(found[:, :1]), found], 1)[:, :, None]

    def described(self, seen: Tensor, flows: Tensor, heat: Tensor) -> Tensor:
        """(B, 110, D, H, W): per flow its heat map, and the compressed volume as it brings it."""
        spread = seen.repeat_interleave(NUM_FLOWS, 0)
        moved = sample_volume(spread, flows.flatten(0, 1)).unflatten(0, (-1, NUM_FLOWS))
        return torch.cat([heat.to(moved.dtype), moved], 2).flatten(1, 2)

    def mixed(self, flows: Tensor, mask: Tensor, occlusion: Tensor) -> DenseMotion:
        weights = mask.float().softmax(1)
        deformation = torch.einsum("bkdhw,bkdhwc->bdhwc", weights, flows.float())
        return DenseMotion(deformation, torch.sigmoid(occlusion))


class WarpingModule(nn.Module):
    """W: volume (B, 32, 16, 64, 64), driving and source keypoints (B, 21, 3) -> feature (B, 256, 64, 64)."""

    def __init__(self, narrow: int = 1) -> None:
        super().__init__()
        features = FEATURES // narrow
        self.dense_motion_network = DenseMotionNetwork(narrow)
        volume = (VOLUME_CHANNELS // narrow) * (VOLUME_DEPTH // narrow)
        self.third = NormedConv(2, volume, features, leak=0.01)
        self.fourth = nn.Conv2d(features, features, 1)

    def forward(self, volume: Tensor, driving: Tensor, source: Tensor) -> tuple[Tensor, DenseMotion]:
        motion = self.dense_motion_network(volume, driving, source)
        moved = sample_volume(volume, motion.deformation.to(volume.dtype))
        return self.fourth(self.third(moved.flatten(1, 2))) * motion.occlusion, motion
