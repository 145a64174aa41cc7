"""Convolutions that give the same numbers for less work, for frozen networks. Everything is channels-last:
pictures (B, H, W, C), volumes (B, D, H, W, C).

    after repetition   a kernel that runs over repeated pixels reads some of them twice: its taps are added up
                       first, one smaller kernel for each place within a repeated pixel
    Winograd           F(4 x 4, 3 x 3) of Lavin and Gray 2016: 36 products for 16 results instead of 144, at
    the points 0, +-3/4, +-3/2, which lose a third as much to rounding as theirs Fourier            wide
    kernels, in tiles, by overlap and save

The last two pay on CPUs in fp32; elsewhere ``conv_of`` gives the library's.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE, KERNEL = 4, 3
SIDE = TILE + KERNEL - 1
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
STRIP = 4
"""Rows of tiles at a time: what lies between the steps then stays in the cache."""
FEWEST_CHANNELS = 48
"""Of input or output, below which Winograd's transforms cost more than they save."""
FOURIER_TILE = 28


def _winograd_matrices() -> tuple[Tensor, Tensor, Tensor]:
    """A^T (4, 6), G (6, 3), B^T (6, 6), float64, by Toom and Cook; rows of B^T scaled to at most 1."""
    points = torch.tensor(POINTS, dtype=torch.float64)

    def vandermonde(width: int) -> Tensor:
        finite = points[:, None] ** torch.arange(width, dtype=torch.float64)
        infinity = torch.zeros(1, width, dtype=torch.float64)
        infinity[0, -1] = 1
        return torch.cat([finite, infinity])

    inverse = torch.linalg.inv(vandermonde(SIDE)).T
    scale = inverse.abs().amax(1, keepdim=True)
    return vandermonde(TILE).T.contiguous(), vandermonde(KERNEL) * scale, inverse / scale


class DirectConv(nn.Module):
    """The library's convolution of a channels-last picture or volume."""

    def __init__(self, weight: Tensor, bias: Tensor | None, padding: int | Sequence[int]) -> None:
        super().__init__()
        volume = weight.dim() == 5
        layout = torch.channels_last_3d if volume else torch.channels_last
        self.register_buffer("weight", weight.contiguous(memory_format=layout))
        self.register_buffer("bias", bias)
        self.weight: Tensor
        self.bias: Tensor | None
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        conv = F.conv3d if self.weight.dim() == 5 else F.conv2d
        return conv(x.movedim(-1, 1), self.weight, self.bias, padding=self.padding).movedim(1, -1)


