"""Trains the frozen stand-in networks one after the other: pools, network, loop, validation, export."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vasa.checkpoint import plain
from vasa.data.judge_pools import FrameSampler, LabelledFrames, Pool
from vasa.metrics.correlation import pearson
from vasa.metrics.identity import verification_accuracy
from vasa.metrics.pose import axis_errors
from vasa.pretrained.expression import blink
from vasa.pretrained.files import save_network
from vasa.records import CONTROL_NAMES, EMOTIONS
from vasa.training.judge_card import write_card
from vasa.training.judge_config import TrainJudgesRun
from vasa.training.judge_step import JudgeStep
from vasa.training.loop import Phase, train
from vasa.training.runtime import start

_log = logging.getLogger(__name__)
CHUNK = 64
"""Frames that a validation shows a network at once."""


def train_judges(run: TrainJudgesRun) -> dict[str, Path]:
    """Trains every judge asked for, each resuming by itself; gives the exported files by name."""
    names = run.only or list(run.judges)
    pools: dict[str, Pool] = {}
    for pool in {p: None for n in names for p in (*run.judges[n].pools, *run.judges[n].validation_pools)}:
        pools[pool] = Pool(run.pools[pool], run.pool_dir / pool)
    exported = {name: train_judge(name, run, pools) for name in names}
    write_card(run.output)
    return exported


def train_judge(name: str, run: TrainJudgesRun, pools: Mapping[str, Pool]) -> Path:
    """Trains one network from its newest state and exports its average as fp16."""
    judge = run.judges[name]
    loop = dataclasses.replace(run.loop, steps=judge.steps, seed=judge.seed)
    optimizer = dataclasses.replace(run.optimizer, learning_rate=judge.learning_rate)
    runtime = start(loop)
    step = JudgeStep(judge, FrameSampler([pools[p] for p in judge.pools], loop.batch_size, judge.seed))
    held_out = {p: _first_frames(pools[p], run.validation_frames) for p in judge.validation_pools}
    path = run.output / f"{name}.safetensors"
    scores: dict[str, float] = {}

    def validate(_done: int, averages: Mapping[str, nn.Module]) -> Mapping[str, float]:
        network = averages[name].get_submodule("network")
        scores.clear()
        for pool, frames in held_out.items():
            scores.update({f"{pool}/{k}": v for k, v in score(judge.kind, network, frames).items()})
        return scores

    def export(done: int, averages: Mapping[str, nn.Module]) -> None:
        meta = {
            "steps": done,
            "samples": done * loop.batch_size,
            "judge": plain(judge),
            "scores": dict(scores),
        }
        save_network(averages[name].get_submodule("network"), path, meta)

    train(
        loop,
        [Phase(name, step.module, step.loss, optimizer)],
        step.batch_at,
        run.run_dir / name,
        ema={name: step.module},
        export=export,
        validate=validate if held_out else None,
        config=plain(judge),
        runtime=runtime,
    )
    return path


def _first_frames(pool: Pool, count: int) -> LabelledFrames:
    """The first `count` frames of a pool, or all."""
    return pool[list(range(min(len(pool), count)))]


@torch.no_grad()
def score(kind: str, network: nn.Module, frames: LabelledFrames) -> dict[str, float]:
    """What a network is worth on frames of people it has not seen; crops are cut by true landmarks."""
    device = next(network.parameters()).device
    parts = []
    for start_at in range(0, len(frames.frames), CHUNK):
        rows = slice(start_at, start_at + CHUNK)
        images = frames.images[rows].to(device)
        if kind == "landmarks":
            out = network(images)
            parts.append(torch.cat([out.pose, out.landmarks.flatten(1)], -1).cpu())
        else:
            parts.append(network(images, frames.landmarks[rows].to(device)).cpu())
    return {
        "landmarks": _score_landmarks,
        "expression": _score_expression,
        "emotion": _score_emotion,
        "identity": _score_identity,
    }[kind](torch.cat(parts), frames)


def _score_landmarks(out: Tensor, frames: LabelledFrames) -> dict[str, float]:
    errors = axis_errors(out[:, :6], frames.pose)
    points = out[:, 6:].view(-1, 68, 2)
    between_eyes = (frames.landmarks[:, 36] - frames.landmarks[:, 45]).norm(dim=-1).clamp(min=0.05)
    inside = (frames.landmarks.abs() <= 1).all(-1).float()
    distance = ((points - frames.landmarks).norm(dim=-1) * inside).sum(-1) / inside.sum(-1).clamp(min=1)
    named = dict(zip(("yaw_deg", "pitch_deg", "roll_deg"), errors.tolist(), strict=True))
    beside = (out[:, 3:6] - frames.pose[:, 3:]).abs().mean(0).tolist()
    named |= dict(zip(("translation_x", "translation_y", "log_scale"), beside, strict=True))
    return {**named, "points_of_eye_distance": float((distance / between_eyes).mean())}


def _score_expression(out: Tensor, frames: LabelledFrames) -> dict[str, float]:
    open_eyed = blink(frames.controls) < 0.5
    scores = {}
    for index, name in enumerate(CONTROL_NAMES):
        rows = open_eyed if name.startswith("gaze") else torch.ones_like(open_eyed)
        scores[name] = float(pearson(out[rows, index], frames.controls[rows, index]))
    return scores


def _score_emotion(out: Tensor, frames: LabelledFrames) -> dict[str, float]:
    rows = frames.has_emotion > 0
    scores = {n: float(pearson(out[rows, i], frames.emotion[rows, i])) for i, n in enumerate(EMOTIONS)}
    strong = rows & (frames.emotion.amax(1) > 0.6)
    hits = out[strong].argmax(1) == frames.emotion[strong].argmax(1)
    return {**scores, "accuracy_when_strong": float(hits.float().mean())}


def _score_identity(out: Tensor, frames: LabelledFrames) -> dict[str, float]:
    return {"verification": verification_accuracy(out, frames.person)}
