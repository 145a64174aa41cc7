"""Processes that share a run: the same numbers as one, and one end for all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from forks import Forks
from torch import nn
from toy_run import PlainToy, assert_bitwise, assert_nearly, batch_at, entries, final_state, loop_config

from vasa.config import load
from vasa.training import runtime
from vasa.training.config import Canary
from vasa.training.train_face import train_face

TOLERANCE = 1e-4
"""Relative, of a face space trained by two processes."""


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    server = Forks("test_several_processes", tmp_path_factory.mktemp("output"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process that accumulates two parts."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    PlainToy().train(folder, loop_config(accumulate=2))
    return folder


def rank() -> int:
    return int(os.environ["RANK"])


def train_toy(run_dir: str, options: str = "{}") -> None:
    PlainToy().train(Path(run_dir), loop_config(**json.loads(options)))


def train_rows(run_dir: str, seen: str) -> None:
    """Each process prepares its own rows alone, and writes down which."""

    def rows_at(step: int, rows: slice) -> dict[str, Any]:
        with Path(f"{seen}.{rank()}").open("a") as file:
            file.write(f"{step} {rows.start} {rows.stop}\n")
        return batch_at(step, rows)

    PlainToy().train(Path(run_dir), batch_at=rows_at, by_rows=True)


def ended_well(ends: list[tuple[int, str]]) -> bool:
    return [code for code, _ in ends] == [0] * len(ends) or pytest.fail(str(ends))


def test_two_processes_equal_one_that_accumulates_two_parts(
    tmp_path: Path, forks: Forks, alone: Path
) -> None:
    """Two phases, the second of which takes what the first has made."""
    assert ended_well(forks.run("train_toy", tmp_path, world=2))
    assert_nearly(final_state(alone), final_state(tmp_path))
    for one, two in zip(entries(alone), entries(tmp_path), strict=True):
        assert one.keys() == two.keys()
        assert one["maker/total"] == pytest.approx(two["maker/total"], rel=1e-4)
        assert one["critic/gradient_norm"] == pytest.approx(two["critic/gradient_norm"], rel=1e-4)


@pytest.mark.parametrize("begins", [1, 2])
def test_a_run_goes_on_with_another_number_of_processes(
    tmp_path: Path, forks: Forks, alone: Path, begins: int
) -> None:
    options = json.dumps({"keep_states": 9, "accumulate": 3 - begins})
    assert ended_well(forks.run("train_toy", tmp_path, options, world=begins))
    for path in sorted(tmp_path.glob("state_*"))[1:]:
        path.unlink()
    options = json.dumps({"accumulate": begins})
    assert ended_well(forks.run("train_toy", tmp_path, options, world=3 - begins))
    assert_nearly(final_state(alone), final_state(tmp_path))


def test_each_process_may_prepare_its_rows_alone(tmp_path: Path, forks: Forks, alone: Path) -> None:
    assert ended_well(forks.run("train_rows", tmp_path / "run", tmp_path / "seen", world=2))
    assert_nearly(final_state(alone), final_state(tmp_path / "run"))
    for number, rows in enumerate(["0 4", "4 8"]):
        seen = (tmp_path / f"seen.{number}").read_text().splitlines()
        assert seen == [f"{step} {rows}" for step in range(12)]


def wide_batch(step: int) -> dict[str, Any]:
    return {"x": torch.cat([batch_at(3 * step + n)["x"][:6] for n in range(3)])}  # (18, 4)


def train_nine(run_dir: str) -> None:
    PlainToy().train(Path(run_dir), loop_config(steps=2, batch_size=18), batch_at=wide_batch)


@pytest.mark.full  # nine processes
def test_more_than_eight_processes_equal_one(tmp_path: Path, forks: Forks) -> None:
    assert ended_well(forks.run("train_nine", tmp_path / "nine", world=9))
    cfg = loop_config(steps=2, batch_size=18, accumulate=9)
    PlainToy().train(tmp_path / "one", cfg, batch_at=wide_batch)
    assert_nearly(final_state(tmp_path / "one"), final_state(tmp_path / "nine"))


def train_faces(run_dir: str, cache: str, accumulate: str) -> None:
    """Stage 1 as it is run: both phases, swapped codes, labels on a share, disturbed drivers."""
    options = [
        "face=tiny", "run=smoke", f"run_dir={run_dir}", f"pairs.cache={cache}", "pairs.frames=4",
        "pairs.num_identities=8", "pairs.randomised_share=0", "pairs.masks=true", "losses.background=0.3",
        "losses.adversarial=1", "losses.feature_matching=10", "discriminator.widths=[4,8]",
        "losses.consistency=1", "losses.cross_cycle=1", "losses.transfer_every=2",
        "losses.transfer_share=0.5", "losses.decorrelation=0.1", "losses.driver_warp=0.1",
        "losses.crop_nudge=0.5", "optimizer.warmup_steps=0", "discriminator_optimizer.warmup_steps=0",
        "loop.steps=2",
        "loop.batch_size=8", "loop.log_every=1", "loop.preview_every=0", "loop.validate_every=0",
        "validate_on_training=true", f"loop.accumulate={accumulate}",
    ]  # fmt: skip
    train_face(load("train_face", options))


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], prefix: str) -> float:
    """Distance of the tensors under a prefix over their size."""
    assert one.keys() == other.keys()
    names = [name for name in one if name.startswith(prefix)]
    a, b = (torch.cat([state[name].double().flatten() for name in names]) for state in (one, other))
    return float((a - b).norm() / a.norm())


def test_two_processes_train_a_face_as_one_that_accumulates_two_parts(tmp_path: Path, forks: Forks) -> None:
    """Adam's first steps have the size of the learning rate whatever the gradient's, so that where a gradient
    is nothing but rounding weights differ by as much: they are compared together, not one by one.
    """
    assert ended_well(forks.run("train_faces", tmp_path / "one", tmp_path / "frames", 2))
    assert ended_well(forks.run("train_faces", tmp_path / "two", tmp_path / "frames", 1, world=2))
    logs = [entries(tmp_path / run) for run in ("one", "two")]
    wanted = {"face/consistency", "face/cross_cycle", "face/adversarial", "face/pose", "discriminator/real"}
    assert wanted <= logs[0][0].keys() == logs[1][0].keys()
    for one, two in zip(*logs, strict=True):
        for name in one:
            if name.startswith(("face/", "discriminator/")):
                assert two[name] == pytest.approx(one[name], rel=TOLERANCE, abs=1e-6), (one["step"], name)
    states = [final_state(tmp_path / run) for run in ("one", "two")]
    for kind in ("module/face", "module/discriminator", "adam/face", "adam/discriminator", "average/face"):
        assert apart(*states, f"{kind}/") < TOLERANCE, kind


# One end for all --------------------------------------------------------------------------------------------


def diverge(run_dir: str, where: str) -> None:
    """At step 7 the second process meets a total, or only a logged scalar, that is not finite."""

    class Diverging(PlainToy):
        def maker_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            losses = {**super().maker_loss(batch, step), "told": torch.ones(())}
            if step == 7 and rank() == 1:
                losses[where] = losses[where] / 0.0
            return losses

    Diverging().train(Path(run_dir))


@pytest.mark.parametrize("where", ["total", "told"])
def test_a_loss_that_is_not_finite_in_one_process_stops_all(tmp_path: Path, forks: Forks, where: str) -> None:
    (first, told_first), (second, told_second) = forks.run("diverge", tmp_path, where, world=2)
    assert first == second == 1
    assert f"FloatingPointError: Training stopped at step 7: maker/{where}=" in told_second
    assert "on the batch of clip60, clip61, clip62, clip63; beside maker/" in told_second
    expected = {
        "total": "Training stopped at step 7: maker/gradient_norm=nan",
        "told": "Training stopped: another process met a scalar that is not finite or has exploded.",
    }
    assert f"FloatingPointError: {expected[where]}" in told_first
    assert ("or on another process's" in told_first) == (where == "total")
    assert [path.name for path in tmp_path.glob("state_*")] == ["state_00000005.safetensors"]


def miss_a_canary(run_dir: str) -> None:
    def validate(step: int, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        return {"psnr_db": 10.0 + step}

    cfg = loop_config(validate_every=4, canaries=[Canary(metric="psnr_db", step=7, low=20)])
    PlainToy().train(Path(run_dir), cfg, validate=validate)


def test_a_canary_stops_all_processes(tmp_path: Path, forks: Forks) -> None:
    (first, told_first), (second, told_second) = forks.run("miss_a_canary", tmp_path, world=2)
    assert first == second == 1
    assert (
        "DoomedError: Stopped at step 8: validation psnr_db is 18, and a healthy run has at least 20"
        in told_first
    )
    assert "Stopped with the first process, whose message says why." in told_second
    assert (tmp_path / "state_00000008.safetensors").is_file()


def start_unlike(run_dir: str, what: str) -> None:
    PlainToy(seed=rank() if what == "weights" else 3).train(
        Path(run_dir) / (f"{rank()}" if what == "step" else "")
    )


def test_processes_that_start_differently_are_refused(tmp_path: Path, forks: Forks) -> None:
    PlainToy().train(tmp_path / "1", loop_config(steps=2))
    for what, message in (
        ("weights", "The weights to start from differs"),
        ("step", "The step to go on from differs"),
    ):
        for code, told in forks.run("start_unlike", tmp_path, what, world=2):
            assert code == 1
            assert f"ValueError: {message} between the processes" in told


# Gradients --------------------------------------------------------------------------------------------------


def average(folder: str, bucket_bytes: str) -> None:
    """Gradients that are the rank's number, some of them missing."""
    runtime.BUCKET_BYTES = int(bucket_bytes)
    here = runtime.start(loop_config())
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((3, 2), (5,), (2,), (4,))]
    parameters[0].grad = torch.full((3, 2), 1.0 + here.rank)
    if here.rank == 1:
        parameters[1].grad = torch.arange(5.0)
    parameters[3].grad = torch.arange(4.0) * (1 - here.rank)
    here.average_gradients(parameters)
    found = [None if p.grad is None else p.grad.tolist() for p in parameters]
    Path(folder, f"{bucket_bytes}.{here.rank}.json").write_text(json.dumps(found))


@pytest.mark.parametrize("bucket_bytes", [4, 28, 2**26])
def test_gradients_are_means_and_missing_ones_stay_missing(
    tmp_path: Path, forks: Forks, bucket_bytes: int
) -> None:
    assert ended_well(forks.run("average", tmp_path, bucket_bytes, world=2))
    expected = [[[1.5, 1.5]] * 3, [0, 0.5, 1, 1.5, 2], None, [0, 0.5, 1, 1.5]]
    for number in range(2):
        assert json.loads((tmp_path / f"{bucket_bytes}.{number}.json").read_text()) == expected


def test_buckets_hold_everything_once_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "BUCKET_BYTES", 40)
    parameters = [nn.Parameter(torch.zeros(size)) for size in (3, 5, 20, 1, 8, 2)]
    groups = runtime.buckets(parameters)
    assert [[p.numel() for p in group] for group in groups] == [[2, 8], [1], [20], [5, 3]]


def test_saved_states_do_not_depend_on_the_number_of_threads_of_data(tmp_path: Path) -> None:
    for workers in (1, 3):
        PlainToy().train(tmp_path / str(workers), loop_config(workers=workers))
    assert_bitwise(final_state(tmp_path / "1"), final_state(tmp_path / "3"))
