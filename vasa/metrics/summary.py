"""From numbers per clip to numbers of a row: means with bootstrap intervals, and how many clips they hold.

A clip that could not be scored is counted with its reason, never dropped in silence. Samples of one job
(other seeds, same sound: VASA-1 makes three) are averaged first, because they are no independent clips.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

RESAMPLES = 1000
COVERAGE = 0.95


@dataclass(slots=True, kw_only=True)
class ClipScore:
    """What one metric says of one clip: values by column, or the reason why there are none. group: clips of
    equal group are samples of one job.
    """

    clip: str
    group: str
    values: dict[str, float] = field(default_factory=dict)
    unscored: str | None = None


@dataclass(slots=True, kw_only=True)
class Cell:
    """One number of the table: mean and its 95 % interval (low, high; NaN where one group or a set metric has
    none) over ``scored`` of ``total`` clips; reasons counts the others.
    """

    mean: float
    low: float = math.nan
    high: float = math.nan
    scored: int
    total: int
    reasons: dict[str, int] = field(default_factory=dict)


def summarise(scores: Sequence[ClipScore], column: str, seed: int) -> Cell:
    """A column's mean over groups of clips, with its bootstrap interval (percentiles, groups resampled)."""
    by_group: dict[str, list[float]] = {}
    for score in scores:
        value = score.values.get(column, math.nan)
        if score.unscored is None and math.isfinite(value):
            by_group.setdefault(score.group, []).append(value)
    reasons = Counter(
        score.unscored if score.unscored is not None else "no number"
        for score in scores
        if score.unscored is not None or not math.isfinite(score.values.get(column, math.nan))
    )
    means = np.array([np.mean(values) for values in by_group.values()])
    low, high = interval(means, seed)
    return Cell(
        mean=float(means.mean()) if len(means) else math.nan,
        low=low,
        high=high,
        scored=sum(len(values) for values in by_group.values()),
        total=len(scores),
        reasons=dict(sorted(reasons.items())),
    )


def interval(values: np.ndarray, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of independent values (n,); NaN under two of them."""
    if len(values) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng((seed, len(values)))
    means = values[rng.integers(len(values), size=(resamples, len(values)))].mean(1)
    low, high = np.quantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def columns_of(scores: Sequence[ClipScore]) -> list[str]:
    """Columns in the order in which clips bring them."""
    return list(dict.fromkeys(column for score in scores for column in score.values))
