"""Optimisers and averages as functions of the step, so that a checkpoint needs no schedule to resume."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vasa.training.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine from the peak down to ``final_fraction`` of it at ``steps``; once
    before ``restart_step``, and once after it.
    """
    if step < config.restart_step:
        steps = min(steps, config.restart_step)
    else:
        step, steps = step - config.restart_step, steps - config.restart_step
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / max(1, steps - 1 - config.warmup_steps))
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
    return config.learning_rate * (config.final_fraction + (1.0 - config.final_fraction) * cosine)


def ema_decay(largest: float, step: int) -> float:
    """Decay of the average after ``step`` updates: short at first, so that it forgets the random weights."""
    return min(largest, (1.0 + step) / (10.0 + step))


def build_optimizer(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on tensors of two axes or more."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate, betas=betas)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments as flat tensors, named ``<parameter>.<moment>``. Its options come from the
    config.
    """
    slots = optimizer.state_dict()["state"]
    return {f"{index}.{key}": value for index, moments in slots.items() for key, value in moments.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of ``optimizer_tensors``."""
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        slots.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def averaged_copy(module: nn.Module) -> nn.Module:
    """A copy in eval mode that ``update_average`` keeps; it takes no gradient."""
    return copy.deepcopy(module).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    """average <- decay average + (1 - decay) module for parameters; buffers are copied."""
    averages: list[Tensor] = list(average.parameters())
    values: list[Tensor] = list(module.parameters())
    if averages:
        torch._foreach_lerp_(averages, values, 1.0 - decay)
    for kept, value in zip(average.buffers(), module.buffers(), strict=True):
        kept.copy_(value)
