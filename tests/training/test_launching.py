"""The command lines of docs/launching.md, at tiny size: torchrun starts, stops at SIGTERM and carries on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vasa.checkpoint import load_weights
from vasa.config import ROOT, load
from vasa.data.frame_pairs import FramePairs
from vasa.training.state import load_latest_state
from vasa.training.train_face import held_out


def options(run_dir: Path, cache: Path, steps: int) -> list[str]:
    return [
        "face=tiny",
        "run=smoke",
        f"run_dir={run_dir}",
        f"pairs.cache={cache}",
        "pairs.frames=4",
        "pairs.num_identities=16",
        "validation_identities=16",
        "validation_batches=1",
        f"loop.steps={steps}",
        "loop.validate_every=0",
        "loop.preview_every=0",
    ]


@pytest.mark.full  # two launches of two processes, each of which imports torch
@pytest.mark.timeout(1800)
def test_torchrun_trains_stops_at_a_signal_and_carries_on(tmp_path: Path) -> None:
    run_dir, cache = tmp_path / "run", tmp_path / "cache"
    run = load("train_face", options(run_dir, cache, 2))
    FramePairs(run.pairs).prepare()
    held_out(run.pairs, run.validation_identities).prepare()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, "--shutdown-timeout=300", "scripts/train_face.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    process = subprocess.Popen(
        [*command, *options(run_dir, cache, 100_000)],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(run_dir.glob("state_*")) and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=800)
    found = load_latest_state(run_dir)
    assert found is not None
    assert f"Stopped by SIGTERM at step {found[0]}; its state is saved" in told
    assert process.returncode == 1, told

    again = [*command, *options(run_dir, cache, found[0] + 2)]
    ended = subprocess.run(again, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=800)
    assert ended.returncode == 0, ended.stderr
    assert f"at step {found[0]}." in ended.stderr  # Resuming
    assert load_weights(run_dir / "face.safetensors").meta["step"] == found[0] + 2
