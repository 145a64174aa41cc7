"""Trains the frozen stand-in networks one after the other: pools, network, loop, validation, export."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from vasa.checkpoint import plain
from vasa.data.judge_pools import LabelledFrames, Pool
from vasa.pretrained.capp import CappNet
from vasa.pretrained.files import save_network
from vasa.pretrained.syncnet import SyncNet
from vasa.training.capp_step import CappStep
from vasa.training.judge_card import write_card
from vasa.training.judge_config import SECTIONS, TrainJudgesRun
from vasa.training.judge_scores import score
from vasa.training.judge_step import build_step
from vasa.training.loop import Phase, train
from vasa.training.runtime import start
from vasa.training.syncnet_step import SyncStep
from vasa.training.video_net_step import VideoNetStep


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
    size = judge.batch_size or run.loop.batch_size
    loop = dataclasses.replace(run.loop, steps=judge.steps, seed=judge.seed, batch_size=size)
    optimizer = dataclasses.replace(run.optimizer, learning_rate=judge.learning_rate)
    runtime = start(loop)
    step = build_step(judge, [pools[p] for p in judge.pools], loop.batch_size, run.pool_dir)
    held_out = {p: _first_frames(pools[p], run.validation_frames) for p in judge.validation_pools}
    path = run.output / f"{name}.safetensors"
    scores: dict[str, float] = {}

    def validate(_done: int, averages: Mapping[str, nn.Module]) -> Mapping[str, float]:
        network = averages[name].get_submodule("network")
        scores.clear()
        if isinstance(step, CappStep):
            assert isinstance(network, CappNet)
            scores.update(step.scores(network))
        if isinstance(step, SyncStep):
            assert isinstance(network, SyncNet)
            scores.update(step.scores(network))
        if isinstance(step, VideoNetStep):
            scores.update(step.scores(averages[name]))
        for pool, frames in held_out.items():
            found = score(judge.kind, network, frames, run.output, judge.reader)
            scores.update({f"{pool}/{k}": v for k, v in found.items()})
        return scores

    def export(done: int, averages: Mapping[str, nn.Module]) -> Path:
        own = SECTIONS[judge.kind]  # what the file says of other kinds would only fill it
        meta = {
            "steps": done,
            "samples": done * loop.batch_size,
            "judge": {k: v for k, v in plain(judge).items() if k in own or not isinstance(v, dict)},
            "scores": dict(scores),
        }
        save_network(averages[name].get_submodule("network"), path, meta)
        return path

    train(
        loop,
        [Phase(name, step.module, step.loss, optimizer)],
        step.batch_at,
        run.run_dir / name,
        ema={name: step.module},
        export=export,
        validate=validate if held_out or isinstance(step, CappStep | SyncStep | VideoNetStep) else None,
        config=plain(judge),
        runtime=runtime,
    )
    return path


def _first_frames(pool: Pool, count: int) -> LabelledFrames:
    """The first `count` frames of a pool, or all."""
    return pool[list(range(min(len(pool), count)))]
