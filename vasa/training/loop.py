"""The one training loop: fetch, step every phase, average, log, sometimes validate, preview, export and save.

It knows phases (a module, its loss, its optimiser) and nothing of faces or motion. Everything that varies
while training is a function of the step, so a training state is {step, modules, averages, optimiser moments}
and the same command in the same folder carries on: bitwise on a CPU, also after a kill.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vasa.checkpoint import Weights, load_into, load_latest_state, save_state
from vasa.training.config import LoopConfig, OptimizerConfig
from vasa.training.optim import (
    averaged_copy,
    build_optimizer,
    ema_decay,
    learning_rate,
    load_optimizer_tensors,
    optimizer_tensors,
    set_learning_rate,
    update_average,
)
from vasa.training.progress import Progress
from vasa.training.runtime import Runtime, batch_ids, start

_log = logging.getLogger(__name__)

Losses = dict[str, Tensor]
Averages = Mapping[str, nn.Module]


@dataclass(slots=True)
class Phase:
    """A module that one optimiser trains.

    loss(batch, step) -> scalars by name: ``total`` is minimised, every other is logged. In a part of an
    accumulated or distributed batch it must be the mean over the samples it is given. Parameters frozen
    beforehand stay frozen.
    """

    name: str
    module: nn.Module
    loss: Callable[[Any, int], Losses]
    optimizer: OptimizerConfig
    adam: torch.optim.AdamW = field(init=False)
    parameters: list[nn.Parameter] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError(f"Phase {self.name} has no parameter to train.")


class Stopped(KeyboardInterrupt):
    """A signal ended the run after a finished and saved step. ``exit_code`` is what the shell gets."""

    def __init__(self, step: int, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(
            f"Stopped by {name} at step {step}; its state is saved, and the same command carries on."
        )
        self.exit_code = 128 + number


def train(
    cfg: LoopConfig,
    phases: Sequence[Phase],
    batch_at: Callable[[int], Any],
    run_dir: str | Path,
    *,
    ema: Mapping[str, nn.Module],
    export: Callable[[int, Averages], None],
    preview: Callable[[int, Averages], np.ndarray | None] | None = None,
    validate: Callable[[int, Averages], Mapping[str, float]] | None = None,
    config: Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
) -> int:
    """Trains to ``cfg.steps`` steps, from the newest state in ``run_dir`` if there is one; returns the steps
    done now.

    batch_at(step): the GLOBAL batch of a step, a nest of mappings, sequences and dataclasses of tensors with
        ``cfg.batch_size`` rows; a pure function, called ahead of time from another thread, with no global
        randomness. Where it has ``ids`` (list of str), messages name them.
    ema: modules whose average over steps is kept, by name; the callables below get these averages, in eval
    mode. export(steps done, averages): writes the file to use, at every save. preview: a picture (H, W, 3)
    uint8 for
        ``previews/``, or None if it wrote its own. validate: scalars to log. All three run on the first
        process only.
    config: the whole run's config as plain data, kept in every state.

    Raises: FloatingPointError on a non-finite loss or gradient; Stopped after SIGINT or SIGTERM, once saved.
    """
    runtime = runtime or start(cfg)
    run_dir = Path(run_dir)
    modules = {phase.name: phase.module.to(runtime.device) for phase in phases}
    if len(modules) != len(phases):
        raise ValueError(f"Phases need different names, got {[phase.name for phase in phases]}.")
    for phase in phases:
        phase.adam = build_optimizer(phase.parameters, phase.optimizer)
    averages = {name: averaged_copy(module.to(runtime.device)) for name, module in ema.items()}
    config = dict(config or {})
    first = _resume(run_dir, phases, averages, config)
    if first >= cfg.steps:
        _log.info("%s is at step %d of %d: nothing left to train.", run_dir, first, cfg.steps)
        return 0

    progress = Progress(cfg, run_dir, first, config) if runtime.is_main else None
    checks = _Checks(runtime)
    steps = range(first, cfg.steps)
    with (
        _Signals(runtime.world == 1) as signals,
        contextlib.closing(_fetch(batch_at, steps, cfg.prefetch)) as batches,
    ):
        for step, batch in zip(steps, batches, strict=True):
            runtime.seed_step(cfg.seed, step)
            parts = runtime.shares(batch, cfg.batch_size, cfg.accumulate)
            for phase in phases:
                checks.add(step, batch, _step_phase(phase, phases, parts, step, cfg.steps, runtime))
            for name, module in ema.items():
                update_average(averages[name], module, ema_decay(cfg.ema_decay, step))

            done = step + 1
            last = done == cfg.steps
            logging_now = last or done % cfg.log_every == 0
            stop = (
                signals.number if runtime.world == 1 else (logging_now and runtime.any(bool(signals.number)))
            )
            saving = bool(stop) or last or done % cfg.save_every == 0
            if logging_now or saving or runtime.device.type == "cpu":
                checks.raise_if_not_finite()
            if logging_now:
                means = checks.means()
                if progress:
                    progress.losses(done, means)
            if progress and not stop:
                _show(cfg, done, averages, progress, validate, preview)
            if progress and saving:
                export(done, averages)
                save_state(run_dir, done, _state(phases, averages), config, cfg.keep_states)
                progress.not_rated()
            if stop:
                runtime.wait()  # or the first process could be ended by the others' end while it still saves
                raise Stopped(done, signals.number or signal.SIGTERM)
    if progress:
        progress.close()
    runtime.wait()
    return cfg.steps - first


def _step_phase(
    phase: Phase, phases: Sequence[Phase], parts: list[Any], step: int, steps: int, runtime: Runtime
) -> dict[str, Tensor]:
    """One optimiser step of one phase. Returns its scalars, detached, unread, named with the phase when there
    are several.
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
    return scalars if len(phases) == 1 else {f"{phase.name}/{name}": value for name, value in scalars.items()}


