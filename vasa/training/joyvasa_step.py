"""The training step of JoyVASA's denoiser: pairs of raw windows with sound -> the objective's eight terms.

Places, diffusion steps, noise, cuts and dropped sound are functions of (seed, sample position). What HuBERT
drops and masks of what it hears is a function of (seed, step, process).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vasa.data.latent_cache import LatentCache
from vasa.data.window_pairs import WindowPairBatch, WindowPairs
from vasa.motion.joyvasa import JoyvasaModel
from vasa.motion.joyvasa_config import JoyvasaObjectiveConfig
from vasa.motion.joyvasa_objective import JoyvasaObjective, ObjectiveDraws
from vasa.motion.joyvasa_template import MOTION_DIM, JoyvasaNormalizer, from_keypoints
from vasa.training.motion_step import DRAWS


@dataclass(slots=True)
class JoyvasaBatch:
    """B pairs of windows and what chance decides of their loss."""

    windows: WindowPairBatch
    draws: ObjectiveDraws

    @property
    def ids(self) -> list[str]:
        return self.windows.ids


class JoyvasaStep:
    """Batches and loss for ``training.loop``."""

    def __init__(
        self,
        model: JoyvasaModel,
        normalizer: JoyvasaNormalizer,
        windows: WindowPairs,
        objective: JoyvasaObjectiveConfig,
        seed: int,
    ) -> None:
        self.model, self.normalizer, self.windows, self.seed = model, normalizer, windows, seed
        self.objective = JoyvasaObjective(objective)

    def batch_at(self, step: int) -> JoyvasaBatch:
        """The batch of a step, a pure function of (seed, step)."""
        windows = self.windows.batch_at(step)
        return JoyvasaBatch(windows, self.draws(windows.positions.tolist()))

    def draws(self, positions: Sequence[int]) -> ObjectiveDraws:
        """Those of the samples with these numbers."""
        rows = [
            ObjectiveDraws.of(
                np.random.default_rng((self.seed, position, DRAWS)), self.model.config, self.objective.config
            )
            for position in positions
        ]
        return ObjectiveDraws.joined(rows)

    def loss(self, batch: JoyvasaBatch, step: int) -> dict[str, Tensor]:
        """Weighted sum as ``total``, every term raw under its name."""
        with _numpy_seeded(torch.initial_seed()):
            terms = self.terms(batch)
        return {"total": self.objective.total(terms), **terms}

    def terms(self, batch: JoyvasaBatch) -> dict[str, Tensor]:
        """The objective's terms, unweighted."""
        windows = batch.windows
        motion = self.normalizer.to(windows.motion.device).normalise(from_keypoints(windows.motion))
        motion = F.pad(motion, (0, self.model.config.motion_dim - MOTION_DIM))
        return self.objective.losses(self.model, motion, windows.sound, batch.draws, windows.lengths)


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """transformers draws SpecAugment's masks from numpy's global state."""
    before = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        np.random.set_state(before)


def fitted_normalizer(caches: Sequence[LatentCache]) -> JoyvasaNormalizer:
    """Ranges of the head's entries, mean and deviation of the expression's over all frames of all caches."""
    low, high = torch.full((MOTION_DIM,), torch.inf), torch.full((MOTION_DIM,), -torch.inf)
    count, total, squares = 0, *torch.zeros(2, MOTION_DIM, dtype=torch.float64)
    for cache in caches:
        for clip in range(len(cache)):
            motion = from_keypoints(cache.motion(clip))
            low, high = torch.minimum(low, motion.amin(0)), torch.maximum(high, motion.amax(0))
            count, total = count + len(motion), total + motion.double().sum(0)
            squares = squares + motion.double().square().sum(0)
    mean = total / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
    normalizer = JoyvasaNormalizer()
    normalizer.set_ranges(low, high, mean.float(), deviation.float())
    return normalizer
