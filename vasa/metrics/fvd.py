"""FVD: the Fréchet distance of two sets of videos in a video network's features (Unterthiner et al. 2018).

The published network is I3D (pretrained/i3d.py, weights from a local file). Where it is missing, the small
network that this project trained on synthetic clips stands in; its numbers have another scale and say so.

The number depends on the count of frames, the resize, the crop, the input range and above all on how many
clips there are (two halves of one small data set are far apart). So all of it is fixed here: windows of 25
frames as VASA-1's FVD_25, side by side from the first frame on, centre squares; below a set number of windows
there is no number; and the distance between two halves of the real set, the floor, comes with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.checkpoint import content_hash
from vasa.metrics.frechet import compare_sets
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.pretrained.i3d import I3D
from vasa.pretrained.registry import path_of
from vasa.pretrained.third_party import file_hash
from vasa.pretrained.video_net import VideoNet

WINDOW = 25
"""Frames of a window: VASA-1, section 4.1."""
SIZE = 224
"""px of I3D's input."""
VARIANTS = ("videogpt", "styleganv")


def preprocess(video: Tensor, variant: str = "videogpt") -> Tensor:
    """A video (3, T, H, W), RGB in [0, 1], as I3D is fed in FVD: (3, T, 224, 224) in [-1, 1].

    Short side to 224 (bilinear, no antialiasing, the long side rounded up), centre crop. The variant
    "videogpt" first cuts values down to 8 bits, "styleganv" keeps them; of 8-bit videos both make the same.

    Raises: ValueError for another shape, type or range.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}; wanted one of {', '.join(VARIANTS)}.")
    if video.ndim != 4 or video.shape[0] != 3 or not video.is_floating_point():
        raise ValueError(f"video is {video.dtype} {tuple(video.shape)}; wanted floating (3, T, H, W).")
    low, high = float(video.min()), float(video.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"video has values from {low:g} to {high:g}; wanted RGB in [0, 1]: divide 8 bits by 255."
        )
    if variant == "videogpt":
        video = (video * 255).to(torch.uint8).to(video.dtype) / 255
    out = centre_square(video.transpose(0, 1), SIZE).transpose(0, 1) * 2 - 1
    assert out.shape == (3, video.shape[1], SIZE, SIZE) and float(out.abs().max()) <= 1 + 1e-5
    return out


def centre_square(frames: Tensor, size: int, antialias: bool = False) -> Tensor:
    """frames (T, 3, H, W) with the short side brought to `size`, and its centre: (T, 3, size, size)."""
    height, width = frames.shape[-2:]
    scale = size / min(height, width)
    if height < width:
        target = (size, math.ceil(width * scale))
    else:
        target = (math.ceil(height * scale), size)
    if target != (height, width):
        frames = F.interpolate(frames, target, mode="bilinear", align_corners=False, antialias=antialias)
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    return frames[..., top : top + size, left : left + size]


class VideoFeatures(Protocol):
    """A network's features of windows of frames."""

    @property
    def identity(self) -> dict[str, Any]: ...

    @property
    def label(self) -> str: ...

    def __call__(self, windows: np.ndarray) -> Tensor:
        """uint8 (n, 25, H, W, 3) RGB -> features (n, D), float32 on the CPU."""
        ...


class I3DFeatures:
    """The features that FVD is defined by: 400 logits of the published network."""

    def __init__(self, path: str | Path, device: torch.device | str = "cpu", batch_size: int = 8) -> None:
        self.network, self.device, self.batch_size = I3D.from_file(path).to(device), device, batch_size
        self._sha256 = file_hash(path)

    @property
    def identity(self) -> dict[str, Any]:
        return {"network": "i3d", "sha256": self._sha256, "preprocess": "videogpt", "size": SIZE}

    @property
    def label(self) -> str:
        return f"I3D (published weights, {SIZE}x{SIZE})"

    @torch.inference_mode()
    def __call__(self, windows: np.ndarray) -> Tensor:
        parts = []
        for start in range(0, len(windows), self.batch_size):
            some = [_to_floats(w, self.device) for w in windows[start : start + self.batch_size]]
            parts.append(self.network(torch.stack([preprocess(w.transpose(0, 1)) for w in some])).cpu())
        return torch.cat(parts)


class StandInFeatures:
    """Features of the small video network that this project trained: for runs without the published one."""

    def __init__(self, folder: str | Path, device: torch.device | str = "cpu", batch_size: int = 16) -> None:
        path = path_of("judge_video", folder)
        self.network, self.device, self.batch_size = (
            VideoNet.from_pretrained(path).to(device),
            device,
            batch_size,
        )
        self._hash = content_hash(path)

    @property
    def identity(self) -> dict[str, Any]:
        return {"network": "judge_video", "sha256": self._hash, "size": self.network.config.size}

    @property
    def label(self) -> str:
        size = self.network.config.size
        return f"a stand-in trained on synthetic clips ({size}x{size}): not comparable with published numbers"

    @torch.inference_mode()
    def __call__(self, windows: np.ndarray) -> Tensor:
        size, parts = self.network.config.size, []
        for start in range(0, len(windows), self.batch_size):
            some = [_to_floats(w, self.device) for w in windows[start : start + self.batch_size]]
            small = torch.stack([centre_square(w, size, antialias=True) for w in some])  # (n, T, 3, S, S)
            parts.append(self.network(small.transpose(1, 2) * 2 - 1).cpu())
        return torch.cat(parts)


@dataclass(slots=True)
class FvdMetric:
    """FVD of two sets of clips, a SetMetric (protocol.py).

    min_windows: no number below this many windows in either set. windows_per_clip: the first so many of each
    clip; None: all that fit. seed: of the halves of the real set.
    """

    network: VideoFeatures
    min_windows: int = 256
    windows_per_clip: int | None = None
    seed: int = 0
    name: str = "fvd"

    @property
    def identity(self) -> dict[str, Any]:
        options = {"window": WINDOW, "windows_per_clip": self.windows_per_clip, "seed": self.seed}
        return {**self.network.identity, **options, "min_windows": self.min_windows}

    @property
    def label(self) -> str:
        return (
            f"FVD_{WINDOW} by {self.network.label}; floor: halves of the real set; "
            f"no number: too few, below {self.min_windows} windows of {WINDOW} frames"
        )

    def features(self, clip: EvalClip) -> Tensor:
        """Features (n, D) of the windows of a clip. Raises: Unscored when it is shorter than one."""
        num = len(clip.frames) // WINDOW
        if self.windows_per_clip is not None:
            num = min(num, self.windows_per_clip)
        if num < 1:
            raise Unscored(f"{len(clip.frames)} frames, shorter than {WINDOW}")
        return self.network(clip.frames[: num * WINDOW].reshape(num, WINDOW, *clip.frames.shape[1:]))

    def score(self, made: list[Tensor], real: list[Tensor]) -> dict[str, float]:
        """fvd; fvd_floor, the mean distance of random halves of the real clips; both counts of windows."""
        return compare_sets("fvd", made, real, self.min_windows, self.seed)


def _to_floats(window: np.ndarray, device: torch.device | str) -> Tensor:
    """uint8 (T, H, W, 3) -> (T, 3, H, W) in [0, 1]."""
    if window.dtype != np.uint8 or window.ndim != 4 or window.shape[-1] != 3:
        raise ValueError(f"a window is {window.dtype} {window.shape}; wanted uint8 (T, H, W, 3) RGB.")
    return torch.from_numpy(np.ascontiguousarray(window)).to(device).movedim(-1, 1).float() / 255
