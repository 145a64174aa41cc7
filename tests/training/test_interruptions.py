"""What a run survives: being killed while it writes, a full disk, and both at any process."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from forks import Forks
from toy_run import Toy, assert_bitwise, final_state, loop_config, metric_steps

from vasa import checkpoint
from vasa.checkpoint import load_weights
from vasa.training import state


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    server = Forks("test_interruptions", tmp_path_factory.mktemp("output"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run without interruption."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    Toy().train(folder)
    return folder


def kill_in_a_step(run_dir: str) -> None:
    class Killed(Toy):
        def maker_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            if step == 8:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().maker_loss(batch, step)

    Killed().train(Path(run_dir))


def test_killed_in_a_step(tmp_path: Path, forks: Forks, whole: Path) -> None:
    ((code, _),) = forks.run("kill_in_a_step", tmp_path)
    assert code == -signal.SIGKILL
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "sam')
    assert Toy(seed=99).train(tmp_path) == 7
    assert_bitwise(final_state(whole), final_state(tmp_path))
    assert metric_steps(tmp_path) == metric_steps(whole) == [4, 8, 12]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "metrics.jsonl",
        "state_00000010.safetensors",
        "state_00000012.safetensors",
        "toy.safetensors",
    ]


def kill_while_writing(run_dir: str, moment: str) -> None:
    """Killed in the middle of the export or the state of step 10, or when that state waits to be renamed."""
    fatal = 3 if moment == "export" else 4  # exports come before states, every five steps
    count = 0

    def save_file(tensors: dict[str, torch.Tensor], path: Path, header: dict[str, str]) -> None:
        nonlocal count
        original_save(tensors, path, header)
        count += 1
        if count == fatal and moment != "renaming":
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def fsync(file: int) -> None:
        original_fsync(file)
        if count == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    original_save, original_fsync = checkpoint.save_file, os.fsync
    checkpoint.save_file, os.fsync = save_file, fsync  # type: ignore[assignment]
    Toy().train(Path(run_dir))


@pytest.mark.parametrize("moment", ["export", "state", "renaming"])
def test_killed_while_a_file_is_written(tmp_path: Path, forks: Forks, whole: Path, moment: str) -> None:
    ((code, _),) = forks.run("kill_while_writing", tmp_path, moment)
    assert code == -signal.SIGKILL
    assert len(list(tmp_path.glob(".*.tmp.safetensors"))) == 1, "it was killed elsewhere"
    assert [path.name for path in tmp_path.glob("state_*")] == ["state_00000005.safetensors"]
    assert load_weights(tmp_path / "toy.safetensors").meta["step"] == (5 if moment == "export" else 10)
    assert Toy(seed=99).train(tmp_path) == 7
    assert_bitwise(final_state(whole), final_state(tmp_path))
    assert metric_steps(tmp_path) == metric_steps(whole)
    assert not list(tmp_path.glob(".*"))


SELDOM = loop_config(log_every=8)  # so that the log is smaller than the export, and that than a state


def fill_the_disk(run_dir: str, limit: str) -> None:
    """From step 7 on no file may grow beyond the limit, which is how a full disk looks to a writer."""

    class Filling(Toy):
        def maker_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            if step == 7:
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), before[1]))
            return super().maker_loss(batch, step)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        Filling().train(Path(run_dir), SELDOM)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)  # the error is told to a file


@pytest.mark.parametrize("last", ["nothing", "the log", "the export"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, forks: Forks, whole: Path, last: str) -> None:
    """Whatever the last file is that still fits."""
    Toy().train(tmp_path / "sizes", SELDOM)
    names = ("metrics.jsonl", "toy.safetensors", "state_00000012.safetensors")
    log, export, saved = ((tmp_path / "sizes" / name).stat().st_size for name in names)
    assert log + 256 < export < saved - 256
    room = {"nothing": 64, "the log": (log + export) // 2, "the export": (export + saved) // 2}[last]
    run_dir = tmp_path / "run"
    ((code, told),) = forks.run("fill_the_disk", run_dir, room)
    assert code == 1
    sentence = (
        f"OSError: {run_dir} takes no more data (File too large); the last training state, "
        "state_00000005.safetensors, is whole. Free some space or lower loop.keep_states, and give the same "
        "command again: it carries on from there."
    )
    assert sentence in told.splitlines()
    assert sorted(path.name for path in run_dir.iterdir()) == [
        "metrics.jsonl",
        "state_00000005.safetensors",
        "toy.safetensors",
    ]
    assert load_weights(run_dir / "toy.safetensors").meta["step"] == (10 if last == "the export" else 5)
    assert Toy(seed=99).train(run_dir, SELDOM) == 7
    assert_bitwise(final_state(whole), final_state(run_dir))
    assert metric_steps(run_dir) == [8, 12]


def test_other_errors_of_the_disk_keep_their_own_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"), state.full_disk_told(tmp_path):
        (tmp_path / "missing").read_text()


def stop_one_of_two(run_dir: str) -> None:
    """Only the second process gets the signal, at a step at which nothing is due."""

    class Signalled(Toy):
        def maker_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            if step == 6 and os.environ["RANK"] == "1":
                os.kill(os.getpid(), signal.SIGTERM)
            return super().maker_loss(batch, step)

    Signalled().train(Path(run_dir))


def test_a_signal_to_one_process_stops_all_at_one_step(tmp_path: Path, forks: Forks) -> None:
    ends = forks.run("stop_one_of_two", tmp_path, world=2)
    assert [code for code, _ in ends] == [143, 143], ends
    assert "Stopped by SIGTERM at step 7; its state is saved" in ends[0][1]
    assert (tmp_path / "state_00000007.safetensors").is_file()