class WinogradConv(nn.Module):
    """3 x 3 with padding 1 of (B, H, W, C), H and W multiples of 4; and 3 x 3 x 3 of (B, D, H, W, C), whose
    taps along depth are added up.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        back, kernel, tile = _winograd_matrices()
        volume = weight if weight.dim() == 5 else weight[:, :, None]
        turned = torch.einsum("ik,ocdkl,jl->ijdco", kernel, volume.double().cpu(), kernel)
        self.taps = volume.shape[2]
        self.register_buffer("products", turned.flatten(0, 1).flatten(1, 2).float())  # (36, taps C, O)
        self.register_buffer("into", torch.kron(tile, tile).float())
        self.register_buffer("back", torch.kron(back, back).float())
        self.register_buffer("bias", None if bias is None else bias.float())
        self.products: Tensor
        self.into: Tensor
        self.back: Tensor
        self.bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            return self._planes(x)
        batch, depth = x.shape[:2]
        return self._planes(x.flatten(0, 1), depth).unflatten(0, (batch, depth))

    def _planes(self, x: Tensor, depth: int = 1) -> Tensor:
        """x (N, H, W, C); with several taps N is batches of ``depth`` planes."""
        num, height, width, channels = x.shape
        outputs, across = self.products.shape[2], width // TILE
        padded = F.pad(x, (0, 0, 1, 1, 1, 1))
        result = x.new_empty(num, height, width, outputs)
        per_strip = max(1, STRIP // num)
        for first in range(0, height // TILE, per_strip):
            rows = min(per_strip, height // TILE - first)
            strip = padded[:, TILE * first : TILE * (first + rows) + KERNEL - 1]
            tiles = strip.unfold(1, SIDE, TILE).unfold(2, SIDE, TILE).permute(4, 5, 0, 1, 2, 3)
            turned = (self.into @ tiles.reshape(SIDE * SIDE, -1)).view(SIDE * SIDE, num, -1, channels)
            found = torch.bmm(self._beside(turned, depth).flatten(1, 2), self.products)
            made = (self.back @ found.view(SIDE * SIDE, -1)).view(TILE, TILE, num, rows, across, outputs)
            place = result[:, TILE * first : TILE * (first + rows)].view(num, rows, TILE, across, TILE, -1)
            torch.add(made.permute(2, 3, 0, 4, 1, 5), 0 if self.bias is None else self.bias, out=place)
        return result

    def _beside(self, turned: Tensor, depth: int) -> Tensor:
        """(36, N, tiles, C) -> (36, N, tiles, taps C): with the planes before and after each."""
        if self.taps == 1:
            return turned
        planes = F.pad(turned.unflatten(1, (-1, depth)), (0, 0, 0, 0, 1, 1))
        near = [planes[:, :, tap : tap + depth].flatten(1, 2) for tap in range(self.taps)]
        return torch.cat(near, -1)


class FourierConv(nn.Module):
    """K x K x K with padding K // 2 of a volume (B, D, H, W, C): planes in tiles of 28, every tap along depth
    as channels of its own, which are then added up at their depths.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.outputs, self.kernel = weight.shape[0], weight.shape[-1]
        flat = weight.double().cpu().permute(1, 2, 0, 3, 4).flatten(1, 2)  # (C, taps O, K, K)
        turned = torch.fft.rfft2(flat, (FOURIER_TILE, FOURIER_TILE)).conj()
        self.register_buffer("products", turned.permute(2, 3, 0, 1).flatten(0, 1).to(torch.complex64))
        self.register_buffer("bias", None if bias is None else bias.float())
        self.products: Tensor
        self.bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        batch, depth, height, width, channels = x.shape
        kernel, side = self.kernel, FOURIER_TILE
        fresh = side - kernel + 1
        down, across = -(-height // fresh), -(-width // fresh)
        reach = kernel // 2
        padded = F.pad(
            x.float().flatten(0, 1).permute(0, 3, 1, 2),
            (reach, across * fresh - width + reach, reach, down * fresh - height + reach),
        )
        tiles = padded.unfold(2, side, fresh).unfold(3, side, fresh)  # (N, C, down, across, side, side)
        turned = (
            torch.fft.rfft2(tiles).permute(4, 5, 0, 2, 3, 1).reshape(side * (side // 2 + 1), -1, channels)
        )
        found = torch.bmm(turned, self.products).view(side, side // 2 + 1, -1)
        made = torch.fft.irfft2(found, (side, side), dim=(0, 1))[:fresh, :fresh]
        made = made.reshape(fresh, fresh, batch, depth, down, across, kernel, self.outputs)
        made = made.permute(6, 2, 3, 4, 0, 5, 1, 7).reshape(
            kernel, batch, depth, down * fresh, across * fresh, self.outputs
        )[:, :, :, :height, :width]
        result = x.new_zeros(batch, depth, height, width, self.outputs, dtype=torch.float32)
        if self.bias is not None:
            result += self.bias
        for tap in range(kernel):
            shift = tap - reach
            if abs(shift) >= depth:
                continue
            here, there = (
                slice(max(-shift, 0), depth - max(shift, 0)),
                slice(max(shift, 0), depth + min(shift, 0)),
            )
            result[:, here] += made[tap][:, there]
        return result


def conv_of(weight: Tensor, bias: Tensor | None, quick: bool) -> nn.Module:
    """A convolution that keeps the size. quick: fp32 on a CPU."""
    outputs, inputs, kernel = weight.shape[0], weight.shape[1], weight.shape[-1]
    if quick and kernel == KERNEL and min(inputs, outputs) >= FEWEST_CHANNELS:
        return WinogradConv(weight, bias)
    if quick and kernel > KERNEL and weight.dim() == 5:
        return FourierConv(weight, bias)
    return DirectConv(weight, bias, kernel // 2)


class AfterRepetition(nn.Module):
    """A convolution of size 3 over a picture or planes whose pixels were repeated ``factor`` times in height
    and width, without repeating them: (B, [D,] H, W, C) -> (B, [D,] H factor, W factor, O).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, factor: int) -> None:
        super().__init__()
        self.factor, self.outputs = factor, weight.shape[0]
        groups: dict[tuple[tuple[int, tuple[int, ...]], ...], list[int]] = {}
        for phase in range(factor):
            groups.setdefault(_taps(phase, factor), []).append(phase)
        self.parts: list[tuple[list[int], list[int], int, int]] = []
        convs = []
        for (down, rows), (across, columns) in itertools.product(groups.items(), repeat=2):
            small = torch.stack([_summed(weight, down, i, -2) for i in range(len(down))], -2)
            small = torch.stack([_summed(small, across, i, -1) for i in range(len(across))], -1)
            padding = (1, 0, 0) if weight.dim() == 5 else 0
            convs.append(DirectConv(small, bias, padding))
            self.parts.append((rows, columns, down[0][0], across[0][0]))
        self.kernels = [tuple(conv.weight.shape[-2:]) for conv in convs]
        self.convs = nn.ModuleList(convs)

    def forward(self, x: Tensor) -> Tensor:
        *lead, height, width, channels = x.shape
        padded = F.pad(x, (0, 0, 1, 1, 1, 1))
        factor = self.factor
        result = x.new_empty(*lead, height, factor, width, factor, self.outputs)
        for (rows, columns, top, left), conv, kernel in zip(
            self.parts, self.convs, self.kernels, strict=True
        ):
            part = padded[..., 1 + top : 1 + top + height + kernel[0] - 1, :, :]
            made = conv(part[..., 1 + left : 1 + left + width + kernel[1] - 1, :])
            for row, column in itertools.product(rows, columns):
                result[..., row, :, column, :] = made
        return result.reshape(*lead, height * factor, width * factor, self.outputs)


def _taps(phase: int, factor: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Which taps of a kernel of 3 read which pixel before repetition: ((offset, taps), ...), ascending."""
    found: dict[int, list[int]] = {}
    for tap in range(KERNEL):
        found.setdefault((phase + tap - 1) // factor, []).append(tap)
    return tuple((offset, tuple(taps)) for offset, taps in sorted(found.items()))


def _summed(weight: Tensor, groups: tuple[tuple[int, tuple[int, ...]], ...], index: int, dim: int) -> Tensor:
    """The sum of one group's taps along ``dim``, without that axis."""
    taps = torch.tensor(groups[index][1], device=weight.device)
    return weight.double().index_select(dim, taps).sum(dim).to(weight.dtype)
