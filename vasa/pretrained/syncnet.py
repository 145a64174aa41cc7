"""SyncNet: five frames of a face and 200 ms of sound, each as a point; near each other when they belong
together.

The layers, their order and their names are those of the published network, so that its file loads; widths and
the picture's size are options, so that the stand-in which ships is the same class with smaller numbers.
Source: Chung and Zisserman 2016, "Out of time: automated lip sync in the wild"; sizes as in the code
published with it. Knows windows and pixels, but no score and no face detection.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.checkpoint import load_into
from vasa.pretrained.config import SyncNetConfig
from vasa.pretrained.files import load_network
from vasa.pretrained.mfcc import NUM_CEPSTRA, mfcc
from vasa.pretrained.third_party import read_state_dict

CROP_PX = 224
"""Side of the face crops that every SyncNet is given; the network takes its view out of them."""
WINDOW_FRAMES = 5
MFCC_PER_FRAME = 4
WINDOW_MFCC = WINDOW_FRAMES * MFCC_PER_FRAME


class SyncNet(nn.Module):
    """Two towers of convolutions with batch normalisation, two heads; no normalisation of what they give."""

    def __init__(self, config: SyncNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SyncNetConfig()
        self.netcnnaud = _audio_tower(config)
        self.netfcaud = _head(config)
        self.netcnnlip = _lip_tower(config)
        self.netfclip = _head(config)

    def lip_features(self, frames: Tensor) -> Tensor:
        """frames (B, 3, T, S, S): BGR, 0 to 255, S the image size -> (B, T - 4, F), one for every window.

        Only the first convolution spans time, so a stretch of frames gives what its windows give one by one.
        """
        return self.netcnnlip(frames * self.config.pixel_scale).flatten(2).transpose(1, 2)

    def lip(self, frames: Tensor) -> Tensor:
        """As ``lip_features``, through the head: (B, T - 4, E)."""
        features = self.lip_features(frames)
        return self.netfclip(features.flatten(0, 1)).unflatten(0, features.shape[:2])

    def sound(self, windows: Tensor) -> Tensor:
        """MFCC windows (N, 1, 13, 20) of int16 sound -> (N, E)."""
        return self.netfcaud(self.netcnnaud(windows).flatten(1))

    @torch.no_grad()
    def embed_lips(self, crops: np.ndarray, batch_size: int) -> Tensor:
        """Face crops (T, 224, 224, 3) uint8 RGB -> (T - 4, E) on the CPU, ``batch_size`` windows at once."""
        count = len(crops) - WINDOW_FRAMES + 1
        stretches = (
            crops[start : min(start + batch_size, count) + WINDOW_FRAMES - 1]
            for start in range(0, count, batch_size)
        )
        device = next(self.parameters()).device
        seen = (look(stretch, self.config).to(device) for stretch in stretches)
        return torch.cat([self.lip(frames)[0].float().cpu() for frames in seen])

    @torch.no_grad()
    def embed_sound(self, wave: np.ndarray, batch_size: int) -> Tensor:
        """Sound (N,) int16 -> (W, E) on the CPU: every whole window that begins with a video frame."""
        windows = sound_windows(wave).to(next(self.parameters()).device)
        return torch.cat([self.sound(part).float().cpu() for part in windows.split(batch_size)])

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Reads a network this project trained. Raises: FileNotFoundError, CheckpointError."""
        return load_network(cls, SyncNetConfig, path)

    @classmethod
    def from_published(cls, path: str | Path) -> Self:
        """Reads the published ``syncnet_v2.model``, frozen.

        Counters of batches, which old files lack and nothing here reads, may be missing; everything else must
        be there. Raises: FileNotFoundError; CheckpointError for anything but the network's tensors by name.
        """
        network = cls()
        tensors = read_state_dict(path, "SyncNet")
        for name, value in network.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensors.setdefault(name, value)
        load_into(network, tensors, f"SyncNet from {path}")
        return network.eval().requires_grad_(False)


