"""A tiny JoyVASA model, statistics and sound that the tests of it share."""

from __future__ import annotations

import numpy as np
import torch

from vasa.motion.joyvasa import JoyvasaModel
from vasa.motion.joyvasa_config import HubertSizes, JoyvasaConfig
from vasa.motion.joyvasa_template import JoyvasaNormalizer
from vasa.motion.joyvasa_windows import JoyvasaMotion

L, P, E, A, T = 10, 3, 73, 32, 6
"""Frames in a window, frames carried over, entries of a motion vector, width of a feature, steps."""


def tiny_config(**changes: object) -> JoyvasaConfig:
    sizes = {
        "motion_dim": E,
        "window_frames": L,
        "history_frames": P,
        "width": A,
        "num_layers": 2,
        "feedforward": 48,
        "position_rows": 20,
        "num_steps": T,
        "hubert": HubertSizes(
            width=64, num_layers=1, feedforward=48, conv_width=16, position_kernel=16, position_groups=4
        ),
    }
    return JoyvasaConfig(**{**sizes, **changes})


def tiny_model(seed: int = 0, **changes: object) -> JoyvasaModel:
    """Weights of such sizes that everything matters, biases and norms included."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = JoyvasaModel(tiny_config(**changes)).eval()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=g) * 0.1)
    return model


def template(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = {}
    for name, size in (("scale", 1), ("t", 3), ("exp", 63), ("pitch", 1), ("yaw", 1), ("roll", 1)):
        values[f"mean_{name}"] = rng.normal(size=size).astype(np.float32)
        values[f"std_{name}"] = rng.uniform(0.5, 1, size).astype(np.float32)
        values[f"min_{name}"] = rng.normal(size=size).astype(np.float32)
        values[f"max_{name}"] = values[f"min_{name}"] + rng.uniform(1, 2, size).astype(np.float32)
    return values


def tiny_motion(seed: int = 0, **changes: object) -> JoyvasaMotion:
    normalizer = JoyvasaNormalizer()
    normalizer.set_template(template())
    return JoyvasaMotion(tiny_model(seed, **changes), normalizer)


def sound(num_samples: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(num_samples, generator=g) * 0.1).clamp(-1, 1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