def _show(
    cfg: LoopConfig,
    done: int,
    averages: Averages,
    progress: Progress,
    validate: Callable[[int, Averages], Mapping[str, float]] | None,
    preview: Callable[[int, Averages], np.ndarray | None] | None,
) -> None:
    def due(every: int) -> bool:
        return every > 0 and (done == cfg.steps or done % every == 0)

    if validate and due(cfg.validate_every):
        with torch.no_grad():
            progress.validation(done, validate(done, averages))
        progress.not_rated()
    if preview and due(cfg.preview_every):
        with torch.no_grad():
            image = preview(done, averages)
        if image is not None:
            progress.preview(done, image)
        progress.not_rated()


# ------------------------------------------------------------------------------------------------------------
# State


def _state(phases: Sequence[Phase], averages: Averages) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for phase in phases:
        tensors |= {f"module/{phase.name}/{k}": v for k, v in phase.module.state_dict().items()}
        tensors |= {f"adam/{phase.name}/{k}": v for k, v in optimizer_tensors(phase.adam).items()}
    for name, average in averages.items():
        tensors |= {f"average/{name}/{k}": v for k, v in average.state_dict().items()}
    return tensors


def _resume(run_dir: Path, phases: Sequence[Phase], averages: Averages, config: Mapping[str, Any]) -> int:
    """Loads the newest readable state into everything; returns the steps it had done, 0 without one."""
    found = load_latest_state(run_dir)
    if found is None:
        return 0
    step, state = found
    changed = _differences(state.config, config)
    if changed:
        _log.warning("Resuming %s under a changed config: %s.", run_dir, "; ".join(changed))
    for phase in phases:
        load_into(phase.module, _under(state, f"module/{phase.name}/"), phase.name)
        load_optimizer_tensors(phase.adam, _under(state, f"adam/{phase.name}/").tensors)
    for name, average in averages.items():
        load_into(average, _under(state, f"average/{name}/"), f"the average of {name}")
    _log.info("Resuming %s at step %d.", run_dir, step)
    return step


def _under(state: Weights, prefix: str) -> Weights:
    tensors = {k.removeprefix(prefix): v for k, v in state.tensors.items() if k.startswith(prefix)}
    return Weights(tensors, state.config, state.meta, state.path)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key} was {before}, is {after}")
    return found


# ------------------------------------------------------------------------------------------------------------
# Around the steps


class _Checks:
    """Scalars since the last log entry, kept on the device; read together, so that a GPU is not waited for
    each step.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._kept: list[tuple[int, Any, dict[str, Tensor]]] = []
        self._checked = 0

    def add(self, step: int, batch: Any, scalars: dict[str, Tensor]) -> None:
        self._kept.append((step, batch_ids(batch), scalars))

    def raise_if_not_finite(self) -> None:
        """Raises: FloatingPointError naming the first step, its bad scalars and its batch."""
        for step, ids, scalars in self._kept[self._checked :]:
            if not torch.stack(list(scalars.values())).isfinite().all():
                bad = {name: value.item() for name, value in scalars.items() if not value.isfinite()}
                shown = ", ".join(f"{name}={value}" for name, value in bad.items())
                made_of = f" of {', '.join(ids)}" if ids else ""
                raise FloatingPointError(
                    f"Training stopped at step {step}: {shown} on the batch{made_of}; "
                    "the last saved state is sound; lower the learning rate or look at these samples."
                )
        self._checked = len(self._kept)

    def means(self) -> dict[str, float]:
        """Means over the steps since the last call and over processes, and a fresh start."""
        values: dict[str, list[Tensor]] = {}
        for _, _, scalars in self._kept:
            for name, value in scalars.items():
                values.setdefault(name, []).append(value)
        self._kept, self._checked = [], 0
        means = self._runtime.mean(torch.stack([torch.stack(v).mean() for v in values.values()]))
        return dict(zip(values, means.tolist(), strict=True))


def _fetch(batch_at: Callable[[int], Any], steps: Sequence[int], ahead: int) -> Iterator[Any]:
    """Batches in the order of the steps, at most ``ahead`` prepared in a thread. An error surfaces at its
    step.
    """
    if ahead == 0:
        yield from map(batch_at, steps)
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        waiting = deque(pool.submit(batch_at, step) for step in steps[:ahead])
        for step in steps:
            batch = waiting.popleft().result()
            if step + ahead < steps[-1] + 1:
                waiting.append(pool.submit(batch_at, step + ahead))
            yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Signals:
    """Notes SIGINT and SIGTERM so that the step can finish.

    A second one ends the program at once, but not under torchrun, which sends the same one again by itself.
    """

    def __init__(self, second_ends: bool) -> None:
        self.number: int = 0
        self._second_ends = second_ends
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, _frame: object) -> None:
        _log.warning("%s: finishing the step and saving.", signal.Signals(number).name)
        self.number = number
        if self._second_ends:
            self.__exit__()

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
