"""P and G2D of MegaPortraits (fig. 9d): a posed volume to an image, or, with source pixels, to
corrections of the geometric warp.

In the paper's sizes: reshape to 1536 and 1x1 to 512 at 64 x 64, eight blocks, doublings to 256, 128, 64.
Ours: tanh to [-1, 1] instead of a sigmoid to [0, 1], and with pixel_shuffle > 1 the last doublings are one
sub-pixel head, because full width at full size is most of the memory traffic.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vasa.face.config import FaceConfig
from vasa.face.volumetric.pixels import MAP_NAMES
from vasa.nn.blocks import ResBlock2d, group_norm, relu
from vasa.nn.warp import sample_image, upsample_flow


@dataclass(slots=True)
class Decoded:
    """What the decoder says of B frames at network size: colour (B, 3, S, S) in [-1, 1] without source
    pixels.

    With them: colour is a correction of the warped pixels, mask_logit (B, 1, S, S) says where it replaces
    them, and flow (B, S, S, 2) is the bounded residual of the geometric flow, image coordinates.
    """

    colour: Tensor
    mask_logit: Tensor | None = None
    flow: Tensor | None = None


class PixelInputs(nn.Module):
    """What the decoder is told beside the volume when source pixels are carried: the warp's maps and the
    source's features.
    """

    def __init__(self, config: FaceConfig, channels: int, source_channels: int, factor: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(len(MAP_NAMES) * factor**2, channels, 1)
        self.features = nn.Conv2d(source_channels, channels, 1)
        self.warped = nn.Conv2d(3 * factor**2, channels, 1)
        self.factor = factor

    def forward(self, maps: Tensor, features: Tensor, warped: Tensor, flow: Tensor) -> Tensor:
        """maps (B, 12, S, S), features (B, c, h, h) of the source, its warped pixels (B, 3, S, S), flow
        (B, S, S, 2).
        """
        side = maps.shape[-1] // self.factor
        carried = sample_image(features, upsample_flow(flow, side, side))
        shuffled = F.pixel_unshuffle(maps, self.factor), F.pixel_unshuffle(warped, self.factor)
        return self.maps(shuffled[0]) + self.features(carried) + self.warped(shuffled[1])


class Decoder(nn.Module):
    """Posed volume (B, C, D, h, h) -> Decoded at network size."""

    def __init__(self, config: FaceConfig) -> None:
        super().__init__()
        width, ups = config.decoder_width, config.decoder_up_widths
        self.project = nn.Conv2d(config.volume_channels * config.volume_depth, width, 1)
        self.blocks = nn.Sequential(*(ResBlock2d(width, width) for _ in range(config.decoder_blocks)))
        inputs = [width, *ups[:-1]]
        self.ups = nn.ModuleList(ResBlock2d(a, b) for a, b in zip(inputs, ups, strict=True))
        last = ups[-1] if ups else width
        self.norm = group_norm(last)
        self.shuffle, self.source_pixels = config.pixel_shuffle, config.source_pixels
        channels = 6 if config.source_pixels else 3
        self.out = nn.Conv2d(last, channels * config.pixel_shuffle**2, 3, padding=1)
        self.flow_bound = config.residual_flow_px * 2 / config.size
        if config.source_pixels:
            assert self.out.bias is not None
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)
            scales = [config.size // config.volume_size // 2**level for level in range(len(ups) + 1)]
            sources = list(reversed(config.feature_widths))
            sources += [sources[-1]] * (len(scales) - len(sources))
            self.inputs = nn.ModuleList(
                PixelInputs(config, w, s, f) for w, s, f in zip([width, *ups], sources, scales, strict=True)
            )
            self.dynamics = nn.Linear(2 * config.dynamics_dim, width)

    def forward(
        self,
        posed: Tensor,
        maps: Tensor | None = None,
        features: list[Tensor] | None = None,
        warped: Tensor | None = None,
        flow: Tensor | None = None,
        dynamics: Tensor | None = None,
    ) -> Decoded:
        """With source pixels: maps (B, 12, S, S) and flow (B, S, S, 2) of the geometric warp, E_app's
        features (finest first), the warped source (B, 3, S, S), dynamics (B, 2 E): the source's and the
        target's z_dyn."""
        x = self.project(rearrange(posed, "b c d h w -> b (c d) h w"))
        told = None
        if self.source_pixels:
            assert maps is not None and features is not None and warped is not None and flow is not None
            coarse_first = features[::-1] + [features[0]] * (len(self.inputs) - len(features))
            told = [
                unit(maps, feature, warped, flow)
                for unit, feature in zip(self.inputs, coarse_first, strict=True)
            ]
            x = x + told[0] + self.dynamics(dynamics)[..., None, None]
        x = self.blocks(x)
        for level, block in enumerate(self.ups):
            x = block(F.interpolate(x, scale_factor=2, mode="nearest"))
            if told is not None:
                x = x + told[level + 1]
        out = F.pixel_shuffle(self.out(relu(self.norm(x))), self.shuffle).float()
        if not self.source_pixels:
            return Decoded(torch.tanh(out))
        residual = torch.tanh(out[:, 4:6]) * self.flow_bound
        return Decoded(2 * torch.tanh(out[:, :3]), out[:, 3:4], residual.permute(0, 2, 3, 1))
