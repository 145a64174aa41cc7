"""Ratios of what ran in turns: a moody machine is unfair to neither, and a difference is found."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from vasa.benchmark.paired import ratio_of
from vasa.benchmark.revisions import race
from vasa.benchmark.timing import all_seconds_of


def machine(slower: float, seed: int) -> Any:
    """A machine that others use more and more: a measurement of place 0 takes ``slower`` times as long."""
    rng, count = np.random.default_rng(seed), iter(range(1000))

    def measure(place: int) -> dict[str, Any]:
        seconds = (1 + 0.05 * next(count)) * rng.lognormal(0, 0.02) * (slower if place == 0 else 1)
        return {"wall_s": [seconds, 9.0, 0.0], "cpu_s": [seconds] * 3, "start_s": 5 * seconds, "frames": 10}

    return measure


def test_the_same_code_is_not_told_to_be_faster_on_a_machine_that_grows_slower() -> None:
    covered = []
    for seed in range(40):
        found = race(machine(1.0, seed), 8, "HEAD", "HEAD")
        ratio = found.ratios["wall"]
        assert ratio.low <= ratio.value <= ratio.high and ratio.rounds == 8
        covered.append(ratio.low <= 1 <= ratio.high)
    assert np.mean(covered) >= 0.9, "a 95 % interval leaves out the truth in two of 40"


def test_a_tenth_is_found_with_its_size() -> None:
    found = race(machine(1.1, 0), 8, "old", "new")
    for ratio in found.ratios.values():
        assert 1 < ratio.low < 1.1 < ratio.high < 1.2
    assert found.frames == 10 and all(len(both) == 8 for pair in found.seconds.values() for both in pair)


def test_few_rounds_are_told_with_a_wide_interval() -> None:
    few, many = ratio_of([1.0, 1.2], [1.0, 1.0]), ratio_of([1.0, 1.2] * 10, [1.0] * 20)
    assert few.value == pytest.approx(many.value)
    assert (few.low, few.high) == pytest.approx((1.0, 1.2))
    assert few.low < many.low < many.value < many.high < few.high
    assert str(ratio_of([2.0, 2.0], [1.0, 1.0])) == "2.00 (2.00 to 2.00)"


@pytest.mark.parametrize(("first", "second"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([0.0, 1.0], [1.0, 1.0])])
def test_what_is_no_pair_of_rounds_is_refused(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match="as many of both, at least 2"):
        ratio_of(first, second)


def test_processor_time_of_an_encoder_counts() -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    done, seconds = all_seconds_of(lambda: subprocess.run([sys.executable, "-c", spin]))
    assert done.returncode == 0 and seconds > 0.25
