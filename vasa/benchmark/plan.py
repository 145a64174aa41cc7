"""What training stage 1 will take: the operations, memory and disk of its step, counted on tensors without
data and turned into hours on given GPUs.

Counted: convolutions and matrix products of every pass of the step itself, forward and backward, in bf16
autocast; activations kept for the backward pass. Assumed: which share of the GPUs' rate is reached, and what
the allocator and the libraries need beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vasa.benchmark.config import PlanTrainingRun
from vasa.benchmark.gpus import GPUS, parse
from vasa.benchmark.meter import fake_tensors
from vasa.benchmark.step import PLAIN, SWAPPING, pictures, whole_step
from vasa.face.config import FaceConfig
from vasa.face.volumetric.autoencoder import FaceAutoencoder

SPARE = 2.5e9
"""Bytes a process needs beside tensors: CUDA context, library workspaces. An estimate."""
FRAGMENTED = 1.15
"""The allocator's memory over that of tensors. An estimate."""
PAPER_SCHEDULE = ((256, 24, 200_000), (512, 16, 300_000))
"""Size in px, batch and steps of MegaPortraits (section 4)."""
JPEG_BYTES = ((256, 15e3), (512, 45e3))
"""Of a face crop of that size; FRAMES_PER_S of them are kept."""
FRAMES_PER_S, AUDIO_BYTES_PER_S = 25, 32_000
PAPER_TRAINING = "VASA-1: about 7 days on 4x RTX A6000 for stage 1 at 512 px; batch and steps not given"


@dataclass(frozen=True, slots=True)
class StepCost:
    """Per sample, but for what is called fixed.

    FLOPs: of the reconstruction, of the swaps that come on top for a share of the samples, of the
    discriminator. Bytes: activations of reconstruction and swaps; ``fixed_bytes`` are kept whatever the batch
    (standardised filters). Counts of weights: trained with an average (generator), trained without
    (discriminator), frozen.
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


def _backward_cost(loss: Callable[[], Tensor], weights: list[nn.Parameter]) -> tuple[int, int]:
    """FLOPs forward and backward, and bytes kept in between."""
    kept = _Kept(weights)
    with FlopCounterMode(display=False) as flops:
        with _autocast(), kept:
            value = loss()
        value.backward()
    for weight in weights:
        weight.grad = None
    return flops.get_total_flops(), kept.bytes


def _autocast() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16)


def step_cost(config: FaceConfig) -> StepCost:
    """Counts a training step at the config's size, with batches of one and two to tell what grows with it."""
    with fake_tensors():
        step = whole_step(FaceAutoencoder(config))
        modules: list[nn.Module] = [step.face, step.discriminator, step.frozen]
        weights = [weight for module in modules for weight in module.parameters()]
        one, two = pictures(1, config.size), pictures(2, config.size)
        main = _backward_cost(lambda: step.loss(one, PLAIN), weights)
        adversary = _backward_cost(lambda: step.verdict(one, PLAIN), weights)
        both = _backward_cost(lambda: step.loss(two, PLAIN), weights)
        swaps = _backward_cost(lambda: step.loss(one, SWAPPING), weights)
        more = _backward_cost(lambda: step.loss(two, SWAPPING), weights)
        counts = [sum(weight.numel() for weight in module.parameters()) for module in modules]
        return StepCost(
            main[0],
            swaps[0] - main[0],
            adversary[0],
            both[1] - main[1],
            more[1] - swaps[1] - (both[1] - main[1]),
            2 * main[1] - both[1],
            *counts,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one config on given GPUs. hours: at the high and at the low efficiency. memory: bytes a GPU at its
    share of the batch, if all of that goes through at once; fits: samples that do at most (0: none does).
    data: bytes of frames and sound. disk: of training states and exports.
    """

    name: str
    size: int
    batch: int
    steps: int
    flops: float
    hours: tuple[float, float]
    memory: float
    fits: int
    data: float
    disk: float
    parameters: int


def plan(name: str, config: FaceConfig, run: PlanTrainingRun) -> Plan:
    """Hours, memory and disk of training ``config``.

    Raises: ValueError for unknown GPUs.
    """
    number, kind = parse(run.gpus)
    gpu, cost = GPUS[kind], step_cost(config)
    _, batch, steps = next((row for row in PAPER_SCHEDULE if config.size <= row[0]), PAPER_SCHEDULE[-1])
    batch, steps = run.batch or batch, run.steps or steps
    flops = cost.flops(run.transfer_share / run.transfer_every) * batch
    ideal = flops * steps / (number * gpu.rate) / 3600
    each = FRAGMENTED * (cost.main_bytes + run.transfer_share * cost.swap_bytes)
    held = SPARE + FRAGMENTED * (cost.held_bytes + cost.fixed_bytes)
    state = 4 * (4 * cost.generator + 3 * cost.discriminator)
    return Plan(
        name=name,
        size=config.size,
        batch=batch,
        steps=steps,
        flops=flops,
        hours=(ideal / run.efficiency_high, ideal / run.efficiency_low),
        memory=held + each * batch / number,
        fits=max(int((gpu.memory - held) // each), 0),
        data=_data_bytes(config.size, run.video_hours),
        disk=state * run.keep_states + 4 * cost.generator,
        parameters=cost.generator,
    )


def _data_bytes(size: int, hours: float) -> float:
    frame = next((row[1] for row in JPEG_BYTES if size <= row[0]), JPEG_BYTES[-1][1])
    return hours * 3600 * (FRAMES_PER_S * frame + AUDIO_BYTES_PER_S)


def table(configs: Mapping[str, FaceConfig], run: PlanTrainingRun) -> str:
    """The plans of several configs, by name, as text."""
    return markdown([plan(name, config, run) for name, config in configs.items()], run)


def markdown(plans: list[Plan], run: PlanTrainingRun) -> str:
    """The plans as a table, with what it rests on."""
    number, kind = parse(run.gpus)
    gpu = GPUS[kind]
    lines = [
        f"Stage 1 on {run.gpus}: {number} x {gpu.rate / 1e12:.0f} TFLOP/s dense bf16, "
        f"{gpu.memory / 1e9:.0f} GB; {run.efficiency_low:.0%} to {run.efficiency_high:.0%} of that rate "
        "is assumed.",
        "",
        "| face | M weights | batch x steps | TFLOP a sample | hours | days | GB a GPU | samples a GPU "
        "| TB of frames and sound | GB of states |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for p in plans:
        fast, slow = p.hours
        fits = str(p.fits) if p.fits else "none fits"
        lines.append(
            f"| {p.name} ({p.size} px) | {p.parameters / 1e6:.0f} | {p.batch} x {p.steps:,} "
            f"| {p.flops / p.batch / 1e12:.1f} | {fast:,.0f} to {slow:,.0f} "
            f"| {fast / 24:.1f} to {slow / 24:.1f} | {p.memory / 1e9:.0f} | {fits} "
            f"| {p.data / 1e12:.1f} | {p.disk / 1e9:.1f} |"
        )
    lines += [
        "",
        "GB a GPU: its share of the batch in one part; where that is too much, loop.accumulate cuts it.",
        f"Frames: all of {run.video_hours:,.0f} h at {FRAMES_PER_S} fps. {PAPER_TRAINING}.",
        "",
    ]
    return "\n".join(lines)
