"""What the folder of an evaluation's list consists of: clips and their names, pictures, videos, job files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vasa.checkpoint import atomic_path
from vasa.data.config import ClipsConfig, SpokenConfig
from vasa.inference.config import MakeJobsRun
from vasa.records import AUDIO_HZ, VIDEO_FPS
from vasa.video import VideoWriter

REAL = "real"
"""The row of true videos."""


@dataclass(slots=True)
class Material:
    """One clip of a list, in the list's folder. truth: what is known of it, for the job files."""

    name: str
    truth: dict[str, Any]


def clip_name(index: int) -> str:
    return f"clip{index:03d}"


def clips_config(run: MakeJobsRun) -> ClipsConfig:
    clips = {name: getattr(run, name) for name in ("num_clips", "seed", "seconds", "size")}
    return ClipsConfig(**clips, quality="full", spoken=SpokenConfig.possible(silent_share=0.0))


def places(folder: Path, name: str) -> tuple[Path, Path, Path]:
    return folder / f"portraits/{name}.png", folder / f"audio/{name}.wav", folder / REAL / f"{name}.mp4"


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """uint8 (H, W, 3) as PNG."""
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def write_video(path: Path, frames: np.ndarray, audio: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    with VideoWriter(path, width, height, VIDEO_FPS, audio, AUDIO_HZ) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[:height, :width]))


def write_job_file(path: Path, content: dict[str, Any]) -> None:
    """What is known of a video that no generator made, beside it."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
