"""Residual blocks in two and three dimensions, as MegaPortraits draws them (appendix, fig. 10c).

Pre-activation: GroupNorm, ReLU, weight-standardised convolution, twice; a 1x1 skip where the width changes.
Nothing here knows of faces.

Differences from the paper, all wanted: the skip is 1x1 (as in its authors' later code) instead of the drawn
3x3, and not standardised, like every 1x1 projection. Convolutions keep their bias (the code has none). There
is no spectral normalisation: a standardised filter has a fixed norm, times a learned gain.

ReLU and the sum with the skip work in place, on tensors that nobody else holds and no backward pass reads:
the result is the same, with less memory.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_GROUPS = 32


class GroupNorm(nn.GroupNorm):
    """torch's GroupNorm, but half precision on CUDA stays half precision, as it does on a CPU.

    Autocast would hand it fp32 copies and pass fp32 on: 10 bytes a value for the backward pass instead of 4.
    The kernel's statistics are in fp32 either way; gain and offset are rounded, like any filter.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cuda or x.dtype is torch.float32:
            return super().forward(x)
        with torch.autocast("cuda", enabled=False):
            return F.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def group_norm(channels: int) -> GroupNorm:
    """GroupNorm with at most 32 groups of at least 4 channels (MegaPortraits: 32 groups, for its widths
    of 64 and more).
    """
    groups = max(
        g for g in range(1, MAX_GROUPS + 1) if channels % g == 0 and channels // g >= min(4, channels)
    )
    return GroupNorm(groups, channels)


def _standardise(weight: Tensor) -> Tensor:
    """Weight standardisation (Qiao et al. 2019): zero mean, unit variance over each filter, times
    1/sqrt(fan-in).
    """
    flat = weight.flatten(1).float()
    var, mean = torch.var_mean(flat, dim=1, keepdim=True, correction=0)
    scale = torch.rsqrt(var + 1e-6) / flat.shape[1] ** 0.5
    return ((flat - mean) * scale).view_as(weight)


class Conv2d(nn.Conv2d):
    """Weight-standardised 2D convolution with a learned gain for each filter."""

    def __init__(self, cin: int, cout: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(cin, cout, kernel, stride, kernel // 2)
        self.gain = nn.Parameter(torch.ones(cout))
        self.folded = False

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, effective(self), self.bias, self.stride, self.padding)


class Conv3d(nn.Conv3d):
    """Weight-standardised 3D convolution with a learned gain for each filter."""

    def __init__(self, cin: int, cout: int, kernel: int = 3) -> None:
        super().__init__(cin, cout, kernel, 1, kernel // 2)
        self.gain = nn.Parameter(torch.ones(cout))
        self.folded = False

    def forward(self, x: Tensor) -> Tensor:
        return F.conv3d(x, effective(self), self.bias, self.stride, self.padding)


def effective(conv: Conv2d | Conv3d) -> Tensor:
    """The weight that a convolution works with."""
    if conv.folded:
        return conv.weight
    return _standardise(conv.weight) * conv.gain.view(-1, *[1] * (conv.weight.ndim - 1))


@torch.no_grad()
def fold(module: nn.Module) -> None:
    """Replaces the weights of all standardised convolutions by what they standardise to, once and for all.

    For models that are only used from here on: a folded one must not be saved or trained.
    """
    for conv in module.modules():
        if isinstance(conv, (Conv2d, Conv3d)) and not conv.folded:
            conv.weight.copy_(effective(conv))
            conv.folded = True


def relu(x: Tensor) -> Tensor:
    """ReLU of what a norm has just made: in place."""
    return F.relu(x, inplace=True)


class ResBlock2d(nn.Module):
    """x (B, cin, H, W) -> (B, cout, H, W)."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(cin), Conv2d(cin, cout)
        self.norm2, self.conv2 = group_norm(cout), Conv2d(cout, cout)
        self.skip = nn.Identity() if cin == cout else nn.Conv2d(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(relu(self.norm1(x)))
        h = relu(self.norm2(h))  # the same name again: nothing keeps what is read no more
        return self.conv2(h).add_(self.skip(x))


class ResBlock3d(nn.Module):
    """x (B, cin, D, H, W) -> (B, cout, D, H, W)."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(cin), Conv3d(cin, cout)
        self.norm2, self.conv2 = group_norm(cout), Conv3d(cout, cout)
        self.skip = nn.Identity() if cin == cout else nn.Conv3d(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(relu(self.norm1(x)))
        h = relu(self.norm2(h))  # the same name again: nothing keeps what is read no more
        return self.conv2(h).add_(self.skip(x))


class AdaptiveGroupNorm3d(nn.Module):
    """GroupNorm whose gain and offset are products of the condition with learned matrices (MegaPortraits,
    section 3.1).

    [gamma, beta] = U c V with c (B, cond_channels, P), U (channels, cond_channels), V (P, 2). As in the
    authors' later code; we add the constant 1 to gamma so that a zero condition is a plain GroupNorm at the
    start of training.
    """

    def __init__(self, channels: int, cond_channels: int, cond_positions: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        bound_u, bound_v = (3 / cond_channels) ** 0.5, (3 / cond_positions) ** 0.5
        self.u = nn.Parameter(torch.empty(channels, cond_channels).uniform_(-bound_u, bound_u))
        self.v = nn.Parameter(torch.empty(cond_positions, 2).uniform_(-bound_v, bound_v))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gamma, beta = (self.u @ condition.flatten(2) @ self.v).unbind(-1)  # (B, channels) each
        shape = (*gamma.shape, 1, 1, 1)
        return self.norm(x) * (1 + gamma.view(shape)) + beta.view(shape)


class AdaptiveResBlock3d(nn.Module):
    """A ResBlock3d whose norms are adaptive: x (B, cin, D, H, W), condition (B, cond_channels, h, w)."""

    def __init__(self, cin: int, cout: int, cond_channels: int, cond_positions: int) -> None:
        super().__init__()
        self.norm1 = AdaptiveGroupNorm3d(cin, cond_channels, cond_positions)
        self.conv1 = Conv3d(cin, cout)
        self.norm2 = AdaptiveGroupNorm3d(cout, cond_channels, cond_positions)
        self.conv2 = Conv3d(cout, cout)
        self.skip = nn.Identity() if cin == cout else nn.Conv3d(cin, cout, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.conv1(relu(self.norm1(x, condition)))
        h = relu(self.norm2(h, condition))
        return self.conv2(h).add_(self.skip(x))
