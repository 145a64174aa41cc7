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
from vasa.benchmark.plan import RENDERED_BYTES, Plan, clip_bytes, face_plan, recipe_plan, table
from vasa.benchmark.report import PEERS, measure
from vasa.benchmark.report import markdown as cost_table
from vasa.benchmark.training_cost import Stage, StepCost, recipe_costs, step_cost
from vasa.config import CONFIGS, load
from vasa.data.config import FramePairsConfig
from vasa.data.frame_pairs import FramePairs
from vasa.face.config import FaceConfig
from vasa.training.face_config import TrainFaceRun

pytestmark = pytest.mark.timeout(900)  # half a minute on an idle core; others may keep it busy


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
        return face_plan("tiny", tiny(), replace(PlanTrainingRun(gpus="1xA100"), **changes))

    one = planned()
    assert (one.batch, one.steps) == (24, 200_000), "MegaPortraits' at 256 px and below"
    expected = one.flops * one.steps / (0.4 * GPUS["A100"].rate) / 3600
    assert one.hours == pytest.approx((expected, expected * 0.4 / 0.25))
    assert planned(gpus="8xA100").hours[0] == pytest.approx(expected / 8)
    assert planned(steps=100_000).hours[0] == pytest.approx(expected / 2)
    assert planned(batch=48).memory > one.memory > planned(gpus="8xA100").memory
    assert planned(gpus="1xH200").fits > one.fits > 0
    text = table({}, {"tiny": tiny()}, PlanTrainingRun(gpus="1xA100"))
    assert "face=tiny (64 px)" in text and "7 days on 4x RTX A6000" in text


@pytest.fixture(scope="module")
def recipe() -> TrainFaceRun:
    """voxceleb2 at tiny size: codes first, then pictures, judged from half way on, larger at the end."""
    losses = {"change_steps": 10, "adversarial_start": 20, "transfer_every": 4, "transfer_share": 0.25}
    return load(
        "train_face",
        ["experiment=voxceleb2", "face=tiny", "face.source_pixels=false", "low_size=32", "low_steps=30",
         "loop.steps=40", "loop.batch_size=6", "discriminator.widths=[4,8]", "losses.perceptual=0",
         "losses.face=0", "losses.gaze=0", "losses.expression=1", "losses.cross_identity=0",
         "loop.canaries=[]", *(f"losses.{name}={value}" for name, value in losses.items())],
    )  # fmt: skip


@pytest.fixture(scope="module")
def stages(recipe: TrainFaceRun) -> list[Stage]:
    return recipe_costs(recipe)


def test_a_recipe_is_counted_in_its_stages(stages: list[Stage]) -> None:
    assert [stage.steps for stage in stages] == [10, 10, 10, 10]
    codes, drawn, judged, large = (stage.cost for stage in stages)
    assert codes.main_flops > 0 and drawn.main_flops < judged.main_flops < large.main_flops
    assert codes.swap_flops == codes.swap_bytes == 0 < drawn.swap_flops < large.swap_flops
    assert drawn.swap_flops == judged.swap_flops, "swaps are not judged"
    assert codes.adversary_flops == drawn.adversary_flops == 0 < judged.adversary_flops
    assert large.adversary_flops == pytest.approx(4 * judged.adversary_flops)
    assert large.main_bytes > judged.main_bytes > drawn.main_bytes
    assert len({cost.generator for cost in (codes, drawn, judged, large)}) == 1


def test_what_a_recipe_leaves_out_costs_nothing(recipe: TrainFaceRun, stages: list[Stage]) -> None:
    off = replace(
        recipe.losses, change_steps=0, adversarial=0, feature_matching=0, expression=0, consistency=0,
        cross_cycle=0,
    )  # fmt: skip
    small, large = (
        stage.cost for stage in recipe_costs(replace(recipe, losses=off, init=Path("face.safetensors")))
    )
    assert small.swap_flops == large.swap_flops == large.adversary_flops == 0
    assert large.discriminator == large.frozen == 0 < stages[-1].cost.frozen
    assert large.main_flops < stages[-1].cost.main_flops


