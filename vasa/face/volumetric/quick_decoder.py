"""The decoder of decoder.py for use alone: its weights in one precision and in channels-last order.

The same sums in fewer steps: what the warp's maps and pixels say is one product of patches instead of two
of rearranged planes, 1x1 convolutions are matrix products, and what is enlarged to the nearest is
normalised before that.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vasa.face.volumetric.decoder import Decoded, Decoder
from vasa.nn.blocks import Conv2d, effective
from vasa.nn.warp import enlarge, sample_image


class _Block:
    """A blocks.ResBlock2d, of an input that may be enlarged twice before it."""

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        self.norms = [(n.num_groups, n.weight, n.bias, n.eps) for n in (block.norm1, block.norm2)]
        self.convs = [_weights(conv, dtype) for conv in (block.conv1, block.conv2)]
        self.skip = None if isinstance(block.skip, nn.Identity) else _pointwise(block.skip, dtype)

    def __call__(self, x: Tensor, enlarged: bool = False) -> Tensor:
        h = F.relu(_normed(x, self.norms[0]), inplace=True)
        skip = x if self.skip is None else _at_points(x, self.skip)
        if enlarged:
            h, skip = _twice(h), _twice(skip)
        h = F.conv2d(h, *self.convs[0], padding=1)
        h = F.relu(_normed(h, self.norms[1]), inplace=True)
        return F.conv2d(h, *self.convs[1], padding=1).add_(skip)


class _Inputs:
    """A decoder.PixelInputs: maps and warped pixels in patches, features by the pixel."""

    def __init__(self, inputs: Any, dtype: torch.dtype) -> None:
        side = inputs.factor
        parts = [m.weight.view(len(m.weight), -1, side, side) for m in (inputs.maps, inputs.warped)]
        weight = torch.cat(parts, 1).permute(0, 2, 3, 1)  # (out, row, column, channel), as patches lie
        self.weight = weight.flatten(1).to(dtype)
        bias = torch.stack(
            [m.bias for m in (inputs.maps, inputs.warped, inputs.features) if m.bias is not None]
        )
        self.bias, self.side = bias.sum(0).to(dtype), side
        self.features = inputs.features.weight.flatten(1).to(dtype)

    def __call__(self, told: Tensor, carried: Tensor) -> Tensor:
        """told (B, S, S, c), carried (B, C, h, h) -> (B, out, h, h)."""
        patches = rearrange(told, "b (h i) (w j) c -> b h w (i j c)", i=self.side, j=self.side)
        said = F.linear(patches, self.weight, self.bias).permute(0, 3, 1, 2)
        return said.add_(_at_points(carried, (self.features, None)))


class QuickDecoder:
    """posed and what else Decoder.forward takes -> Decoded. Later changes of the decoder are not seen."""

    def __init__(self, decoder: Decoder, dtype: torch.dtype) -> None:
        self.dtype, self.shuffle, self.bound = dtype, decoder.shuffle, decoder.flow_bound
        self.project = _pointwise(decoder.project, dtype)
        self.blocks = [_Block(block, dtype) for block in decoder.blocks]
        self.ups = [_Block(block, dtype) for block in decoder.ups]
        norm = decoder.norm
        self.norm = (norm.num_groups, norm.weight, norm.bias, norm.eps)
        self.out = _weights(decoder.out, dtype)
        self.source_pixels = decoder.source_pixels
        self.inputs = [_Inputs(inputs, dtype) for inputs in decoder.inputs] if decoder.source_pixels else []
        self.dynamics = decoder.dynamics if decoder.source_pixels else None

    def __call__(
        self,
        posed: Tensor,
        maps: Tensor | None = None,
        features: list[Tensor] | None = None,
        warped: Tensor | None = None,
        flow: Tensor | None = None,
        dynamics: Tensor | None = None,
    ) -> Decoded:
        x = _at_points(self._ready(posed.flatten(1, 2)), self.project)
        told: list[Tensor] = []
        if self.source_pixels:
            assert maps is not None and features is not None and warped is not None and flow is not None
            assert self.dynamics is not None and dynamics is not None
            told = self._told(maps, features, warped, flow)
            said = self.dynamics(dynamics.float())
            x = x.add_(told[0]).add_(said.to(x.dtype)[..., None, None])
        for block in self.blocks:
            x = block(x)
        for level, block in enumerate(self.ups):
            x = block(x, enlarged=True)
            if told:
                x = x.add_(told[level + 1])
        x = F.conv2d(F.relu(_normed(x, self.norm), inplace=True), *self.out, padding=1)
        out = F.pixel_shuffle(x.float().contiguous(), self.shuffle)
        if not self.source_pixels:
            return Decoded(torch.tanh(out))
        residual = torch.tanh(out[:, 4:6]) * self.bound
        return Decoded(2 * torch.tanh(out[:, :3]), out[:, 3:4], residual.permute(0, 2, 3, 1))

    def _ready(self, x: Tensor) -> Tensor:
        return x.to(self.dtype, memory_format=torch.channels_last)

    def _told(self, maps: Tensor, features: list[Tensor], warped: Tensor, flow: Tensor) -> list[Tensor]:
        """What the warp says at every level, coarse first: see decoder.PixelInputs."""
        known = torch.cat([maps, warped], 1).permute(0, 2, 3, 1).to(self.dtype).contiguous()
        coarse_first = features[::-1] + [features[0]] * (len(self.inputs) - len(features))
        planes, found = flow.permute(0, 3, 1, 2), []
        for unit, feature in zip(self.inputs, coarse_first, strict=True):
            side = maps.shape[-1] // unit.side
            grid = enlarge(planes, side, side).permute(0, 2, 3, 1)
            found.append(unit(known, self._ready(sample_image(feature.float(), grid))))
        return found


def _weights(conv: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    weight = effective(conv) if isinstance(conv, Conv2d) else conv.weight
    weight = weight.to(dtype, memory_format=torch.channels_last, copy=True)
    return weight, None if conv.bias is None else conv.bias.to(dtype)


def _pointwise(conv: nn.Conv2d, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    assert conv.kernel_size == (1, 1)
    return conv.weight.flatten(1).to(dtype), None if conv.bias is None else conv.bias.to(dtype)


def _at_points(x: Tensor, weights: tuple[Tensor, Tensor | None]) -> Tensor:
    """A 1x1 convolution of x (B, C, H, W), channels last."""
    return F.linear(x.permute(0, 2, 3, 1), *weights).permute(0, 3, 1, 2)


def _normed(x: Tensor, norm: tuple[int, Tensor, Tensor, float]) -> Tensor:
    groups, weight, bias, eps = norm
    if x.is_cuda:  # its kernel wants one precision
        weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    return F.group_norm(x, groups, weight, bias, eps)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
