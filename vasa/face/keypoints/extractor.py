"""What is read from a picture: F, the 3D appearance feature volume, and M, canonical keypoints and motion.

Pictures are RGB in 0..1, (B, 3, 256, 256), without mean or deviation taken out. LivePortrait, section 3.2; M
is a ConvNeXt-V2-Tiny (Woo et al. 2023).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_KEYPOINTS, NUM_BINS = 21, 66
VOLUME_CHANNELS, VOLUME_DEPTH = 32, 16
DEPTHS, DIMS = (3, 3, 9, 3), (96, 192, 384, 768)
LAYER_NORM_EPS = 1e-6


class NormedConv(nn.Module):
    """Convolution, batch norm, ReLU (or leaky ReLU) at one resolution; dims: 2 or 3."""

    def __init__(self, dims: int, inputs: int, outputs: int, leak: float = 0.0) -> None:
        super().__init__()
        conv, norm = ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))[dims - 2]
        self.conv, self.norm, self.leak = conv(inputs, outputs, 3, padding=1), norm(outputs), leak

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), self.leak)


class DownBlock(NormedConv):
    """The same, then halves height and width by averages; depth stays."""

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return F.avg_pool2d(x, 2) if x.dim() == 4 else F.avg_pool3d(x, (1, 2, 2))


class VolumeBlock(nn.Module):
    """Pre-activation residual block of a volume (B, C, D, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1, self.norm2 = nn.BatchNorm3d(channels), nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


class AppearanceExtractor(nn.Module):
    """F: picture (B, 3, 256, 256) -> volume (B, 32, 16, 64, 64). narrow divides widths and the depth."""

    def __init__(self, narrow: int = 1) -> None:
        super().__init__()
        width = 64 // narrow
        self.volume = VOLUME_CHANNELS // narrow, VOLUME_DEPTH // narrow
        self.first = NormedConv(2, 3, width)
        self.down_blocks = nn.ModuleList(DownBlock(2, a * width, 2 * a * width) for a in (1, 2))
        self.second = nn.Conv2d(4 * width, self.volume[0] * self.volume[1], 1)
        self.resblocks_3d = nn.Sequential()
        for number in range(6):
            self.resblocks_3d.add_module(f"3dr{number}", VolumeBlock(self.volume[0]))

    def forward(self, image: Tensor) -> Tensor:
        x = self.first(image)
        for block in self.down_blocks:
            x = block(x)
        return self.resblocks_3d(self.second(x).unflatten(1, self.volume))


class ChannelsFirstNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(1, keepdim=True)
        x = x / torch.sqrt(x.square().mean(1, keepdim=True) + self.eps)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class ResponseNorm(nn.Module):
    """Global response normalisation of (B, H, W, C), equations 1 to 3 of ConvNeXt V2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        strength = x.norm(dim=(1, 2), keepdim=True)
        share = strength / (strength.mean(-1, keepdim=True) + 1e-6)
        return self.gamma * (x * share) + self.beta + x


class ConvNextBlock(nn.Module):
    """Depthwise 7x7, layer norm, a gated MLP of four times the width, residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = ResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        inner = self.pwconv2(self.grn(F.gelu(self.pwconv1(inner))))
        return x + inner.permute(0, 3, 1, 2)


class KeypointDetector(nn.Module):
    """The trunk and the seven heads of M, raw."""

    def __init__(self, narrow: int = 1) -> None:
        super().__init__()
        dims = tuple(dim // narrow for dim in DIMS)
        stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, 4), ChannelsFirstNorm(dims[0], eps=LAYER_NORM_EPS))
        downs = [
            nn.Sequential(ChannelsFirstNorm(a, eps=LAYER_NORM_EPS), nn.Conv2d(a, b, 2, 2))
            for a, b in pairwise(dims)
        ]
        self.downsample_layers = nn.ModuleList([stem, *downs])
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNextBlock(dim) for _ in range(depth)))
            for dim, depth in zip(dims, DEPTHS, strict=True)
        )
        self.norm = nn.LayerNorm(dims[-1], eps=LAYER_NORM_EPS)
        outputs = {"kp": 3 * NUM_KEYPOINTS, "scale": 1, "pitch": NUM_BINS, "yaw": NUM_BINS, "roll": NUM_BINS,
                   "t": 3, "exp": 3 * NUM_KEYPOINTS}  # fmt: skip
        for name, width in outputs.items():
            self.add_module(f"fc_{name}", nn.Linear(dims[-1], width))
        self.outputs = tuple(outputs)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = image
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        x = self.norm(x.mean((2, 3)))
        return {name: self.get_submodule(f"fc_{name}")(x) for name in self.outputs}


class MotionExtractor(nn.Module):
    """M: picture (B, 3, 256, 256) -> raw heads: kp and exp (B, 63), scale (B, 1), t (B, 3), and bins (B, 66)
    of pitch, yaw and roll, which camera.py reads.
    """

    def __init__(self, narrow: int = 1) -> None:
        super().__init__()
        self.detector = KeypointDetector(narrow)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return self.detector(image)
