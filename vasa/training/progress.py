"""What a run tells: a line in the log, metrics.jsonl, tensorboard or wandb, and preview pictures; its clock.

Only the first process writes. ``metrics.jsonl`` is the record: one JSON object per entry, cut back to the
step that a run resumes from, so that it never holds a step twice.
"""

from __future__ import annotations

import json
import logging
import netrc
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from vasa.checkpoint import atomic_path
from vasa.progress import duration
from vasa.training.config import LoopConfig

_log = logging.getLogger(__name__)


class _Sink(Protocol):
    def scalars(self, values: Mapping[str, float], step: int) -> None: ...
    def image(self, name: str, image: np.ndarray, step: int) -> None: ...
    def close(self) -> None: ...


class Clock:
    """The time of training since the last entry, and how much of it was spent waiting for batches."""

    def __init__(self) -> None:
        self._since, self._waited = time.monotonic(), 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around taking a batch."""
        begun = time.monotonic()
        yield
        self._waited += time.monotonic() - begun

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around what is not training, such as validation and saving."""
        begun = time.monotonic()
        yield
        self._since += time.monotonic() - begun

    def lap(self) -> tuple[float, float]:
        """Seconds since the last call and the share of them spent waiting; then starts afresh."""
        now = time.monotonic()
        seconds = max(now - self._since, 1e-9)
        share = self._waited / seconds
        self._since, self._waited = now, 0.0
        return seconds, share


class Progress:
    """Opened at the step a run starts from; ``step`` everywhere is the number of finished steps."""

    def __init__(self, cfg: LoopConfig, run_dir: Path, step: int, config: Mapping[str, Any]) -> None:
        self._cfg, self._run_dir = cfg, run_dir
        self._path = run_dir / "metrics.jsonl"
        run_dir.mkdir(parents=True, exist_ok=True)
        _cut_back(self._path, step)
        self._sink = _open_sink(cfg, run_dir, step, config)
        self._last = step

    def losses(self, step: int, values: Mapping[str, float], seconds: float) -> None:
        """What the steps since the last entry were like, which took ``seconds``; told with their rate and the
        time left.

        values: mean losses, ``data_wait`` (the share of the time spent waiting for batches), ``memory_gib``.
        """
        seconds_per_step = seconds / max(1, step - self._last)
        self._last = step
        rate = self._cfg.batch_size / seconds_per_step
        left = duration((self._cfg.steps - step) * seconds_per_step)
        shown = "  ".join(
            f"{name} {value:.4g}" for name, value in values.items() if name not in ("data_wait", "memory_gib")
        )
        _log.info(
            "step %d/%d  %.1f samples/s  %.0f%% waiting for data  %.1f GiB  %s left  %s",
            *(step, self._cfg.steps, rate, 100 * values["data_wait"], values["memory_gib"], left, shown),
        )
        self._write(step, {**values, "samples_per_s": rate})

    def validation(self, step: int, values: Mapping[str, float]) -> None:
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        _log.info("step %d  validation  %s", step, shown)
        self._write(step, {f"validation/{name}": float(value) for name, value in values.items()})

    def preview(self, step: int, image: np.ndarray) -> None:
        """image: (H, W, 3) uint8 RGB; written to ``previews/``."""
        path = self._run_dir / "previews" / f"{step:08d}.png"
        with atomic_path(path) as temporary:
            Image.fromarray(image).save(temporary)
        _log.info("step %d  preview  %s", step, path)
        if self._sink:
            self._sink.image("preview", image, step)

    def close(self) -> None:
        if self._sink:
            self._sink.close()

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        entry = {"step": step, "samples": step * self._cfg.batch_size, **values}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        if self._sink:
            self._sink.scalars(values, step)


def _cut_back(path: Path, step: int) -> None:
    """Keeps the whole lines up to ``step``: a killed run may have written later ones, and half of one."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if entry["step"] <= step:
            kept.append(line + "\n")
    with atomic_path(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


def _open_sink(cfg: LoopConfig, run_dir: Path, step: int, config: Mapping[str, Any]) -> _Sink | None:
    if cfg.logger == "tensorboard":
        return _Tensorboard(run_dir / "tensorboard", step)
    if cfg.logger == "wandb":
        return _Wandb(cfg.wandb_project, run_dir, config)
    return None


class _Tensorboard:
    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        self._writer.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """Online when a key is there, else offline (``wandb sync`` uploads it later). A resumed run is the same
    run.
    """

    def __init__(self, project: str, run_dir: Path, config: Mapping[str, Any]) -> None:
        import wandb

        offline = "WANDB_MODE" not in os.environ and not _has_wandb_key()
        if offline:
            _log.info(
                "wandb has no key here: writing offline under %s; `wandb sync` uploads it.", run_dir / "wandb"
            )
        self._wandb = wandb
        name = f"{run_dir.parent.name}-{run_dir.name}"
        self._run = wandb.init(
            project=project,
            name=name,
            id=name,
            resume="allow",
            dir=str(run_dir),
            config=dict(config),
            mode="offline" if offline else None,
        )

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        self._run.log({name: self._wandb.Image(image)}, step=step)

    def close(self) -> None:
        self._run.finish()


def _has_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