def test_a_teacher_of_pose_is_planned_from_its_labels_alone() -> None:
    run = load("train_face", ["experiment=pose_teacher", "face=tiny", "losses.controls=0.5"])
    (stage,) = recipe_costs(run)
    assert stage.steps == run.loop.steps and stage.cost.main_flops > 0
    assert stage.cost.swap_flops == stage.cost.adversary_flops == stage.cost.discriminator == 0


@pytest.mark.parametrize(("size", "bytes_a_frame"), [(512, 7713 + 1094 + 1154), (256, 2302 + 523 + 1154)])
def test_a_clip_takes_what_was_measured(size: int, bytes_a_frame: int) -> None:
    """docs/data.md: pictures, masks, sound and signals."""
    run = PlanTrainingRun(num_clips=1, clip_seconds=8)
    assert clip_bytes(size, run) == pytest.approx(200 * bytes_a_frame, rel=0.04)


def test_hours_of_a_recipe_are_those_of_its_stages(
    monkeypatch: pytest.MonkeyPatch, recipe: TrainFaceRun, stages: list[Stage]
) -> None:
    monkeypatch.setattr("vasa.benchmark.plan.recipe_costs", lambda recipe: stages)
    run = PlanTrainingRun(gpus="2xA100", num_clips=1000, clip_seconds=8)
    planned = recipe_plan("voxceleb2", recipe, run)
    assert (planned.batch, planned.steps, planned.size) == (6, 40, 64)
    total = 6 * 10 * sum(stage.cost.flops(0.25 / 4) for stage in stages)
    assert planned.flops * planned.steps == pytest.approx(total)
    assert planned.hours[0] == pytest.approx(total / (2 * 0.4 * GPUS["A100"].rate) / 3600)
    plain = recipe_plan("voxceleb2", recipe, replace(run, masks=False))
    assert 1.02 * plain.data < planned.data < 1.18 * plain.data
    longer = recipe_plan("voxceleb2", recipe, replace(run, clip_seconds=16))
    assert longer.data == pytest.approx(2 * planned.data)
    only_last = [stages[-1]]
    monkeypatch.setattr("vasa.benchmark.plan.recipe_costs", lambda recipe: only_last)
    assert recipe_plan("voxceleb2", recipe, run).memory == planned.memory, "the largest stage decides"
    rendered = recipe_plan("heads", replace(recipe, data="synthetic"), run).data
    assert rendered == recipe.pairs.num_identities * recipe.pairs.frames * 64 * 64 * RENDERED_BYTES
    text = table({"voxceleb2": recipe}, {}, run)
    assert "| experiment=voxceleb2 (64 px) |" in text and "1,000 of 8 s" in text


def test_the_cache_of_procedural_heads_is_as_large_as_planned(tmp_path: Path) -> None:
    config = FramePairsConfig(cache=tmp_path, num_identities=16, frames=4, size=64, randomised_share=0)
    pairs = FramePairs(config)
    pairs.prepare()
    found = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    assert found == pytest.approx(16 * 4 * 64 * 64 * RENDERED_BYTES, rel=0.05)


@pytest.mark.parametrize("text", ["A100", "8xB7", "0xA100", "8 x A100"])
def test_unknown_gpus_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="wanted number x name"):
        parse(text)
    assert parse("8xa100") == (8, "A100")


def test_empty_names_are_refused() -> None:
    with pytest.raises(ValueError, match="names of configs/face"):
        _ = BenchmarkRun(face="tiny,").faces
    with pytest.raises(ValueError, match="recipes is .* names of configs/experiment/train_face"):
        _ = PlanTrainingRun(recipes="paper,").experiments
    assert PlanTrainingRun(recipes="").experiments == PlanTrainingRun(face="").faces == []


@pytest.mark.gpu
def test_a_gpu_gives_frames_and_training_rates() -> None:
    found = gpu_figures(tiny(source_pixels=False), batch=2, seconds=0.2)
    assert found["fps_graph_batch_1"] > 0 and found["fps_batch_2"] > 0
    assert 0 < found["training_share"] < 1 and found["samples_per_s"] > 0
