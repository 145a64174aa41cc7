"""W and G as frames need them: the same function of the same weights, for a fraction of the time.

Norms are folded into convolutions, convolutions over repeated pixels read each once, all branches that see
the same feature are one convolution, a shortcut's linear part goes through its 1 x 1 at once, what only the
source says is worked out once, everything is channels-last; on CPUs in fp32 by Winograd and Fourier
(convolutions.py). The plain graph beside it (warping.py, generator.py) is the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.face.keypoints.convolutions import AfterRepetition, DirectConv, conv_of
from vasa.face.keypoints.generator import LEAK, MIDDLE, Spade, SpadeBlock, SpadeGenerator, SpectralConv
from vasa.face.keypoints.warping import DenseMotion, WarpingModule, heat_maps, sample_volume, volume_grid

NORM_EPS = 1e-5


def folded(conv: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution and the batch norm behind it, as one."""
    assert isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d)
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None and conv.bias is not None
    scale = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    weight = conv.weight.double() * scale.view(-1, *[1] * (conv.weight.dim() - 1))
    bias = (conv.bias.double() - mean.double()) * scale + norm.bias.double()
    return weight.float(), bias.float()


@dataclass(slots=True)
class SourceVolume:
    """What W needs of a source: volume (1, 32, D, H, W), seen (1, 4, D, H, W) of it, keypoints (1, 21, 3) and
    their heat (1, 21, D, H, W); grid (D, H, W, 3).
    """

    volume: Tensor
    seen: Tensor
    keypoints: Tensor
    heat: Tensor
    grid: Tensor


