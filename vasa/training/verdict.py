"""What a validation decides: whether these are the best weights so far, and whether the run is doomed."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vasa.checkpoint import CheckpointError, load_weights, save_weights
from vasa.training.config import Canary, LoopConfig

_log = logging.getLogger(__name__)


class DoomedError(ValueError):
    """A canary died: the run has missed what a healthy one reaches."""


def doomed(cfg: LoopConfig, step: int, values: Mapping[str, float]) -> str:
    """Why the run should stop at the validation after ``step`` steps; empty when it should not.

    Raises: ValueError when a canary names a metric that was not measured.
    """
    for canary in cfg.canaries:
        value = _value(values, canary.metric, "loop.canaries")
        if step != _judged_at(canary, cfg) or _is_healthy(canary, value):
            continue
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (("at least", canary.low), ("at most", canary.high))
            if bound is not None
        ]
        return (
            f"Stopped at step {step}: validation {canary.metric} is {value:.4g}, and a healthy run has "
            f'{" and ".join(bounds)} by step {canary.step}. See "A gallery of failures" in docs/training.md. '
            "The state is saved: the same command goes on all the same."
        )
    return ""


def _judged_at(canary: Canary, cfg: LoopConfig) -> int:
    """The first validation at or after the canary's step: a function of the step, so that resuming needs no
    memory.
    """
    return min(math.ceil(canary.step / cfg.validate_every) * cfg.validate_every, cfg.steps)


def _is_healthy(canary: Canary, value: float) -> bool:
    """A value that is no number is not."""
    return (canary.low is None or value >= canary.low) and (canary.high is None or value <= canary.high)


def _value(values: Mapping[str, float], metric: str, option: str) -> float:
    if metric not in values:
        raise ValueError(
            f"{option} names {metric}, which is not measured; wanted one of {', '.join(values)}."
        )
    return float(values[metric])


class Best:
    """The best export so far by one metric of the validation, in ``<export>.best`` beside the export.

    That file says itself which step it is of and how good (``best`` in its meta data), so that weights and
    record change in one rename and a resumed run finds both.
    """

    def __init__(self, cfg: LoopConfig, first: int) -> None:
        """first: the step that the run goes on from; at 0 it starts anew, whatever lies there."""
        self._metric, self._sign = cfg.best_metric, 1 if cfg.best_is == "max" else -1
        self._is_known = first == 0
        self._value: float | None = None

    def offer(self, step: int, values: Mapping[str, float], exported: Path | None) -> None:
        """Keeps a copy of the file exported after ``step`` steps if its value is the best so far.

        Raises: ValueError when the metric was not measured, or the export does not say what it wrote.
        """
        value = _value(values, self._metric, "loop.best_metric")
        if exported is None:
            raise ValueError("loop.best_metric needs an export that returns the file it wrote.")
        path = exported.with_name(f"{exported.stem}.best{exported.suffix}")
        if not self._is_known:
            self._value, self._is_known = self._recorded(path), True
        if not math.isfinite(value) or (self._value is not None and self._sign * (value - self._value) <= 0):
            return
        weights = load_weights(exported)
        record: dict[str, Any] = {"metric": self._metric, "value": value, "step": step}
        save_weights(path, weights.tensors, weights.config, {**weights.meta, "best": record})
        self._value = value
        _log.info("step %d  best %s so far: %.4g  %s", step, self._metric, value, path)

    def _recorded(self, path: Path) -> float | None:
        if not path.exists():
            return None
        try:
            record = load_weights(path).meta.get("best", {})
        except CheckpointError as error:
            _log.warning("%s The best is chosen anew.", error)
            return None
        return float(record["value"]) if record.get("metric") == self._metric else None
