"""How the golden values were made: weights and inputs are pure functions of a name, in no file.

Every array is drawn by NumPy's RandomState (whose stream is frozen), seeded by the SHA-256 of its name.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

VERSION = "golden-v1"
FOLDER = Path(__file__).resolve().parent


def draw(kind: str, name: str) -> np.random.RandomState:
    digest = hashlib.sha256(f"{VERSION}|{kind}|{name}".encode()).digest()
    return np.random.RandomState(int.from_bytes(digest[:4], "little"))


def weight(tag: str, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """One tensor of a network: running_var 0.5 to 1.5, biases and means small, kernels of gain 1.2."""
    rng = draw(tag, key)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    values = rng.standard_normal(shape)
    if key.endswith("running_mean"):
        values = 0.1 * values
    elif key.endswith("bias"):
        values = 0.05 * values
    elif len(shape) == 1:
        values = 1 + 0.1 * values
    else:
        values = values * (1.2 / math.sqrt(int(np.prod(shape[1:]))))
    return values.astype(np.float32)


def filled(network: nn.Module, tag: str) -> nn.Module:
    """The network with every tensor replaced by its golden one, in eval mode."""
    with torch.no_grad():
        for key, value in network.state_dict().items():
            value.copy_(torch.as_tensor(weight(tag, key, tuple(value.shape))))
    return network.eval()


def noise(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal, float32."""
    return draw("input", name).standard_normal(shape).astype(np.float32)


def waves(name: str, shape: tuple[int, ...], grain: float) -> np.ndarray:
    """Six plane waves over all axes but the first two, of random frequency and phase, and grain: float32."""
    rng = draw("input", name)
    axes = [np.arange(size, dtype=np.float64) / max(size, 1) for size in shape[2:]]
    grid = np.meshgrid(*axes, indexing="ij")
    out = np.zeros(shape)
    for n in range(shape[0]):
        for c in range(shape[1]):
            for _ in range(6):
                frequency = rng.uniform(-4, 4, len(axes))
                turns = sum(f * g for f, g in zip(frequency, grid, strict=True))
                phase = rng.uniform(0, 2 * math.pi)
                out[n, c] += math.sqrt(2 / 6) * np.sin(2 * math.pi * turns + phase)
    return (out + grain * rng.standard_normal(shape)).astype(np.float32)


def video(name: str, length: int, height: int = 224, width: int = 224) -> np.ndarray:
    """(T, H, W, 3) uint8, smooth in space and time."""
    values = np.clip(0.5 + 0.22 * waves(name, (1, 3, length, height, width), 0.15)[0], 0, 1)
    return np.round(values.transpose(1, 2, 3, 0) * 255).astype(np.uint8)


def speech(name: str, num_samples: int) -> np.ndarray:
    """(N,) int16 at 16 kHz: twelve modulated harmonics of a wandering pitch, and hiss."""
    rng = draw("input", name)
    t = np.arange(num_samples, dtype=np.float64) / 16000
    pitch = 120 + 30 * np.sin(2 * math.pi * 0.7 * t + rng.uniform(0, 6.28))
    phase = 2 * math.pi * np.cumsum(pitch) / 16000
    sound = np.zeros_like(t)
    for k in range(1, 13):
        envelope = 0.5 + 0.5 * np.sin(2 * math.pi * rng.uniform(1, 5) * t + rng.uniform(0, 6.28))
        sound += envelope * np.sin(k * phase + rng.uniform(0, 6.28)) / k
    sound = np.clip(0.2 * sound + 0.01 * rng.standard_normal(num_samples), -0.99, 0.99).astype(np.float32)
    return np.round(sound.astype(np.float64) * 32767).astype(np.int16)
