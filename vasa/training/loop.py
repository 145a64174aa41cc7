"""The one training loop: fetch, step every phase, average, log, sometimes validate, preview, export and save.

It knows phases (a module, its loss, its optimiser) and nothing of faces or motion. Everything that varies
while training is a function of the step, so a training state is {step, modules, averages, optimiser moments}
and the same command in the same folder carries on: bitwise on a CPU, also after a kill.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vasa.training.config import LoopConfig
from vasa.training.fetch import fetch
from vasa.training.milestones import Averages, Export, Milestones, Preview, Validate, due, is_milestone
from vasa.training.optim import averaged_copy, ema_decay, update_average
from vasa.training.phase import Phase, learning_rates, step_phase
from vasa.training.progress import Clock, Progress
from vasa.training.runtime import Runtime, batch_ids, cut, start
from vasa.training.scalars import Scalars
from vasa.training.signals import Signals, Stopped
from vasa.training.state import full_disk_told, remove_leftovers, resume
from vasa.training.verdict import Best, Canaries

__all__ = ["Averages", "Phase", "Stopped", "train"]

_log = logging.getLogger(__name__)


def train(
    cfg: LoopConfig,
    phases: Sequence[Phase],
    batch_at: Callable[..., Any],
    run_dir: str | Path,
    *,
    ema: Mapping[str, nn.Module],
    export: Export,
    preview: Preview | None = None,
    validate: Validate | None = None,
    config: Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
    by_rows: bool = False,
) -> int:
    """Trains to ``cfg.steps`` steps, from the newest state in ``run_dir`` if there is one; returns the steps
    done now.

    batch_at(step): the GLOBAL batch of a step, a nest of mappings, sequences and dataclasses of tensors with
        ``cfg.batch_size`` rows; a pure function, called ahead of time from other threads (``cfg.workers`` at
        once), with no global randomness. Where it has ``ids`` (list of str), messages name them.
    by_rows: ``batch_at`` takes (step, rows), a slice, and prepares only these rows of the step's global
        batch: of many processes each then prepares its own share instead of everything.
    ema: live modules whose average over steps is kept, by name; the callables below get these averages, in
        eval mode. They run on the first process only, without gradients.
    export(steps done, averages): writes the file to use, at every save, and returns its path, which
        ``cfg.best_metric`` needs.
    preview: a picture (H, W, 3) uint8 RGB for ``previews/``, or None if it wrote its own.
    validate: scalars to log; ``cfg.best_metric`` and ``cfg.canaries`` may read them.
    config: the whole run's config as plain data, kept in every state.
    runtime: of ``runtime.start(cfg)``, when the caller needed the device earlier.

    Raises: FloatingPointError on a loss or gradient that is not finite, or a total that explodes; DoomedError
    when a canary stops the run; OSError when the disk is full; Stopped after SIGINT or SIGTERM, once saved.
    """
    runtime = runtime or start(cfg)
    run_dir = Path(run_dir)
    rows = runtime.rows(cfg.batch_size, cfg.accumulate)
    _check(cfg, phases, validate)
    canaries = Canaries(cfg, [phase.name for phase in phases], validate is not None)
    for phase in phases:
        phase.prepare(runtime.device)
    averages = {name: averaged_copy(module.to(runtime.device)) for name, module in ema.items()}
    config = dict(config or {})
    first = resume(run_dir, phases, averages, config)
    _check_alike(runtime, phases, first)
    if first >= cfg.steps:
        _log.info("%s is at step %d of %d: nothing left to train.", run_dir, first, cfg.steps)
        return 0

    def share_at(step: int) -> Any:
        share = batch_at(step, rows) if by_rows else cut(batch_at(step), cfg.batch_size, rows)
        return runtime.pinned(share)

    steps = range(first, cfg.steps)
    scalars, clock = Scalars(runtime, cfg.explosion), Clock()
    with (
        full_disk_told(run_dir),
        Signals(runtime.world == 1) as signals,
        closing(fetch(share_at, steps, cfg.prefetch, cfg.workers)) as shares,
    ):
        milestones: Milestones | None = None
        if runtime.is_main:
            remove_leftovers(run_dir)
            progress = Progress(cfg, run_dir, first, config)
            best = Best(cfg, first) if cfg.best_metric else None
            milestones = Milestones(
                cfg, run_dir, phases, averages, config, progress, best, canaries, export, preview, validate
            )
        for step in steps:
            with clock.waiting():
                share = next(shares)
            runtime.seed_step(cfg.seed, step)
            parts = runtime.parts(share, rows.stop - rows.start, cfg.accumulate)
            for phase in phases:
                scalars.add(
                    step, batch_ids(share), step_phase(phase, phases, parts, step, cfg.steps, runtime)
                )
            for name, module in ema.items():
                update_average(averages[name], module, ema_decay(cfg.ema_decay, step - _begun(phases, step)))

            done = step + 1
            stopping = runtime.any(signals.number > 0)  # all stop at the same step
            if stopping or is_milestone(done, cfg) or runtime.device.type == "cpu":
                scalars.raise_if_bad()
            if stopping or is_milestone(done, cfg):
                entry, seconds = {}, 0.0
                if due(done, cfg.log_every, cfg):
                    seconds, data_wait = clock.lap()
                    entry = scalars.means({"data_wait": data_wait, "memory_gib": runtime.memory_gib()})
                    entry |= learning_rates(phases)
                with clock.paused():
                    reach = partial(milestones.reach, done, stopping, entry, seconds) if milestones else None
                    runtime.first_only(reach)
            if stopping:
                raise Stopped(done, signals.number or signal.SIGTERM)
        if milestones:
            milestones.progress.close()
    runtime.wait()
    return len(steps)


def _check(cfg: LoopConfig, phases: Sequence[Phase], validate: Validate | None) -> None:
    if len({phase.name for phase in phases}) != len(phases):
        raise ValueError(f"Phases need different names, got {[phase.name for phase in phases]}.")
    if cfg.best_metric and validate is None:
        raise ValueError("loop.best_metric reads validations; this run has none.")


def _begun(phases: Sequence[Phase], step: int) -> int:
    """Where the course that ``step`` belongs to began: averages forget what was before a restart."""
    return max((p.optimizer.restart_step for p in phases if p.optimizer.restart_step <= step), default=0)


def _check_alike(runtime: Runtime, phases: Sequence[Phase], first: int) -> None:
    """Processes that start from different weights would train quietly to nothing of worth."""
    cure = "give them the same seed and files, and a run_dir on a file system that all of them share"
    runtime.check_alike("The step to go on from", first, cure)
    tensors = [value.double() for phase in phases for value in phase.module.state_dict().values()]
    sizes = [(value.abs() + value.clamp(min=0)).sum() for value in tensors]
    total = torch.stack(sizes).sum().item() if runtime.world > 1 else 0.0
    runtime.check_alike("The weights to start from", total, cure)
