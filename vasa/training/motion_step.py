"""Stage 2's step: raw windows -> normalised windows -> dropped conditions -> noised motion -> loss.

Windows, diffusion step, noise and dropped conditions are functions of (seed, sample position), never of rank
or worker, so a resumed run, and a run on other hardware, sees the same samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vasa.data.motion_windows import MotionWindowBatch, MotionWindows
from vasa.motion.conditions import DROPPED, WindowConditions, drop
from vasa.motion.config import ObjectiveConfig
from vasa.motion.diffusion import MotionDiffusion
from vasa.motion.normalizer import Normalizer
from vasa.records import Conditions

DRAWS = 1
"""Tells the stream of a sample's diffusion draws from the stream that chose its window."""


@dataclass(slots=True)
class MotionBatch:
    """B raw windows and the random draws of their training sample.

    noise (B, W, E), t (B,) int64 diffusion steps, uniform (B, 7) in [0, 1) for ``conditions.drop``.
    """

    windows: MotionWindowBatch
    noise: Tensor
    t: Tensor
    uniform: Tensor

    @property
    def ids(self) -> list[str]:
        return self.windows.ids


def window_conditions(windows: MotionWindowBatch, normalizer: Normalizer) -> WindowConditions:
    """All conditions of raw windows, normalised; frames outside a clip have no sound."""
    controls = normalizer.normalise_conditions(Conditions(windows.gaze, windows.distance, windows.emotion))
    assert controls.gaze is not None and controls.distance is not None and controls.emotion is not None
    return WindowConditions(
        audio=normalizer.normalise_audio(windows.features),
        has_audio=windows.valid[:, -windows.features.shape[1] :],
        history=normalizer.normalise(windows.history),
        history_audio=normalizer.normalise_audio(windows.history_features),
        has_history=windows.has_history,
        gaze=controls.gaze,
        has_gaze=windows.has_gaze,
        distance=controls.distance,
        has_distance=windows.has_distance,
        emotion=controls.emotion,
        has_emotion=windows.has_emotion,
    )


class MotionStep:
    """Batches and loss of stage 2 for ``training.loop``. ``model.normalizer`` has its statistics already."""

    def __init__(self, model: MotionDiffusion, windows: MotionWindows, seed: int) -> None:
        self.model, self.windows, self.seed = model, windows, seed

    def batch_at(self, step: int) -> MotionBatch:
        """The batch of a step, a pure function of (seed, step)."""
        windows = self.windows.batch_at(step)
        num_frames, width = windows.motion.shape[1:]
        draws = [self._draw(int(position), num_frames, width) for position in windows.positions]
        t, uniform, noise = zip(*draws, strict=True)
        return MotionBatch(
            windows,
            noise=torch.from_numpy(np.stack(noise)),
            t=torch.tensor(t),
            uniform=torch.from_numpy(np.stack(uniform)),
        )

    def _draw(self, position: int, num_frames: int, width: int) -> tuple[int, np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, position, DRAWS))
        t = int(rng.integers(self.model.config.schedule.num_train_steps))
        uniform = rng.random(len(DROPPED) + 1, dtype=np.float32)
        return t, uniform, rng.standard_normal((num_frames, width), dtype=np.float32)

    def loss(self, batch: MotionBatch, step: int) -> dict[str, Tensor]:
        """See ``weighted_sum``."""
        model, config = self.model, self.model.config
        conditions = drop(window_conditions(batch.windows, model.normalizer), config.dropout, batch.uniform)
        x0 = model.normalizer.normalise(batch.windows.motion)
        raw = model.losses(x0, batch.noise, batch.t, conditions, batch.windows.valid)
        return weighted_sum(raw, config.objective)


def weighted_sum(raw: dict[str, Tensor], objective: ObjectiveConfig) -> dict[str, Tensor]:
    """Weighted sum as ``total``; every term raw under its name, and weighted as ``weighted_<name>``."""
    weighted = {f"weighted_{name}": value * getattr(objective, name) for name, value in raw.items()}
    return {"total": torch.stack(list(weighted.values())).sum(), **raw, **weighted}
