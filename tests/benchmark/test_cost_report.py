"""The benchmark and the training plan from the command line to their tables, at tiny size."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from vasa.benchmark.config import BenchmarkRun, PlanTrainingRun
from vasa.benchmark.gpu import gpu_figures
from vasa.benchmark.gpus import GPUS, parse
from vasa.benchmark.plan import Plan, StepCost, plan, step_cost, table
from vasa.benchmark.report import PEERS, measure
from vasa.benchmark.report import markdown as cost_table
from vasa.config import CONFIGS
from vasa.face.config import FaceConfig


def tiny(**changes: object) -> FaceConfig:
    values = yaml.safe_load((CONFIGS / "face" / "tiny.yaml").read_text())
    return FaceConfig(**{**values, **changes})


@pytest.fixture(scope="module")
def counted() -> StepCost:
    return step_cost(tiny(source_pixels=False))


def test_the_benchmark_writes_numbers_and_a_table_with_peers(tmp_path: Path) -> None:
    run = BenchmarkRun(face="[tiny]", rounds=1, output=tmp_path)
    assert run.faces == ["tiny"]
    if torch.cuda.is_available():
        pytest.skip("measured by the test marked gpu")
    report = measure(run, {"tiny": tiny()})
    assert json.loads((tmp_path / "face.json").read_text()) == json.loads(json.dumps(report))
    found = report["results"]["tiny"]
    assert found["frame"]["flops"] > 1e6 and found["frame"]["traffic"] > found["frame"]["peak"] > 0
    assert found["frame"]["parameters"] < found["parameters"]
    assert found["cpu_s"].keys() == {"source_fp32", "frame_fp32", "frame_bf16"}
    assert found["cpu_s"]["frame_fp32"]["user"] > 0
    text = (tmp_path / "face.md").read_text()
    assert text == cost_table(report) and torch.__version__ in text
    assert all(f"{peer.name} (measured elsewhere)" in text for peer in PEERS)


def test_the_script_prints_the_table(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "scripts/benchmark.py", "face=[tiny]", "rounds=0", f"output={tmp_path}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "| **tiny** (64 px)" in done.stdout and "IMTalker" in done.stdout


def test_a_step_costs_a_multiple_of_its_networks(counted: StepCost) -> None:
    assert counted.main_flops > counted.adversary_flops > 0
    assert counted.main_bytes > 0 and counted.swap_bytes > 0 and counted.fixed_bytes > 0
    assert counted.discriminator == pytest.approx(3.1e6, rel=0.05)
    assert counted.held_bytes > 4 * (5 * counted.generator + 4 * counted.discriminator)
    assert counted.flops(1.0) == pytest.approx(counted.flops(0.0) + counted.swap_flops)


def test_hours_follow_gpus_efficiency_and_steps(monkeypatch: pytest.MonkeyPatch, counted: StepCost) -> None:
    monkeypatch.setattr("vasa.benchmark.plan.step_cost", lambda config: counted)

    def planned(**changes: object) -> Plan:
        return plan("tiny", tiny(), replace(PlanTrainingRun(gpus="1xA100"), **changes))

    one = planned()
    assert (one.batch, one.steps) == (24, 200_000), "MegaPortraits' at 256 px and below"
    expected = one.flops * one.steps / (0.4 * GPUS["A100"].rate) / 3600
    assert one.hours == pytest.approx((expected, expected * 0.4 / 0.25))
    assert planned(gpus="8xA100").hours[0] == pytest.approx(expected / 8)
    assert planned(steps=100_000).hours[0] == pytest.approx(expected / 2)
    assert planned(batch=48).memory > one.memory > planned(gpus="8xA100").memory
    assert planned(gpus="1xH200").fits > one.fits > 0
    text = table({"tiny": tiny()}, PlanTrainingRun(gpus="1xA100"))
    assert "tiny (64 px)" in text and "7 days on 4x RTX A6000" in text


@pytest.mark.parametrize("text", ["A100", "8xB7", "0xA100", "8 x A100"])
def test_unknown_gpus_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="wanted number x name"):
        parse(text)
    assert parse("8xa100") == (8, "A100")


def test_empty_names_are_refused() -> None:
    with pytest.raises(ValueError, match="names of configs/face"):
        _ = BenchmarkRun(face="tiny,").faces


@pytest.mark.gpu
def test_a_gpu_gives_frames_and_training_rates() -> None:
    found = gpu_figures(tiny(source_pixels=False), batch=2, seconds=0.2)
    assert found["fps_graph_batch_1"] > 0 and found["fps_batch_2"] > 0
    assert 0 < found["training_share"] < 1 and found["samples_per_s"] > 0
