"""I3D (Carreira and Zisserman 2017): Inception-v1 inflated to video, the network that FVD is defined by.

Names follow the published ``i3d_pretrained_400.pt`` (VideoGPT's port of the RGB network for Kinetics-400), a
flat state dict. Clips are (B, 3, T, H, W), RGB in [-1, 1]; FVD feeds 224x224. The features of FVD are the
400 logits, averaged over the time steps that are left; not the 1024 pooled numbers that some tools take.

The file does not say which epsilon its BatchNorms want. The copy that FVD was published with has 1e-5; the
same keys circulate with 1e-3 for action recognition, and the two give different numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.checkpoint import load_into
from vasa.pretrained.third_party import read_state_dict

NUM_CLASSES = 400
NUM_POOLED = 1024
MIN_FRAMES = 9
"""Fewer leave no time step for the last pooling (1 + 8 halved three times)."""
BATCH_NORM_EPS = 1e-5

Triple = tuple[int, int, int]

_MIXED: dict[str, tuple[int, tuple[int, int, int, int, int, int]]] = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
"""Width of the input, and of the branches b0, b1a, b1b, b2a, b2b, b3b."""


class I3D(nn.Module):
    """Clips (B, 3, T, H, W) in [-1, 1] -> 400 logits (B, 400), means over what is left of time."""

    def __init__(self, eps: float = BATCH_NORM_EPS) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3D(3, 64, (7, 7, 7), (2, 2, 2), eps)
        self.MaxPool3d_2a_3x3 = SamePool3d((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit3D(64, 64, eps=eps)
        self.Conv3d_2c_3x3 = Unit3D(64, 192, (3, 3, 3), eps=eps)
        self.MaxPool3d_3a_3x3 = SamePool3d((1, 3, 3), (1, 2, 2))
        self.Mixed_3b, self.Mixed_3c = (_mixed(name, eps) for name in ("Mixed_3b", "Mixed_3c"))
        self.MaxPool3d_4a_3x3 = SamePool3d((3, 3, 3), (2, 2, 2))
        for name in ("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"):
            self.add_module(name, _mixed(name, eps))
        self.MaxPool3d_5a_2x2 = SamePool3d((2, 2, 2), (2, 2, 2))
        self.Mixed_5b, self.Mixed_5c = (_mixed(name, eps) for name in ("Mixed_5b", "Mixed_5c"))
        self.avg_pool = nn.AvgPool3d((2, 7, 7), stride=1)
        self.logits = Unit3D(NUM_POOLED, NUM_CLASSES, last=True)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, 224, 224) -> (B, 400)."""
        return self.logits(self._pooled(clips)).squeeze(-1).squeeze(-1).mean(2)

    def pooled(self, clips: Tensor) -> Tensor:
        """(B, 3, T, 224, 224) -> (B, 1024, T'), what the classifier reads. FVD does not use it."""
        return self._pooled(clips).squeeze(-1).squeeze(-1)

    def _pooled(self, clips: Tensor) -> Tensor:
        if clips.ndim != 5 or clips.shape[1] != 3 or clips.shape[2] < MIN_FRAMES:
            raise ValueError(
                f"clips of I3D have shape {tuple(clips.shape)}; wanted (B, 3, T, H, W) with T at least "
                f"{MIN_FRAMES}."
            )
        x = clips
        for name, module in self.named_children():
            if name != "logits":
                x = module(x)
        return x

    @classmethod
    def from_file(cls, path: str | Path, eps: float = BATCH_NORM_EPS) -> Self:
        """Reads the published state dict, strictly.

        Raises: FileNotFoundError; CheckpointError listing missing and unexpected keys.
        """
        network = cls(eps)
        tensors = read_state_dict(path, "I3D")
        # Files from before PyTorch 0.4.1 do not count batches; in eval mode nothing reads the count.
        counts = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
        load_into(network, {**counts, **tensors}, f"I3D from {path}")
        return network.eval().requires_grad_(False)


class Unit3D(nn.Module):
    """Padding, convolution, BatchNorm, ReLU; the last unit is a convolution with bias and nothing else."""

    def __init__(
        self,
        cin: int,
        cout: int,
        kernel: Triple = (1, 1, 1),
        stride: Triple = (1, 1, 1),
        eps: float = BATCH_NORM_EPS,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(cin, cout, kernel, stride, bias=last)
        self.bn = None if last else nn.BatchNorm3d(cout, eps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(same_pad(x, self.conv3d.kernel_size, self.conv3d.stride))
        return x if self.bn is None else F.relu(self.bn(x))


class SamePool3d(nn.Module):
    """Max-pooling of a zero-padded input; what it pools comes from a ReLU, so the zeros win nothing."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(same_pad(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """An Inception block: four branches side by side. widths: of b0, b1a, b1b, b2a, b2b, b3b."""

    def __init__(self, cin: int, widths: tuple[int, int, int, int, int, int], eps: float) -> None:
        super().__init__()
        w0, w1a, w1b, w2a, w2b, w3 = widths
        self.b0 = Unit3D(cin, w0, eps=eps)
        self.b1a, self.b1b = Unit3D(cin, w1a, eps=eps), Unit3D(w1a, w1b, (3, 3, 3), eps=eps)
        self.b2a, self.b2b = Unit3D(cin, w2a, eps=eps), Unit3D(w2a, w2b, (3, 3, 3), eps=eps)
        self.b3a, self.b3b = SamePool3d((3, 3, 3), (1, 1, 1)), Unit3D(cin, w3, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x)))
        return torch.cat(branches, 1)


def _mixed(name: str, eps: float) -> Mixed:
    return Mixed(*_MIXED[name], eps)


def same_pad(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros around (B, C, T, H, W) as TensorFlow's "same" adds them: the smaller half in front."""
    pads: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max(k - (s if size % s == 0 else size % s), 0)
        pads = [total // 2, total - total // 2, *pads]  # F.pad begins with the last axis
    return F.pad(x, pads) if any(pads) else x
