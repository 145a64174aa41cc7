"""The discriminator's phase of stage 1: true target frames against what the generator has just made."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vasa.data.frame_pairs import FacePairs
from vasa.losses.adversarial import Verdict, discriminator_hinge
from vasa.training.driver_augment import to_float
from vasa.training.face_step import FaceStep, resized, seen_by_discriminator


class DiscriminatorStep:
    """loss(batch, step) of the discriminator's phase, which follows the generator's over the same parts.

    The spectral norm's power iteration moves on once a step, at the first part: else the networks would
    depend on how a batch is divided.
    """

    def __init__(self, discriminator: nn.Module, generator: FaceStep) -> None:
        self.discriminator, self.generator = discriminator, generator
        self._last: int | None = None

    def __call__(self, batch: FacePairs, step: int) -> dict[str, Tensor]:
        if not self.generator.fakes:  # before adversarial_start
            return {"total": next(self.discriminator.parameters()).sum() * 0}
        size = self.generator.size_at(step)
        foreground = self.generator.foreground(batch, size)
        real = seen_by_discriminator(resized(to_float(batch.target), size), foreground)
        fake = self.generator.fakes.pop(0)
        self.discriminator.train(step != self._last)
        self._last = step
        verdicts = self.discriminator(torch.cat([real, fake]))
        count = len(real)
        said: Verdict = [(scores[:count], []) for scores, _ in verdicts]
        claimed: Verdict = [(scores[count:], []) for scores, _ in verdicts]
        loss = discriminator_hinge(said, claimed)
        return {
            "total": loss,
            "real": torch.stack([scores.mean() for scores, _ in said]).mean(),
            "fake": torch.stack([scores.mean() for scores, _ in claimed]).mean(),
        }