def look(crops: np.ndarray, config: SyncNetConfig) -> Tensor:
    """Face crops (T, 224, 224, 3) uint8 RGB -> what a lip tower takes of them: (1, 3, T, S, S), BGR, 0 to
    255.
    """
    if crops.shape[1:] != (CROP_PX, CROP_PX, 3) or crops.dtype != np.uint8:
        raise ValueError(f"crops are {crops.dtype} {crops.shape}; wanted uint8 (T, {CROP_PX}, {CROP_PX}, 3).")
    size, side = config.image_size, round(config.view_side * CROP_PX)
    top, left = round((CROP_PX - side) / 2 + config.view_down * CROP_PX), round((CROP_PX - side) / 2)
    view = torch.from_numpy(crops[:, top : top + side, left : left + side, ::-1].copy())
    frames = view.permute(0, 3, 1, 2).float()
    if side != size:
        frames = F.interpolate(frames, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return frames.transpose(0, 1)[None]


def sound_windows(wave: np.ndarray) -> Tensor:
    """MFCC windows (W, 1, 13, 20) float32 of sound (N,) int16; window i begins with video frame i.

    Raises: ValueError for sound shorter than one window.
    """
    cepstra = torch.from_numpy(mfcc(wave)).float()
    if cepstra.shape[1] < WINDOW_MFCC:
        raise ValueError(f"the sound has {len(wave)} samples; wanted at least one window of 200 ms.")
    return cepstra.unfold(1, WINDOW_MFCC, MFCC_PER_FRAME).permute(1, 0, 2)[:, None]


def _audio_tower(config: SyncNetConfig) -> nn.Sequential:
    """netcnnaud: (N, 1, 13, 20), cepstra by time -> (N, F, 1, 1)."""
    a, b, c, d, e = (_scaled(config, channels) for channels in (64, 192, 384, 256, 256))
    return nn.Sequential(
        *_conv2d(1, a, 3, 1),
        nn.MaxPool2d(1, 1),
        *_conv2d(a, b, 3, 1),
        nn.MaxPool2d(3, (1, 2)),
        *_conv2d(b, c, 3, 1),
        *_conv2d(c, d, 3, 1),
        *_conv2d(d, e, 3, 1),
        nn.MaxPool2d(3, 2),
        *_conv2d(e, config.feature_dim, (_halved(NUM_CEPSTRA - 2, 3), 4), 0),
    )


def _lip_tower(config: SyncNetConfig) -> nn.Sequential:
    """netcnnlip: (N, 3, T, S, S) -> (N, F, T - 4, 1, 1); the last kernel covers what is left of S."""
    a, b, c, d, e = (_scaled(config, channels) for channels in (96, 256, 256, 256, 256))
    side = config.image_size
    for kernel, padding in ((7, 0), (3, 0), (5, 1), (3, 1), (3, 0)):  # of layers 0, 3, 4, 7, 17
        side = _halved(side + 2 * padding, kernel)
    return nn.Sequential(
        *_conv3d(3, a, (5, 7, 7), (1, 2, 2), 0),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
        *_conv3d(a, b, (1, 5, 5), (1, 2, 2), 1),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        *_conv3d(b, c, (1, 3, 3), 1, 1),
        *_conv3d(c, d, (1, 3, 3), 1, 1),
        *_conv3d(d, e, (1, 3, 3), 1, 1),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
        *_conv3d(e, config.feature_dim, (1, side, side), 1, 0),
    )


def _head(config: SyncNetConfig) -> nn.Sequential:
    width = config.feature_dim
    return nn.Sequential(
        nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, config.embedding_dim)
    )


def _scaled(config: SyncNetConfig, channels: int) -> int:
    return max(1, round(channels * config.width))


def _halved(side: int, kernel: int) -> int:
    """Side of a map after a layer of stride 2 without padding."""
    return (side - kernel) // 2 + 1


def _conv2d(inputs: int, outputs: int, kernel: int | tuple[int, int], padding: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, padding=padding), nn.BatchNorm2d(outputs), nn.ReLU()]


def _conv3d(
    inputs: int, outputs: int, kernel: tuple[int, int, int], stride: int | tuple[int, int, int], padding: int
) -> list[nn.Module]:
    """padding: of height and width; time is never padded."""
    conv = nn.Conv3d(inputs, outputs, kernel, stride, (0, padding, padding))
    return [conv, nn.BatchNorm3d(outputs), nn.ReLU()]
