"""A phase of training: one module, its loss and its optimiser, and one step of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vasa.training.config import OptimizerConfig
from vasa.training.optim import build_optimizer, learning_rate, set_learning_rate
from vasa.training.runtime import Runtime

_Scalar = TypeVar("_Scalar")


@dataclass(slots=True)
class Phase:
    """A module that one optimiser trains.

    loss(batch, step) -> scalars by name: ``total`` is minimised, every other is logged. Each must be a mean
    over the samples it is given, which may be a part of the global batch. Every phase of a step is given the
    same parts in the same order, one call for each: so a generator's loss may line up what it made of each
    part, and the discriminator's, in the phase after it, take one from the line at each call. Parameters
    frozen beforehand stay frozen.
    """

    name: str
    module: nn.Module
    loss: Callable[[Any, int], dict[str, Tensor]]
    optimizer: OptimizerConfig
    parameters: list[nn.Parameter] = field(init=False)
    adam: torch.optim.AdamW = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError(f"Phase {self.name} has no parameter to train.")

    def prepare(self, device: torch.device) -> None:
        """Moves the module to the device and makes a new optimiser."""
        self.module.to(device)
        self.adam = build_optimizer(self.parameters, self.optimizer)


def step_phase(
    phase: Phase, phases: Sequence[Phase], parts: list[Any], step: int, steps: int, runtime: Runtime
) -> dict[str, Tensor]:
    """One optimiser step of one phase over the parts of a batch.

    Only the phase's own parameters take gradients meanwhile, so that of two adversaries neither teaches the
    other. The parts are visited in their order. Returns its scalars and the norm of its gradient: detached,
    not read, prefixed with its name if there are several.
    """
    for other in phases:
        for parameter in other.parameters:
            parameter.requires_grad_(False)
    for parameter in phase.parameters:
        parameter.requires_grad_(True)
    phase.module.train()
    phase.adam.zero_grad(set_to_none=True)
    scalars: dict[str, Tensor] = {}
    for part in parts:
        with runtime.autocast():
            losses = phase.loss(part, step)
        (losses["total"] / len(parts)).backward()
        for name, value in losses.items():
            scalars[name] = scalars.get(name, 0.0) + value.detach().float() / len(parts)
    runtime.average_gradients(phase.parameters)
    limit = phase.optimizer.clip_norm or float("inf")
    scalars["gradient_norm"] = nn.utils.clip_grad_norm_(phase.parameters, limit)
    set_learning_rate(phase.adam, learning_rate(phase.optimizer, step, steps))
    phase.adam.step()
    return _named(phase, phases, scalars)


def learning_rates(phases: Sequence[Phase]) -> dict[str, float]:
    """What each phase's last step was taken with, named as the scalars of ``step_phase``."""
    rates: dict[str, float] = {}
    for phase in phases:
        rates |= _named(phase, phases, {"learning_rate": float(phase.adam.param_groups[0]["lr"])})
    return rates


def _named(phase: Phase, phases: Sequence[Phase], scalars: dict[str, _Scalar]) -> dict[str, _Scalar]:
    return scalars if len(phases) == 1 else {f"{phase.name}/{name}": value for name, value in scalars.items()}
