"""Work in processes that die and hang: nothing is lost but the piece they had."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray

from vasa.supervised import Failure, supervise


def doubling(offset: int) -> Callable[[str], int]:
    """Work that some items are bad for."""

    def work(item: str) -> int:
        if item == "kill":
            os._exit(11)
        if item.startswith("once"):
            flag = Path(item.partition(":")[2])
            if not flag.exists():
                flag.touch()
                os._exit(9)
            return -1
        if item == "hang":
            time.sleep(600)
        if item == "raise":
            raise OSError("no room is left")
        return 2 * int(item) + offset

    return work


def seconds(limit: float) -> Callable[[str], float]:
    return lambda item: limit


def test_a_process_that_dies_twice_or_hangs_costs_its_item_alone() -> None:
    items = ["1", "kill", "2", "hang", "3", "4"]
    found = dict(supervise(doubling, (1,), items, workers=2, timeout_s=seconds(4)))
    failures = {item: result.status for item, result in found.items() if isinstance(result, Failure)}
    assert failures == {"kill": "crashed", "hang": "timeout"}
    assert {item: found[item] for item in ("1", "2", "3", "4")} == {"1": 3, "2": 5, "3": 7, "4": 9}
    assert "11" in found["kill"].reason and "4 s" in found["hang"].reason


@pytest.mark.parametrize("place", range(3))
def test_an_item_whose_process_was_killed_is_done_by_the_next(tmp_path: Path, place: int) -> None:
    items = ["1", "2"]
    items.insert(place, f"once:{tmp_path / 'flag'}")
    found = dict(supervise(doubling, (0,), items, workers=1, timeout_s=seconds(60)))
    assert found == {"1": 2, "2": 4, items[place]: -1}


def test_what_the_work_raises_ends_all() -> None:
    with pytest.raises(OSError, match="no room"):
        list(supervise(doubling, (0,), ["1", "raise", "2"], workers=1, timeout_s=seconds(60)))


def test_items_are_taken_as_they_are_worked_on() -> None:
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield str(number)

    results = supervise(doubling, (0,), items(), workers=2, timeout_s=seconds(60))
    for _ in range(3):
        next(results)
    assert len(taken) <= 3 + 2
    results.close()


def test_without_processes_it_is_done_here() -> None:
    assert list(supervise(doubling, (0,), ["5"], workers=0, timeout_s=seconds(1))) == [("5", 10)]


def test_ray_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # its processes are to find ``doubling``
    items = ["1", "kill", "2", "3"]
    found = dict(supervise(doubling, (1,), items, workers=2, timeout_s=seconds(120), engine="ray"))
    ray.shutdown()
    assert found["kill"].status == "crashed"
    assert [found[item] for item in ("1", "2", "3")] == [3, 5, 7]
