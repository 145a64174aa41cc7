"""Mattes: how much of each pixel is the person (hair, head, neck, torso) and not what is behind.

Two ways behind one interface: MODNet (Ke et al. 2022) from a local ONNX file, the matting network that
MegaPortraits uses too, and a tiny network of our own, trained on procedural people, that is always there.
Both see one frame at a time, so neither smears a matte over time. What is done with mattes:
preprocess/plate.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.geometry import pixel_grid
from vasa.nn.blocks import group_norm
from vasa.pretrained.config import MatteConfig, MatteNetConfig
from vasa.pretrained.files import load_network
from vasa.pretrained.registry import NETWORKS

MODNET_SIDE_PX = 512
"""Shorter side of what MODNet sees, as its authors' own inference has it; both sides in multiples of 32."""
MODNET_STEP_PX = 32


class Matte(Protocol):
    """name: what reports call this way of matting."""

    name: str

    def alpha(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> (B, 1, H, W) in [0, 1], 1 where the person is."""
        ...


def build_matte(config: MatteConfig, device: torch.device | str = "cpu") -> Matte:
    """MODNet where the config names its file, else ours. Raises: FileNotFoundError, ValueError."""
    return ModNet(config.modnet) if config.modnet else MatteNet.from_pretrained(config.weights).to(device)


class SeparableConv(nn.Module):
    """A 3x3 convolution of each channel, a 1x1 over channels, GroupNorm, SiLU: (B, cin, H, W) -> (B, cout,
    H / stride, W / stride).
    """

    def __init__(self, cin: int, cout: int, stride: int = 1) -> None:
        super().__init__()
        self.depth = nn.Conv2d(cin, cin, 3, stride, 1, groups=cin, bias=False)
        self.point, self.norm = nn.Conv2d(cin, cout, 1, bias=False), group_norm(cout)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.point(self.depth(x))))


class MatteNet(nn.Module):
    """A U-Net of separable convolutions, of less than 18 kB in half precision.

    It sees pixels and where they are: faces come framed by the crop rule, so most of the answer is the place.
    """

    name = "matte"

    def __init__(self, config: MatteNetConfig) -> None:
        super().__init__()
        self.config = config
        w = config.widths
        self.stem = SeparableConv(3 * 4 + 2, w[0])
        self.downs = nn.ModuleList(SeparableConv(a, b, 2) for a, b in zip(w[:-1], w[1:], strict=True))
        self.bottom = SeparableConv(w[-1], w[-1])
        self.lateral = nn.ModuleList(
            nn.Conv2d(b, a, 1, bias=False) for a, b in zip(w[:-1], w[1:], strict=True)
        )
        self.smooth = nn.ModuleList(nn.Conv2d(a, a, 3, padding=1, groups=a, bias=False) for a in w[:-1])
        self.norms = nn.ModuleList(group_norm(a) for a in w[:-1])
        self.head = nn.Conv2d(w[0], 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, S, S) in [-1, 1] at the network's size -> logits (B, 1, S, S)."""
        x = F.pixel_unshuffle(images, 2)
        place = pixel_grid(x.shape[-2], x.shape[-1], x.device).permute(2, 0, 1).to(x.dtype)
        maps = [self.stem(torch.cat([x, place.expand(len(x), -1, -1, -1)], 1))]
        for down in self.downs:
            maps.append(down(maps[-1]))
        x = self.bottom(maps.pop())
        for level in range(len(maps) - 1, -1, -1):
            x = maps[level] + F.interpolate(
                self.lateral[level](x), scale_factor=2, mode="bilinear", align_corners=False
            )
            x = F.silu(self.norms[level](self.smooth[level](x)))
        return F.pixel_shuffle(self.head(x), 2).float()

    @torch.no_grad()
    def alpha(self, images: Tensor) -> Tensor:
        """See ``Matte``. Square frames in the crop rule's framing; enlarged from the network's size."""
        alpha = self(_resize(images.float(), self.config.size, self.config.size)).sigmoid()
        return _resize(alpha, *images.shape[-2:])

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Reads a network this project trained. Raises: FileNotFoundError, CheckpointError."""
        return load_network(cls, MatteNetConfig, path)


class ModNet:
    """MODNet, its modnet_photographic_portrait_matting.onnx through onnxruntime, on the CPU."""

    name = "modnet"

    def __init__(self, path: str | Path) -> None:
        """Raises: FileNotFoundError saying what to get; ValueError when the file takes no RGB pictures."""
        import onnxruntime

        path = Path(path)
        if not path.is_file():
            known = NETWORKS["modnet"]
            raise FileNotFoundError(
                f"matte.modnet={str(path)!r} does not exist; get {known.file} ({known.source}) and put it "
                "there, or leave matte.modnet out."
            )
        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        given = self._session.get_inputs()
        if len(given) != 1 or len(given[0].shape) != 4 or given[0].shape[1] != 3:
            raise ValueError(
                f"matte.modnet={str(path)!r} takes {[node.shape for node in given]}; wanted one (1, 3, H, W) "
                "as MODNet does."
            )
        self._input: str = given[0].name

    def alpha(self, images: Tensor) -> Tensor:
        """See ``Matte``. Frames one by one, for the published file takes a batch of one."""
        height, width = images.shape[-2:]
        scale = MODNET_SIDE_PX / min(height, width) / MODNET_STEP_PX
        size = (round(height * scale) * MODNET_STEP_PX, round(width * scale) * MODNET_STEP_PX)
        seen = _resize(images.float(), *size).clamp(-1, 1).cpu().numpy()
        mattes = [self._session.run(None, {self._input: seen[i : i + 1]})[0] for i in range(len(seen))]
        alpha = torch.from_numpy(np.concatenate(mattes)).float().clamp(0, 1)
        return _resize(alpha, height, width).to(images.device)


def _resize(x: Tensor, height: int, width: int) -> Tensor:
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=True)
