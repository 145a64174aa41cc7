"""``benchmark.py data``: recordings are made, preprocessed and read, and the tables say by what it took."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from vasa.benchmark.config import BenchmarkDataRun
from vasa.benchmark.data import DataRate
from vasa.config import ROOT
from vasa.preprocess.step_times import StepTimes


@pytest.mark.timeout(900)
def test_the_script_measures_steps_and_readers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = runpy.run_path(str(ROOT / "scripts/benchmark.py"))["run"]
    options = ["from_px=160", "seconds=20", "size=96", "workers=1", "loader_seconds=0.3"]
    script(["data", *options, f"output={tmp_path}"])
    text = capsys.readouterr().out
    assert text == (tmp_path / "data.md").read_text()
    assert "times real time, all steps" in text and "| 1 processes |" in text and "| 1 threads |" in text
    report = json.loads((tmp_path / "data.json").read_text())
    (found,) = report["preprocess"]
    assert found["clips"] == 2 and found["video_s"] == pytest.approx(20, abs=0.2)
    steps = found["seconds"]
    assert steps.keys() == {
        "read", "shots", "faces", "cut", "quality", "signals", "offset", "masks", "encode",
    }  # fmt: skip
    assert all(steps[name] > 0.05 for name in ("faces", "signals", "encode"))
    assert {load["kind"] for load in report["loader"]["160 px"]} == {"processes", "threads"}


def test_times_of_steps_leave_out_the_steps_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("vasa.preprocess.step_times.time.process_time", lambda: now[0])
    times = StepTimes()

    def items():
        for number in range(3):
            now[0] += 1
            yield number

    for _ in times.each("outer", times.each("inner", items())):
        now[0] += 10  # nobody's
        with times.step("other"):
            now[0] += 0.5
    assert times.taken() == {"outer": 0.0, "inner": 3.0, "other": 1.5}
    assert times.taken() == {}


def test_rates_are_seconds_of_video_a_second_of_one_core() -> None:
    rate = DataRate("x", 60.0, 5, {"read": 5.0, "faces": 10.0, "masks": 5.0})
    assert rate.times_real() == 3 and rate.times_real(("faces", "masks")) == 12


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"from_px": "64"}, "numbers from 96"),
        ({"size": 33}, "an even number"),
        ({"seconds": 0}, "more than 0"),
    ],
)
def test_nonsense_is_refused(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BenchmarkDataRun(**change)
