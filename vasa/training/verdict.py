"""What a validation or a log entry decides: whether these are the best weights so far, and whether the run is
doomed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vasa.checkpoint import CheckpointError, load_weights, save_weights
from vasa.training.config import Canary, LoopConfig

_log = logging.getLogger(__name__)


class DoomedError(ValueError):
    """A canary died: the run has missed what a healthy one reaches."""


class Canaries:
    """Judges ``loop.canaries``. When each is judged follows from its step alone, so that resuming needs no
    memory.
    """

    def __init__(self, cfg: LoopConfig, phases: Sequence[str], has_validation: bool) -> None:
        """phases: names of the run's. Raises: ValueError when a canary reads validations of a run without."""
        self._cfg, self._phases = cfg, phases
        of_training = [canary for canary in cfg.canaries if canary.metric.split("/")[0] in phases]
        self._of_training = of_training
        self._of_validation = [canary for canary in cfg.canaries if canary not in of_training]
        if self._of_validation and not (has_validation and cfg.validate_every):
            raise ValueError(
                f"loop.canaries names {self._of_validation[0].metric}, which a validation would measure: "
                f"this run makes none; of training it can name {'/..., '.join(phases)}/..."
            )

    def at_validation(self, step: int, values: Mapping[str, float]) -> str:
        """Why the run should stop at the validation after ``step`` steps; empty when it should not.

        Raises: ValueError when a canary names a metric that was not measured.
        """
        for canary in self._of_validation:
            value = _value(values, canary.metric, "loop.canaries")
            if self._is_judged(canary, step, self._cfg.validate_every) and not _is_healthy(canary, value):
                return _sentence(canary, step, f"validation {canary.metric}", value)
        return ""

    def at_entry(self, step: int, entry: Mapping[str, float]) -> str:
        """Why the run should stop at the log entry after ``step`` steps; empty when it should not.

        Raises: ValueError when a canary that is judged here names a scalar that was not logged. Others may
        name one that is not logged yet.
        """
        if len(self._phases) == 1:  # then the entry's names lack it
            entry = {f"{self._phases[0]}/{name}": value for name, value in entry.items()}
        for canary in self._of_training:
            if self._is_judged(canary, step, self._cfg.log_every):
                value = _value(entry, canary.metric, "loop.canaries", f"logged at step {step}")
                if not _is_healthy(canary, value):
                    return _sentence(canary, step, f"the mean {canary.metric}", value)
        return ""

    def _is_judged(self, canary: Canary, step: int, every: int) -> bool:
        """At the first of what happens ``every`` so many steps and at the last, at or after the canary's."""
        first = min(math.ceil(canary.step / every) * every, self._cfg.steps)
        return step == first >= canary.step


def _is_healthy(canary: Canary, value: float) -> bool:
    """A value that is no number is not."""
    return (canary.low is None or value >= canary.low) and (canary.high is None or value <= canary.high)


def _sentence(canary: Canary, step: int, what: str, value: float) -> str:
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (("at least", canary.low), ("at most", canary.high))
        if bound is not None
    ]
    return (
        f"Stopped at step {step}: {what} is {value:.4g}, and a healthy run has {' and '.join(bounds)} "
        f'by step {canary.step}. See "A gallery of failures" in docs/training.md. '
        "The state is saved: the same command goes on all the same."
    )


def _value(values: Mapping[str, float], metric: str, option: str, done: str = "measured") -> float:
    if metric not in values:
        raise ValueError(f"{option} names {metric}, which is not {done}; wanted one of {', '.join(values)}.")
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