class OptimisedWarping(nn.Module):
    """W. precision: of its convolutions; flows and masks are fp32."""

    def __init__(self, plain: WarpingModule, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.precision = precision
        dense = plain.dense_motion_network
        quick = precision == torch.float32 and dense.mask.weight.device.type == "cpu"
        self.compress = DirectConv(*folded(dense.compress, dense.norm), 0)
        encoder, decoder = dense.hourglass.encoder, dense.hourglass.decoder
        # planes of the encoder are small, and no multiples of Winograd's tiles
        self.down = nn.ModuleList(conv_of(*self._folded(block), False) for block in encoder.down_blocks)
        self.up = nn.ModuleList(AfterRepetition(*self._folded(block), 2) for block in decoder.up_blocks)
        self.last = conv_of(*self._folded(decoder), quick)
        self.mask = conv_of(*_pair(dense.mask, precision), quick)
        self.occlusion = DirectConv(*_pair(dense.occlusion, precision), 3)
        self.third = conv_of(*self._folded(plain.third), quick)
        self.fourth = DirectConv(*_pair(plain.fourth, precision), 0)
        self.leak = plain.third.leak
        self.to(dense.mask.weight.device).requires_grad_(False)

    def _folded(self, block: nn.Module) -> tuple[Tensor, Tensor]:
        weight, bias = folded(block.get_submodule("conv"), block.get_submodule("norm"))
        return weight.to(self.precision), bias.to(self.precision)

    def source(self, volume: Tensor, keypoints: Tensor) -> SourceVolume:
        """volume (1, 32, D, H, W) and keypoints (1, 21, 3): once for all frames."""
        seen = F.relu(self.compress(volume.float().movedim(1, -1))).movedim(-1, 1).contiguous()
        depth, height, width = volume.shape[2:]
        grid = volume_grid(depth, height, width, volume.device)
        heat = heat_maps(grid, keypoints.float())
        return SourceVolume(volume.float(), seen, keypoints.float(), heat, grid)

    def forward(self, source: SourceVolume, driving: Tensor) -> tuple[Tensor, DenseMotion]:
        """driving (B, 21, 3) -> feature (B, H, W, 256), channels last, and the motion."""
        batch, grid = len(driving), source.grid
        way = F.pad(source.keypoints - driving, (0, 0, 1, 0))
        flows = grid + way[:, :, None, None, None]
        found = self._hourglass(self._described(source, flows, driving))
        mask = self.mask(found).float().movedim(-1, 1)
        weights = mask.softmax(1)
        # flows are the grid and a way: so is their mean
        deformation = grid + torch.einsum("bkdhw,bkc->bdhwc", weights, way)
        flat = found.permute(0, 2, 3, 4, 1).flatten(-2)  # channels before depth, as the weights have them
        occlusion = torch.sigmoid(self.occlusion(flat).float())
        moved = sample_volume(source.volume.expand(batch, -1, -1, -1, -1), deformation)
        moved = (
            moved.flatten(1, 2).permute(0, 2, 3, 1).to(self.precision, memory_format=torch.contiguous_format)
        )
        feature = self.fourth(F.leaky_relu(self.third(moved), self.leak)) * occlusion.to(self.precision)
        return feature, DenseMotion(deformation, occlusion.movedim(-1, 1))

    def _described(self, source: SourceVolume, flows: Tensor, driving: Tensor) -> Tensor:
        """(B, D, H, W, 110)."""
        batch, num = flows.shape[:2]
        seen = source.seen.expand(batch * num, -1, -1, -1, -1)
        moved = sample_volume(seen, flows.flatten(0, 1)).unflatten(0, (batch, num))
        heat = F.pad(heat_maps(source.grid, driving) - source.heat, (0, 0, 0, 0, 0, 0, 1, 0))[:, :, None]
        maps = torch.cat([heat, moved], 2).flatten(1, 2)
        return maps.movedim(1, -1).to(self.precision, memory_format=torch.contiguous_format)

    def _hourglass(self, x: Tensor) -> Tensor:
        found = [x]
        for conv in self.down:
            found.append(_halved(F.relu_(conv(found[-1]))))
        x = found.pop()
        for conv in self.up:
            x = torch.cat([F.relu_(conv(x)), found.pop()], -1)
        return F.relu_(self.last(x))


def _halved(x: Tensor) -> Tensor:
    """(B, D, H, W, C) -> (B, D, H / 2, W / 2, C), averages."""
    planes = F.avg_pool2d(x.flatten(0, 1).permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    return planes.unflatten(0, x.shape[:2])


class _Norm(nn.Module):
    """A SPADE's scale and shift of the shared branch, as one convolution; of a shortcut, its shift is taken
    through the 1 x 1 that follows.
    """

    def __init__(self, norm: Spade, precision: torch.dtype, quick: bool, short: Tensor | None = None) -> None:
        super().__init__()
        (gamma, gamma_bias), (shift, shift_bias) = (
            _pair(conv, torch.float64) for conv in (norm.mlp_gamma, norm.mlp_beta)
        )
        if short is not None:
            matrix = short[:, :, 0, 0].double()
            shift, shift_bias = torch.einsum("oc,cikl->oikl", matrix, shift), matrix @ shift_bias
        weight, bias = torch.cat([gamma, shift]), torch.cat([gamma_bias + 1, shift_bias])
        self.channels = len(gamma)
        self.conv = conv_of(weight.to(precision), bias.to(precision), quick)

    def forward(self, said: Tensor) -> tuple[Tensor, Tensor]:
        """said (B, H, W, 128) -> 1 + gamma (B, H, W, C) and the shift."""
        both = self.conv(said)
        return both[..., : self.channels], both[..., self.channels :]


class _Block(nn.Module):
    """A SpadeBlock; factor: how often pixels of its input are repeated first."""

    def __init__(self, plain: SpadeBlock, precision: torch.dtype, quick: bool, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.norm_0 = _Norm(plain.norm_0, precision, quick)
        self.norm_1 = _Norm(plain.norm_1, precision, quick)
        self.conv_0 = conv_of(*_pair(plain.conv_0, precision), quick)
        self.conv_1 = conv_of(*_pair(plain.conv_1, precision), quick)
        self.widens = plain.widens
        if plain.widens:
            self.norm_s = _Norm(plain.norm_s, precision, quick, plain.conv_s.weight)
            self.register_buffer("short", plain.conv_s.weight[:, :, 0, 0].to(precision))
            self.short: Tensor

    def forward(self, x: Tensor, said: list[Tensor]) -> Tensor:
        """x (B, h, w, C), said: of norm_0, norm_1 (and norm_s) at (h factor, w factor)."""
        normal = _repeatable(_normalised(x), self.factor)
        inner = self.conv_0(_modulated(normal, *self.norm_0(said[0])))
        inner = self.conv_1(_modulated(_normalised(inner), *self.norm_1(said[1])))
        if not self.widens:
            return inner.add_(x)
        scale, shift = self.norm_s(said[2])
        scaled = (normal * scale.view(*_split(scale, normal))).view_as(scale)
        return inner.add_(F.linear(scaled, self.short)).add_(shift)


def _pair(conv: nn.Conv2d | nn.Conv3d | SpectralConv, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that has one."""
    assert conv.bias is not None
    return conv.weight.to(precision), conv.bias.to(precision)


def _normalised(x: Tensor) -> Tensor:
    """Instance norm of (B, H, W, C); statistics in fp32."""
    variance, mean = torch.var_mean(x.float(), (1, 2), correction=0, keepdim=True)
    scale = torch.rsqrt(variance + NORM_EPS)
    return torch.addcmul((-mean * scale).to(x.dtype), x, scale.to(x.dtype))


def _repeatable(x: Tensor, factor: int) -> Tensor:
    """(B, h, w, C) as (B, h, 1, w, 1, C), which spreads over repeated pixels."""
    return x if factor == 1 else x[:, :, None, :, None]


def _split(full: Tensor, normal: Tensor) -> tuple[int, ...]:
    """The shape in which (B, H, W, C) meets what _repeatable gives."""
    if normal.dim() == 4:
        return tuple(full.shape)
    batch, height, width, channels = full.shape
    down, across = normal.shape[1], normal.shape[3]
    return batch, down, height // down, across, width // across, channels


def _modulated(normal: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Leaky ReLU of normal scale + shift, at the size of the last two."""
    shape = (*_split(scale, normal)[:-1], scale.shape[-1])
    made = torch.addcmul(_as(shift, shape), normal, _as(scale, shape))
    return F.leaky_relu_(made, LEAK).reshape(scale.shape)


def _as(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A slice of channels in another shape of the same places; no copy where there are no repeated pixels."""
    if len(shape) == x.dim():
        return x
    batch, down, factor, across, other, _ = shape
    return x.unflatten(2, (across, other)).unflatten(1, (down, factor))


class OptimisedGenerator(nn.Module):
    """G: feature (B, 64, 64, 256), channels last -> picture (B, 3, 512, 512) in 0..1."""

    def __init__(self, plain: SpadeGenerator, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.precision = precision
        quick = precision == torch.float32 and plain.fc.weight.device.type == "cpu"
        middle, ups = plain.middle, (plain.up_0, plain.up_1)
        self.fc = conv_of(*_pair(plain.fc, precision), quick)
        self.blocks = nn.ModuleList(
            [_Block(block, precision, quick, 1) for block in middle]
            + [_Block(block, precision, quick, 2) for block in ups]
        )
        self.shared = nn.ModuleList(
            [conv_of(*_shared(middle, precision), quick)]
            + [AfterRepetition(*_shared([block], precision), f) for block, f in zip(ups, (2, 4), strict=True)]
        )
        self.last = DirectConv(*_pair(plain.to_image, precision), 1)
        self.to(plain.fc.weight.device).requires_grad_(False)

    def forward(self, feature: Tensor) -> Tensor:
        feature = feature.to(self.precision)
        said = F.relu_(self.shared[0](feature)).chunk(2 * MIDDLE, -1)
        x = self.fc(feature)
        for number in range(MIDDLE):
            x = self.blocks[number](x, list(said[2 * number : 2 * number + 2]))
        for shared, block in zip(self.shared[1:], self.blocks[MIDDLE:], strict=True):
            x = block(x, list(F.relu_(shared(feature)).chunk(3, -1)))
        x = self.last(F.leaky_relu_(x, LEAK)).permute(0, 3, 1, 2)
        return torch.sigmoid(F.pixel_shuffle(x, 2).float())


def _shared(blocks: Sequence[SpadeBlock], precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """The shared branches of all norms of blocks, side by side: they see the same feature."""
    convs = [norm.mlp_shared[0] for block in blocks for norm in block.norms]
    pairs = [_pair(conv, precision) for conv in convs if isinstance(conv, nn.Conv2d)]
    return torch.cat([weight for weight, _ in pairs]), torch.cat([bias for _, bias in pairs])
