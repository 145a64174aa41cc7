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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vasa.training.config import LoopConfig
from vasa.training.fetch import fetch
from vasa.training.optim import averaged_copy, ema_decay, update_average
from vasa.training.phase import Phase, step_phase
from vasa.training.progress import Progress
from vasa.training.runtime import Runtime, batch_ids, start
from vasa.training.scalars import Scalars
from vasa.training.signals import Signals, Stopped
from vasa.training.state import resume, save_state, state_tensors

__all__ = ["Averages", "Phase", "Stopped", "train"]

_log = logging.getLogger(__name__)

Averages = Mapping[str, nn.Module]
Export = Callable[[int, Averages], None]
Preview = Callable[[int, Averages], np.ndarray | None]
Validate = Callable[[int, Averages], Mapping[str, float]]


def train(
    cfg: LoopConfig,
    phases: Sequence[Phase],
    batch_at: Callable[[int], Any],
    run_dir: str | Path,
    *,
    ema: Mapping[str, nn.Module],
    export: Export,
    preview: Preview | None = None,
    validate: Validate | None = None,
    config: Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
) -> int:
    """Trains to ``cfg.steps`` steps, from the newest state in ``run_dir`` if there is one; returns the steps
    done now.

    batch_at(step): the GLOBAL batch of a step, a nest of mappings, sequences and dataclasses of tensors with
        ``cfg.batch_size`` rows; a pure function, called ahead of time from another thread, with no global
        randomness. Where it has ``ids`` (list of str), messages name them.
    ema: live modules whose average over steps is kept, by name; the callables below get these averages, in
        eval mode. They run on the first process only, without gradients.
    export(steps done, averages): writes the file to use, at every save.
    preview: a picture (H, W, 3) uint8 RGB for ``previews/``, or None if it wrote its own.
    validate: scalars to log.
    config: the whole run's config as plain data, kept in every state.
    runtime: of ``runtime.start(cfg)``, when the caller needed the device earlier.

    Raises: FloatingPointError on a non-finite loss or gradient; Stopped after SIGINT or SIGTERM, once saved.
    """
    runtime = runtime or start(cfg)
    run_dir = Path(run_dir)
    if len({phase.name for phase in phases}) != len(phases):
        raise ValueError(f"Phases need different names, got {[phase.name for phase in phases]}.")
    for phase in phases:
        phase.prepare(runtime.device)
    averages = {name: averaged_copy(module.to(runtime.device)) for name, module in ema.items()}
    config = dict(config or {})
    first = resume(run_dir, phases, averages, config)
    if first >= cfg.steps:
        _log.info("%s is at step %d of %d: nothing left to train.", run_dir, first, cfg.steps)
        return 0

    progress = Progress(cfg, run_dir, first, config) if runtime.is_main else None
    scalars = Scalars(runtime)
    steps = range(first, cfg.steps)
    with Signals(runtime.world == 1) as signals, closing(fetch(batch_at, steps, cfg.prefetch)) as batches:
        for step, batch in zip(steps, batches, strict=True):
            runtime.seed_step(cfg.seed, step)
            parts = runtime.shares(batch, cfg.batch_size, cfg.accumulate)
            for phase in phases:
                scalars.add(
                    step, batch_ids(batch), step_phase(phase, phases, parts, step, cfg.steps, runtime)
                )
            for name, module in ema.items():
                update_average(averages[name], module, ema_decay(cfg.ema_decay, step))

            done = step + 1
            logging_now = _due(done, cfg.log_every, cfg)
            stop = signals.number > 0
            if runtime.world > 1:  # all must stop at the same step; asking costs a message
                stop = logging_now and runtime.any(stop)
            saving = stop or _due(done, cfg.save_every, cfg)
            if logging_now or saving or runtime.device.type == "cpu":
                scalars.raise_if_not_finite()
            means = scalars.means() if logging_now else {}
            if progress:
                if means:
                    progress.losses(done, means)
                if not stop:
                    _show(cfg, done, averages, progress, validate, preview)
                if saving:  # last, so that everything up to a saved step has been told and exported
                    with torch.no_grad():
                        export(done, averages)
                    save_state(run_dir, done, state_tensors(phases, averages), config, cfg.keep_states)
                    progress.not_rated()
            if stop:
                runtime.wait()  # or the end of the others could end the first process while it saves
                raise Stopped(done, signals.number or signal.SIGTERM)
    if progress:
        progress.close()
    runtime.wait()
    return len(steps)


def _due(done: int, every: int, cfg: LoopConfig) -> bool:
    """Whether something that happens every so many steps (0: never) does so now; always at the last."""
    return every > 0 and (done == cfg.steps or done % every == 0)


@torch.no_grad()
def _show(
    cfg: LoopConfig,
    done: int,
    averages: Averages,
    progress: Progress,
    validate: Validate | None,
    preview: Preview | None,
) -> None:
    if validate and _due(done, cfg.validate_every, cfg):
        progress.validation(done, validate(done, averages))
        progress.not_rated()
    if preview and _due(done, cfg.preview_every, cfg):
        image = preview(done, averages)
        if image is not None:
            progress.preview(done, image)
        progress.not_rated()
