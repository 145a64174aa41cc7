"""``benchmark.py all`` from the command line to its tables, with an untrained tiny checkpoint."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_files import write_tiny_runs

from vasa.benchmark.config import BenchmarkAllRun
from vasa.benchmark.end_to_end import STAGES, psnr_db
from vasa.benchmark.variants import BASELINE, SHIPPED, VARIANTS, chosen, last_of_each
from vasa.config import load
from vasa.inference.bundle import bundle
from vasa.inference.config import BundleRun

pytestmark = pytest.mark.timeout(900)  # a minute on an idle core; others may keep it busy


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    runs = write_tiny_runs(tmp_path_factory.mktemp("runs"), pytestconfig.rootpath)
    return bundle(BundleRun(face=runs, motion=runs, output=tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def script(root: Path) -> Any:
    return runpy.run_path(str(root / "scripts" / "benchmark.py"))["run"]


def test_files_talks_frames_and_keypoints_are_measured(
    script: Any, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sizes=64", "batches=1,2", "rounds=2", "clip_seconds=0.4", "seconds=2.4", "variants=bf16"]
    words += ["parts=end,stream,faces,keypoints", "face=tiny", "narrow=8", "fast=false", "device=cpu"]
    script(["all", *words, f"checkpoint={checkpoint}", f"output={tmp_path}"])
    text, said = (tmp_path / "all.md").read_text(), capsys.readouterr()
    assert said.out == text and said.err == "", "nobody looks, so no progress is shown"
    assert all(f"## {part}" in text for part in ("Files", "Live talks", "A frame", "Keypoint systems"))
    found = json.loads((tmp_path / "all.json").read_text())
    assert found["context"]["versions"]["torch"] and found["context"]["processor"]
    assert [(case["batch"], case["variant"]) for case in found["end"]] == [
        (1, BASELINE), (1, "bf16"), (2, BASELINE), (2, "bf16"),
    ]  # fmt: skip
    for case in found["end"]:
        assert case["frames"] == 10 and case["shape"] == [64, 64] and case["frames_per_s"] > 0
        assert len(case["rounds"]) == 2 and case["rounds"][0]["stages"].keys() == set(STAGES)
        stages = case["rounds"][0]["stages"]
        assert min(stages[name] for name in STAGES if name != "waiting") > 0
        assert sum(stages[name] for name in ("portrait", "motion", "render")) < case["rounds"][0]["wall_s"]
        assert (case["faster"] is None) == (case["cheaper"] is None) == (case["variant"] == BASELINE)
        assert case["psnr_db"] is None or (case["variant"] == "bf16" and 30 < case["psnr_db"] < 90)
    paced, free = found["stream"]
    assert (paced["pace"], free["pace"]) == (True, False)
    assert paced["statistics"]["frames"] == free["statistics"]["frames"] == 60
    assert free["statistics"]["drops"] == 0 and free["shown_per_s"] > 0
    assert paced["early_mib"] is None or 0 < paced["early_mib"] < paced["late_mib"] + 100
    assert found["faces"].keys() == {"tiny"} and len(found["keypoints"]) == 6


def test_start_up_is_told_beside_bare_python(script: Any, checkpoint: Path, tmp_path: Path) -> None:
    words = ["parts=startup", "sizes=64", "rounds=2", f"checkpoint={checkpoint}", "device=cpu"]
    script(["all", *words, f"output={tmp_path}"])
    bare, asked, first = json.loads((tmp_path / "all.json").read_text())["startup"]
    assert (bare["what"], asked["what"]) == ("bare Python", "infer.py --help")
    assert bare["over_bare_s"] == 0 and bare["times_bare"] == 1
    assert 0 < asked["over_bare_s"] < first["over_bare_s"], "one of them imports torch"
    steps = list(first["until"].values())
    assert steps == sorted(steps) and steps[-1] < first["seconds"]


def test_the_ways_begin_with_the_plain_one_and_none_is_measured_twice() -> None:
    for device in ("cpu", "cuda"):
        ways = chosen([], device)
        assert ways[0].name == BASELINE
        asked = [last_of_each(way.options) for way in ways]
        assert len(set(asked)) == len(asked) and () in asked, "what is shipped is one of them"
        assert all(load("infer", options) for options in asked)
    assert [way.name for way in chosen([SHIPPED], "cpu")] == [BASELINE, SHIPPED]
    assert last_of_each(("precision=fp32", "precision=bf16")) == ("precision=bf16",)
    with pytest.raises(ValueError, match="variants names fastest; wanted some of plain"):
        chosen(["fastest"], "cpu")
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)


@pytest.mark.gpu
def test_a_gpu_measures_every_way_it_has(script: Any, checkpoint: Path, tmp_path: Path) -> None:
    words = ["parts=end,stream", "sizes=64", "batches=2", "rounds=2", "clip_seconds=0.4", "seconds=0.4"]
    script(["all", *words, "fast=false", "device=cuda", f"checkpoint={checkpoint}", f"output={tmp_path}"])
    found = json.loads((tmp_path / "all.json").read_text())
    assert found["context"]["gpu"] and len(found["stream"]) == 2
    assert [case["variant"] for case in found["end"]] == [way.name for way in chosen([], "cuda")]
    assert all(case["psnr_db"] is None or case["psnr_db"] > 30 for case in found["end"])


def test_pictures_are_compared_in_decibels() -> None:
    frames = np.full((2, 4, 4, 3), 100, np.uint8)
    assert psnr_db(frames, frames) is None
    assert psnr_db(frames, frames + np.uint8(1)) == pytest.approx(48.13, abs=0.01)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"parts": "end,nothing"}, "wanted some of end, stream"),
        ({"parts": ""}, "wanted some of end, stream"),
        ({"sizes": "128,x"}, "sizes is '128,x'; wanted numbers"),
        ({"batches": "0"}, "batches is '0'; wanted numbers"),
        ({"rounds": 1}, "rounds is 1"),
        ({"seconds": 0.0}, "seconds 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BenchmarkAllRun(**given)
