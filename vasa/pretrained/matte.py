"""Mattes: how much of each pixel is the person (hair, head, neck, torso) and not what is behind.

Two ways behind one interface: MODNet (Ke et al. 2022) from a local ONNX file, the matting network that
MegaPortraits uses too, and a tiny network of our own, trained on procedural people, that is always there.
Ours holds the outline of a head and its shoulders on photographs, but loses parts of long hair lying on them,
and knows no strands. Both see one frame at a time, so neither smears a matte over time. What is done with
mattes: preprocess/plate.py.
"""

from __future__ import annotations

from dataclasses import dataclass
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

SURE_NOT, SURE = 0.15, 0.55
"""Probabilities of our network between which alpha runs from 0 to 1. It doubts hair on photographs, and a
wall shining through hair shows more than a little of the frame's own wall beside it.
"""

GAP = 0.08
"""Gaps in a matte below this width, in widths of the picture, are closed: holes in hair, mostly."""
SHADES = 12  # of each of red, green and blue that are told apart
MOST_EVIDENCE = 3.0
"""Largest log odds of a colour, and of the network where it is fitted to a portrait, for either side."""
FIT_ROUNDS = 2


class Matte(Protocol):
    """name: what reports call this way of matting. side_px: of what it sees: larger frames bring nothing."""

    name: str

    @property
    def side_px(self) -> int: ...

    def alpha(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> (B, 1, H, W) in [0, 1], 1 where the person is; or of another
        size (height, width).
        """
        ...

    def fitted(self, picture: Tensor) -> Matte:
        """What mattes frames of the person in a picture (1, 3, H, W) better than it mattes everybody's."""
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

    @property
    def side_px(self) -> int:
        return self.config.size

    @torch.no_grad()
    def alpha(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """See ``Matte``. Square frames in the crop rule's framing; enlarged from the network's size."""
        return self.finished(self(self.seen(images)), *(size or images.shape[-2:]))

    @torch.no_grad()
    def fitted(self, picture: Tensor) -> PortraitMatte:
        """See ``Matte``: the colours of person and background, which the network's own matte tells apart, are
        weighed with what the network says; twice, as the colours make the matte better.
        """
        seen = self.seen(picture)
        logits = self(seen)
        person = logits.sigmoid()
        for _ in range(FIT_ROUNDS):
            fitted = PortraitMatte(self, _evidence(seen, person))
            person = fitted.weighed(logits, seen).sigmoid()
        return fitted

    def seen(self, images: Tensor) -> Tensor:
        """Images at the network's size."""
        return _resize(images.float(), self.config.size, self.config.size)

    def finished(self, logits: Tensor, height: int, width: int) -> Tensor:
        """Logits at the network's size -> alpha (B, 1, height, width)."""
        person = _closed(logits.sigmoid(), round(GAP / 2 * self.config.size))
        return ((_resize(person, height, width) - SURE_NOT) / (SURE - SURE_NOT)).clamp(0, 1)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Reads a network this project trained. Raises: FileNotFoundError, CheckpointError."""
        return load_network(cls, MatteNetConfig, path)


@dataclass(slots=True)
class PortraitMatte:
    """Our network with the colours of one portrait. evidence: (1, 1, N, N, N) log odds that a pixel of some
    blue, green and red (in this order, along the axes) is the person's.
    """

    network: MatteNet
    evidence: Tensor
    name = MatteNet.name

    @property
    def side_px(self) -> int:
        return self.network.side_px

    @torch.no_grad()
    def alpha(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """See ``Matte``."""
        seen = self.network.seen(images)
        return self.network.finished(self.weighed(self.network(seen), seen), *(size or images.shape[-2:]))

    def fitted(self, picture: Tensor) -> PortraitMatte:
        """See ``Matte``."""
        return self.network.fitted(picture)

    def weighed(self, logits: Tensor, seen: Tensor) -> Tensor:
        """Logits (B, 1, S, S) of images (B, 3, S, S) with the evidence of their colours."""
        colours = seen.permute(0, 2, 3, 1)[None]  # (1, B, S, S, 3): the frames lie along the depth
        found = F.grid_sample(self.evidence, colours, padding_mode="border", align_corners=True)
        return logits.clamp(-MOST_EVIDENCE, MOST_EVIDENCE) + found[0, 0, :, None]


class ModNet:
    """MODNet, its modnet_photographic_portrait_matting.onnx through onnxruntime, on the CPU."""

    name, side_px = "modnet", MODNET_SIDE_PX

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

    def alpha(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """See ``Matte``. Frames one by one, for the published file takes a batch of one."""
        height, width = images.shape[-2:]
        wanted = size or (height, width)
        scale = MODNET_SIDE_PX / min(height, width) / MODNET_STEP_PX
        shown = (round(height * scale) * MODNET_STEP_PX, round(width * scale) * MODNET_STEP_PX)
        seen = _resize(images.float(), *shown).clamp(-1, 1).cpu().numpy()
        mattes = [self._session.run(None, {self._input: seen[i : i + 1]})[0] for i in range(len(seen))]
        alpha = torch.from_numpy(np.concatenate(mattes)).float().clamp(0, 1)
        return _resize(alpha, *wanted).to(images.device)

    def fitted(self, picture: Tensor) -> ModNet:
        """See ``Matte``: it needs no help."""
        return self


def _closed(x: Tensor, reach: int) -> Tensor:
    """x (B, 1, H, W) with what is less than all around it, and at most 2 reach pixels wide, made as much."""
    wide = _largest(F.pad(x, (2 * reach,) * 4, "replicate"), 2 * reach + 1)
    return -_largest(-wide, 2 * reach + 1)


def _largest(x: Tensor, window: int) -> Tensor:
    """The largest value of each square of x (B, 1, H, W): of columns, then of rows, each by doubling, a
    hundredth of what pooling costs on a CPU.
    """
    for axis in (2, 3):
        reach = 1
        while reach < window:
            step = min(reach, window - reach)
            rest = x.shape[axis] - step
            x = torch.maximum(x.narrow(axis, 0, rest), x.narrow(axis, step, rest))
            reach += step
    return x


def _evidence(seen: Tensor, person: Tensor) -> Tensor:
    """Log odds (1, 1, N, N, N) of colours: how often the person (1, 1, S, S) has them against the rest of a
    picture (1, 3, S, S).
    """
    red, green, blue = ((seen[0] + 1) / 2 * (SHADES - 1)).round().long().clamp(0, SHADES - 1)
    place = ((blue * SHADES + green) * SHADES + red).flatten()

    def shares(weights: Tensor) -> Tensor:
        counts = weights.new_zeros(SHADES**3).scatter_add_(0, place, weights.flatten())
        smooth = F.avg_pool3d(F.pad(counts.view(1, 1, *(SHADES,) * 3), (1,) * 6, "replicate"), 3, 1)
        return smooth / smooth.sum().clamp(min=1e-6) + 1e-4

    return (shares(person) / shares(1 - person)).log().clamp(-MOST_EVIDENCE, MOST_EVIDENCE)


def _resize(x: Tensor, height: int, width: int) -> Tensor:
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=True)
