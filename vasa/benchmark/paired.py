"""How many times as long one thing takes as another, and how sure that is, from rounds in which both ran.

A machine that others use is slow for minutes and fast for minutes. Two runs that follow each other share its
mood, so each round gives one ratio, and what is uncertain is how rounds differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
RESAMPLES = 20_000
NOTE = (
    "Ratios are geometric means over rounds in which both ran; their 95 % intervals are bootstrapped over "
    "rounds (percentiles, expanded for few rounds after Hesterberg 2015)."
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """value: geometric mean of the rounds' ratios. low, high: its interval."""

    value: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio_of(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Of what was measured in the same rounds, first over second.

    A bootstrap of few values is too narrow, so its percentiles are those that Student's t wants. Source:
    Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69 (2015), "expanded
    percentile interval". Raises: ValueError where there are not two rounds of both.
    """
    from scipy.stats import t as student

    if len(first) != len(second) or len(first) < 2 or min(*first, *second) <= 0:
        raise ValueError(
            f"{len(first)} and {len(second)} rounds; wanted as many of both, at least 2, of times above 0."
        )
    logs = np.log(np.asarray(first) / np.asarray(second))
    rounds = len(logs)
    wide = float(student.ppf((1 + LEVEL) / 2, rounds - 1)) * (rounds / (rounds - 1)) ** 0.5
    tail = NormalDist().cdf(-wide)
    drawn = np.random.default_rng(0).choice(logs, (RESAMPLES, rounds)).mean(1)
    low, high = np.exp(np.quantile(drawn, (tail, 1 - tail)))
    return Ratio(float(np.exp(logs.mean())), float(low), float(high), rounds)
