"""One person's training step: some of their frames made anew from those that are kept, against what they
were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.data.trials import to_float
from vasa.device import fast_precision
from vasa.face.volumetric.person import Person
from vasa.losses.reconstruction import detail_weight, gradient_l1, weighted_l1
from vasa.metrics.video import box_mask
from vasa.training.face_step import feature_boxes
from vasa.training.personalise_config import PersonLossConfig

EYES_HELD = 10.0
"""How much more what encoders say of eyes is held to what the face space says: their pixels are too few."""
TOO_NEAR = 2
"""Frames that a kept one must be away from the one to make: else it is that picture, or nearly."""


@dataclass(slots=True)
class Seen:
    """What is known of T frames of a person: frames (T, 3, S, S) uint8, motion (T, E), controls (T, 11),
    boxes (T, 4) of the face and landmarks (T, 68, 2), image coordinates. numbers (T,): when they were.
    """

    frames: Tensor
    motion: Tensor
    controls: Tensor
    boxes: Tensor
    landmarks: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: slice | Tensor) -> Seen:
        return Seen(*(getattr(self, name)[index] for name in self.__slots__))


@dataclass(slots=True)
class Draw:
    """B samples of a step. index (B,): the frames to make. far (B, K) bool: kept frames that must not
    help."""

    index: Tensor
    far: Tensor
    ids: list[str]


def draw(step: int, batch: int, numbers: Tensor, kept: Tensor, drop: float, seed: int) -> Draw:
    """A pure function of (seed, step). numbers (T,) and kept (K,): when the frames and the kept ones were."""
    rng = np.random.default_rng((seed, step, 31))
    index = torch.from_numpy(rng.integers(0, len(numbers), batch))
    dropped = torch.from_numpy(rng.random((batch, len(kept))) < drop)
    near = (numbers[index, None] - kept[None]).abs() <= TOO_NEAR
    return Draw(index, near | dropped, [f"frame {number}" for number in numbers[index].tolist()])


class PersonStep:
    """loss(draw, step) of the refiner's phase."""

    def __init__(self, person: Person, seen: Seen, losses: PersonLossConfig) -> None:
        self.person, self.losses, self.seen = person, losses, seen
        self.pixels = person.pixels_at(person.size)
        self.weight = self._weights(seen)
        self.held = 1 + (EYES_HELD - 1) * person.of_eyes.float()

    def _weights(self, seen: Seen) -> Tensor:
        """Of each pixel (T, 1, S, S): the face's box before the background, its eyes and mouth before
        both."""
        size = seen.frames.shape[-1]
        inside = F.avg_pool2d(box_mask(seen.boxes, size, size), 5, 1, 2)
        eyes, mouth = feature_boxes(seen.landmarks)
        detail = detail_weight(eyes, mouth, size, self.losses.detail)
        return (inside + (1 - inside) * self.losses.background) * detail

    def __call__(self, batch: Draw, step: int) -> dict[str, Tensor]:
        seen, losses, person = self.seen, self.losses, self.person
        index = batch.index
        true, weight = to_float(seen.frames[index]), self.weight[index]
        motion, controls = seen.motion[index], seen.controls[index]
        chosen, shares = person.nearest(motion[:, person.layout.pose], controls, batch.far)
        used, place = chosen.unique(return_inverse=True)
        was = torch.cat([motion, person.motion[used]])
        now = person.read(torch.cat([true, self.pixels.small[used]]))
        with fast_precision(index.device):
            moved, kept = now[: len(index)], now[len(index) :][place]
            made = person.compose(self.pixels, moved, person.said(moved), chosen, shares, kept).float()
        terms = {
            "l1": weighted_l1(made, true, weight),
            "squared": ((made - true).square() * weight).sum() / (3 * weight.sum()),
            "gradient": gradient_l1(made, true, weight),
            "pose": (now - was)[:, person.layout.pose].square().mean(),
            "dynamics": (self.held * (person.said(now) - person.said(was)).square()).mean(),
        }
        weighted = {name: value * getattr(losses, name) for name, value in terms.items()}
        return {"total": torch.stack(list(weighted.values())).sum(), **terms}
