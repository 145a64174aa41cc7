"""What a training step of stage 1 costs, counted on tensors without data.

Counted: convolutions and matrix products of every pass of the step itself, forward and backward, in bf16
autocast; activations kept for the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vasa.benchmark.meter import fake_tensors
from vasa.benchmark.step import PLAIN, Step, pictures, recipe_step, whole_step
from vasa.data.frame_pairs import FacePairs
from vasa.face.config import FaceConfig
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.training.face_config import TrainFaceRun


@dataclass(frozen=True, slots=True)
class StepCost:
    """Per sample, but for what is called fixed.

    FLOPs: of the reconstruction, of the swaps that come on top for a share of the samples, of the
    discriminator. Bytes: activations of reconstruction and swaps; ``fixed_bytes`` are kept whatever the batch
    (standardised filters). Counts of weights: trained with an average (generator), trained without
    (discriminator, and what teaches the codes first), frozen.
    """

    main_flops: float
    swap_flops: float
    adversary_flops: float
    main_bytes: float
    swap_bytes: float
    fixed_bytes: float
    generator: int
    discriminator: int
    frozen: int

    def flops(self, swapped: float) -> float:
        """Of a sample, where that share of samples is swapped."""
        return self.main_flops + swapped * self.swap_flops + self.adversary_flops

    @property
    def held_bytes(self) -> float:
        """On each GPU without activations: weights and gradients, two moments, an average, all fp32."""
        return 4 * (5 * self.generator + 4 * self.discriminator + self.frozen)


class _Kept(torch.autograd.graph.saved_tensors_hooks):
    """Sums the bytes of tensors that the backward pass will need, each storage once, without weights."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self._known = {_storage(weight) for weight in weights}
        self._held: list[Tensor] = []  # so that no storage's address is used again
        self.bytes = 0
        super().__init__(self._keep, lambda tensor: tensor)

    def _keep(self, tensor: Tensor) -> Tensor:
        if _storage(tensor) not in self._known:
            self._known.add(_storage(tensor))
            self._held.append(tensor)
            self.bytes += tensor.untyped_storage().nbytes()
        return tensor


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _flops(loss: Callable[[], Tensor], weights: list[nn.Parameter]) -> int:
    """Forward and backward."""
    with FlopCounterMode(display=False) as flops:
        with _autocast():
            value = loss()
        value.backward()
    for weight in weights:
        weight.grad = None
    return flops.get_total_flops()


def _bytes(loss: Callable[[], Tensor], weights: list[nn.Parameter]) -> int:
    """Kept between forward and backward."""
    kept = _Kept(weights)
    with _autocast(), kept:
        loss()
    return kept.bytes


def _autocast() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16)


def step_cost(config: FaceConfig) -> StepCost:
    """Of a face space with all terms, at its size."""
    with fake_tensors():
        return _count(whole_step(FaceAutoencoder(config)), PLAIN, lambda count: pictures(count, config.size))


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps of a run that cost alike."""

    steps: int
    cost: StepCost


def recipe_costs(run: TrainFaceRun) -> list[Stage]:
    """The stages of a recipe: each the real step at its place in the schedules of resolution and losses."""
    losses, steps = run.losses, run.loop.steps
    turns = {losses.encoder_steps, losses.change_steps, run.low_steps}
    if losses.adversarial > 0:
        turns.add(losses.adversarial_start)
    first = sorted({0} | {turn for turn in turns if turn < steps})

    def batch(count: int) -> FacePairs:
        is_real = run.data == "clips"
        return pictures(count, run.face.size, has_mask=is_real or run.pairs.masks, has_truth=not is_real)

    with fake_tensors():
        step = recipe_step(run)
        return [
            Stage(end - start, _count(step, start, batch))
            for start, end in zip(first, [*first[1:], steps], strict=True)
        ]


def _count(step: Step, first: int, shown: Callable[[int], FacePairs]) -> StepCost:
    """Counts two neighbouring steps from ``first`` on, of which the even one swaps codes, with batches of one
    and two to tell what grows with them.
    """
    swapping, plain = first + first % 2, first + 1 - first % 2
    alone: list[nn.Module] = [each for each in (step.discriminator, step.change) if each is not None]
    groups: list[list[nn.Module]] = [[step.face], alone, [step.frozen]]
    weights = [weight for group in groups for module in group for weight in module.parameters()]
    one, two = shown(1), shown(2)
    main = _flops(lambda: step.loss(one, plain), weights)
    judged = _flops(lambda: step.verdict(one, plain), weights) if step.judging else 0
    swaps = _flops(lambda: step.loss(one, swapping), weights)
    kept, kept_two, kept_swaps, kept_two_swaps = (
        _bytes(lambda: step.loss(batch, number), weights)  # noqa: B023, called at once
        for number in (plain, swapping)
        for batch in (one, two)
    )
    known: set[int] = set()
    counts = []
    for group in groups:
        found = {id(weight): weight.numel() for module in group for weight in module.parameters()}
        counts.append(sum(number for key, number in found.items() if key not in known))
        known |= found.keys()
    each = kept_two - kept
    return StepCost(
        main,
        swaps - main,
        judged,
        each,
        kept_two_swaps - kept_swaps - each,
        kept - each,
        *counts,
    )
