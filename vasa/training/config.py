"""Options of every training run: the loop and the optimisers. Torch-free, so that the command line answers at
once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("fp32", "bf16")
LOGGERS = ("tensorboard", "wandb", "none")


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value} is unknown; wanted one of {', '.join(choices)}.")


def _at_least(name: str, value: float, low: float) -> None:
    if not value >= low:
        raise ValueError(f"{name}={value} is too small; wanted at least {low}.")


@dataclass(kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW of one phase. The learning rate warms up linearly and then falls along a cosine, by step."""

    learning_rate: float = 2e-4  # peak
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.01  # on matrices and kernels only, never on biases and norms
    warmup_steps: int = 200
    restart_step: int = 0  # where the learning rate begins anew, warm-up and all; 0: it does not
    final_fraction: float = 0.05  # of the peak learning rate, reached at the last step
    clip_norm: float = 1.0  # largest norm of the whole gradient; 0 does not clip

    def __post_init__(self) -> None:
        for name in (
            "learning_rate",
            "beta1",
            "beta2",
            "weight_decay",
            "warmup_steps",
            "restart_step",
            "clip_norm",
        ):
            _at_least(f"optimizer.{name}", getattr(self, name), 0)
        for name in ("warmup_steps", "restart_step"):
            _at_least(f"optimizer.{name}", getattr(self, name), 0)
        if not 0 <= self.final_fraction <= 1:
            raise ValueError(f"optimizer.final_fraction={self.final_fraction} is not within 0 and 1.")


@dataclass(kw_only=True, slots=True)
class Canary:
    """What a healthy run has reached by a step; only the first validation, or log entry, at or after that
    step is judged. Beyond the run's last step nothing is.
    """

    metric: str  # as the validation names it; of training <phase>/<scalar>, the mean that is logged
    step: int
    low: float | None = None  # the smallest healthy value
    high: float | None = None  # the largest

    def __post_init__(self) -> None:
        _at_least(f"step of the canary {self.metric}", self.step, 1)
        if self.low is None and self.high is None:
            raise ValueError(f"The canary {self.metric} has no bound; give it low, high, or both.")


@dataclass(kw_only=True, slots=True)
class LoopConfig:
    """The one training loop of every stage. Every schedule is a function of the step."""

    steps: int = 1000  # optimiser steps in all; a resumed run goes on to the same number
    batch_size: int = 16  # GLOBAL: samples per step over all processes and accumulated parts
    accumulate: int = 1  # parts that each process cuts its share of the batch into, to save memory
    seed: int = 0  # of weights at the start, of data order, and of every random choice while training
    device: str = "auto"  # auto, cpu, cuda or mps; auto takes cuda, else mps, else cpu
    precision: str = "fp32"  # fp32 or bf16 (autocast; weights and optimiser stay fp32)
    threads: int = 0  # CPU threads of torch in each process; 0 leaves them alone
    nice: int = 0  # lowers the priority of the process by this much (Unix), 0 to 19
    prefetch: int = 2  # batches prepared ahead; 0 prepares each when it is needed
    workers: int = 1  # threads of each process that prepare them; more when the log says it waits for data
    ema_decay: float = 0.999  # of the averaged weights, approached as (1 + step) / (10 + step)
    log_every: int = 20  # steps
    save_every: int = 500  # steps between training states and exports; the last step is always saved
    keep_states: int = 2  # training states kept; two, so that a damaged one costs only one interval
    preview_every: int = 500  # steps between pictures; 0 makes none
    validate_every: int = 500  # steps between validations; 0 makes none
    best_metric: str = ""  # of the validation: its best export is also kept, as <export>.best; empty: none
    best_is: str = "max"  # max or min: whether a better best_metric is a larger or a smaller one
    canaries: list[Canary] = field(default_factory=list)  # bounds that stop a doomed run; docs/training.md
    # size of a phase's total that stops a run as one that is not finite does; far above any sound one (stage
    # 1: 1 to 100). 0: none does. What is bounded, as errors of pixels are, never gets there: see canaries
    explosion: float = 1e6
    logger: str = "tensorboard"  # tensorboard, wandb or none; metrics.jsonl is always written
    wandb_project: str = "vasa"  # only read with logger=wandb

    def __post_init__(self) -> None:
        _choice("loop.device", self.device, DEVICES)
        _choice("loop.precision", self.precision, PRECISIONS)
        _choice("loop.logger", self.logger, LOGGERS)
        _choice("loop.best_is", self.best_is, ("max", "min"))
        for name in (
            "steps",
            "batch_size",
            "accumulate",
            "workers",
            "log_every",
            "save_every",
            "keep_states",
        ):
            _at_least(f"loop.{name}", getattr(self, name), 1)
        for name in ("seed", "threads", "nice", "prefetch", "preview_every", "validate_every", "explosion"):
            _at_least(f"loop.{name}", getattr(self, name), 0)
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"loop.ema_decay={self.ema_decay} is not within 0 and 1 (1 excluded).")
        if self.best_metric and self.validate_every == 0:
            raise ValueError("loop.best_metric reads validations, and loop.validate_every=0 makes none.")


@dataclass(kw_only=True, slots=True)
class TrainingRun:
    """What every training run has. A stage's run adds its own sections; see vasa/config.py."""

    name: str = "default"  # of the run; names its folder
    run_dir: Path  # folder of states, exports, previews, logs; the same command with the same folder resumes
    init: Path | None = None  # weights to start from, with a new optimiser; nothing to do with resuming
    loop: LoopConfig = field(default_factory=LoopConfig)
