"""Ten minutes of speech from checkpoints/demo: nothing drifts, and memory is that of one minute."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vasa.pretrained.judges import Judges
from vasa.video import VideoReader

DRIVER = """
import json, resource, sys
from pathlib import Path
from vasa.config import load
from vasa.inference.animate import animate
animate(load("infer", sys.argv[1:]))
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""
MINUTE = 60 * 25


def speak(folder: Path, seconds: int) -> tuple[Path, int]:
    """A video of so many seconds, and the most memory that making it took, in kilobytes."""
    video = folder / f"{seconds}.mp4"
    arguments = [f"seconds={seconds}", f"output={video}", "size=128", "seed=1", "device=cpu"]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *arguments], capture_output=True, text=True, check=True
    )
    return video, json.loads(done.stdout.splitlines()[-1])


def described(video: Path, start: int) -> dict[str, np.ndarray | float]:
    """Sharpness, mean colour and identity of a minute of frames, from ``start`` on."""
    frames = np.stack([f.copy() for i, f in enumerate(VideoReader(video)) if start <= i < start + MINUTE])
    grey = torch.from_numpy(frames.mean(-1)).float()[:, None]
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    judges = Judges.from_pretrained(Path("checkpoints/judges"))
    some = torch.from_numpy(frames[::25].copy()).permute(0, 3, 1, 2)
    return {
        "sharpness": float(torch.nn.functional.conv2d(grey, kernel).square().mean().sqrt()),
        "colour": frames.mean((0, 1, 2)),
        "identity": torch.nn.functional.normalize(judges.measure(some).identity.mean(0), dim=0).numpy(),
    }


@pytest.mark.timeout(3600)  # fifteen thousand frames; others may keep the core busy
@pytest.mark.full
def test_ten_minutes_are_as_good_as_one_in_as_much_memory(tmp_path: Path) -> None:
    _, short_kb = speak(tmp_path, 60)
    video, long_kb = speak(tmp_path, 600)
    assert long_kb < 1.1 * short_kb
    first, last = described(video, 0), described(video, 9 * MINUTE)
    assert abs(last["sharpness"] / first["sharpness"] - 1) < 0.05
    assert np.abs(last["colour"] / first["colour"] - 1).max() < 0.05
    assert float((first["identity"] * last["identity"]).sum()) > 0.95
