"""What training stage 1 will take: the counted operations, memory and disk of its steps (training_cost.py),
turned into hours on given GPUs, for recipes and for face spaces on MegaPortraits' schedule.

Assumed: which share of the GPUs' rate is reached, and what the allocator and the libraries need beside the
tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vasa.benchmark.config import PlanTrainingRun
from vasa.benchmark.gpus import GPUS, parse
from vasa.benchmark.training_cost import Stage, recipe_costs, step_cost
from vasa.face.config import FaceConfig
from vasa.progress import counted
from vasa.records import VIDEO_FPS
from vasa.training.face_config import TrainFaceRun

SPARE = 2.5e9
"""Bytes a process needs beside tensors: CUDA context, library workspaces. An estimate."""
FRAGMENTED = 1.15
"""The allocator's memory over that of tensors. An estimate."""
PAPER_SCHEDULE = ((256, 24, 200_000), (512, 16, 300_000))
"""Size in px, batch and steps of MegaPortraits (section 4)."""
RENDERED_BYTES = 6.75
"""Of a pixel in the cache of procedural heads: the frame, flow and visibility of three partners at half the
size (data/frame_pairs.py).
"""
FRAME_BYTES, FRAME_POWER, MASK_SHARE = 7713.0, 1.745, 0.18
"""Of a stored frame at 512 px; by which power of the side it grows; how much masks add (0.14 at 512 px, 0.23
at 256). Of seven clips of real people (docs/data.md).
"""
OTHER_BYTES = 28_900.0
"""Of a second of sound and signals there."""
PAPER_TRAINING = "VASA-1: about 7 days on 4x RTX A6000 for stage 1 at 512 px; batch and steps not given"


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one row on given GPUs. flops: of a step, in the mean. hours: at the high and at the low efficiency.
    memory: bytes a GPU at its share of the batch, if all of that goes through at once; fits: samples that do
    at most (0: none does); both in the largest stage. data: bytes of frames. disk: of training states and
    exports.
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


def face_plan(name: str, config: FaceConfig, run: PlanTrainingRun) -> Plan:
    """Of a face space with all terms, on MegaPortraits' schedule. Raises: ValueError for unknown GPUs."""
    _, batch, steps = next((row for row in PAPER_SCHEDULE if config.size <= row[0]), PAPER_SCHEDULE[-1])
    stages = [Stage(run.steps or steps, step_cost(config))]
    swapped = run.transfer_share, run.transfer_every
    return _plan(
        f"face={name}", config.size, run.batch or batch, stages, swapped, clip_bytes(config.size, run), run
    )


def recipe_plan(name: str, recipe: TrainFaceRun, run: PlanTrainingRun) -> Plan:
    """Of a recipe as it ships. Raises: ValueError for unknown GPUs."""
    size, losses, pairs = recipe.face.size, recipe.losses, recipe.pairs
    rendered = pairs.num_identities * pairs.frames * size**2 * (RENDERED_BYTES + pairs.masks)
    data = clip_bytes(size, run) if recipe.data == "clips" else rendered
    swapped = losses.transfer_share, losses.transfer_every
    stages = recipe_costs(recipe)
    return _plan(f"experiment={name}", size, recipe.loop.batch_size, stages, swapped, data, run)


def _plan(
    name: str,
    size: int,
    batch: int,
    stages: list[Stage],
    swapped: tuple[float, int],
    data: float,
    run: PlanTrainingRun,
) -> Plan:
    """swapped: the share of a batch that codes are swapped in, and the steps between."""
    number, kind = parse(run.gpus)
    gpu, (share, every) = GPUS[kind], swapped
    steps = sum(stage.steps for stage in stages)
    total = batch * sum(stage.steps * stage.cost.flops(share / every) for stage in stages)
    ideal = total / (number * gpu.rate) / 3600
    needs = [
        (
            SPARE + FRAGMENTED * (stage.cost.held_bytes + stage.cost.fixed_bytes),
            FRAGMENTED * (stage.cost.main_bytes + share * stage.cost.swap_bytes),
        )
        for stage in stages
    ]
    cost = stages[0].cost
    state = 4 * (4 * cost.generator + 3 * cost.discriminator)
    return Plan(
        name=name,
        size=size,
        batch=batch,
        steps=steps,
        flops=total / steps,
        hours=(ideal / run.efficiency_high, ideal / run.efficiency_low),
        memory=max(held + each * batch / number for held, each in needs),
        fits=max(min(int((gpu.memory - held) // each) for held, each in needs), 0),
        data=data,
        disk=state * run.keep_states + 4 * cost.generator,
        parameters=cost.generator,
    )


def clip_bytes(size: int, run: PlanTrainingRun) -> float:
    """Of the clips that scripts/preprocess.py stores: pictures, masks, sound, signals (docs/data.md)."""
    pictures = FRAME_BYTES * (size / 512) ** FRAME_POWER * (1 + MASK_SHARE * run.masks)
    return run.num_clips * run.clip_seconds * (VIDEO_FPS * pictures + OTHER_BYTES)


def _short(number: float) -> str:
    """Two digits, or all before the point."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}" if number >= 1 else f"{number:.1g}"


def table(recipes: Mapping[str, TrainFaceRun], faces: Mapping[str, FaceConfig], run: PlanTrainingRun) -> str:
    """The plans of several recipes and face spaces, by name, as text."""
    plans = [recipe_plan(name, recipes[name], run) for name in counted("recipes", list(recipes))]
    plans += [face_plan(name, faces[name], run) for name in counted("faces", list(faces))]
    return markdown(plans, run)


def markdown(plans: list[Plan], run: PlanTrainingRun) -> str:
    """The plans as a table, with what it rests on."""
    number, kind = parse(run.gpus)
    gpu = GPUS[kind]
    lines = [
        f"Stage 1 on {run.gpus}: {number} x {gpu.rate / 1e12:.0f} TFLOP/s dense bf16, "
        f"{gpu.memory / 1e9:.0f} GB; {run.efficiency_low:.0%} to {run.efficiency_high:.0%} of that rate "
        "is assumed.",
        "",
        "| | M weights | batch x steps | TFLOP a sample | hours | days | GB a GPU | samples a GPU "
        "| TB of clips | GB of states |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for p in plans:
        fast, slow = p.hours
        fits = str(p.fits) if p.fits else "none fits"
        lines.append(
            f"| {p.name} ({p.size} px) | {p.parameters / 1e6:.0f} | {p.batch} x {p.steps:,} "
            f"| {_short(p.flops / p.batch / 1e12)} | {_short(fast)} to {_short(slow)} "
            f"| {_short(fast / 24)} to {_short(slow / 24)} | {p.memory / 1e9:.0f} | {fits} "
            f"| {_short(p.data / 1e12)} | {p.disk / 1e9:.1f} |"
        )
    masks = "with masks" if run.masks else "without masks"
    lines += [
        "",
        "experiment=: the recipe's own steps, each size and each part of its losses at its price. face=: all "
        "terms on MegaPortraits' schedule.",
        "GB a GPU: its share of the batch in one part; where that is too much, loop.accumulate cuts it.",
        f"Clips: {run.num_clips:,} of {run.clip_seconds:g} s, as scripts/preprocess.py stores them ({masks}, "
        "sound and signals); procedural heads: their cache.",
        f"{PAPER_TRAINING}.",
        "",
    ]
    return "\n".join(lines)
