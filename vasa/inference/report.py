"""The report beside every video: what went in, what was decided, how long it took. Enough to make the same
file again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from vasa.checkpoint import plain, versions
from vasa.inference.config import InferRun
from vasa.inference.pipeline import Generation
from vasa.video import SYNTHETIC_NOTE


def describe(
    config: InferRun,
    generation: Generation,
    checkpoint: dict[str, Any],
    audio: np.ndarray,
    audio_hz: int,
    total_s: float,
) -> dict[str, Any]:
    """Plain data for JSON. audio: (N,) at ``audio_hz``. total_s: wall time from the first line to the last
    frame.
    """
    timings = {name: round(seconds, 3) for name, seconds in generation.timings.items()}
    making = generation.timings["motion_s"] + generation.timings["render_s"]
    found = generation.portrait.found
    return {
        "note": SYNTHETIC_NOTE,
        "frames": generation.num_frames,
        "fps": generation.fps,
        "size": generation.size,
        "seconds": generation.num_frames / generation.fps,
        "seed": generation.seed,
        "image": _source(config.image, generation.portrait.picture),
        "audio": {**_source(config.audio, audio), "sample_rate": audio_hz, "samples": len(audio)},
        "face": {
            "found_by": found.found_by,
            "num_faces": found.num_faces,
            "confidence": round(found.confidence, 4),
            "crop": plain(found.crop),
        },
        "checkpoint": checkpoint,
        "config": plain(config),
        "versions": versions(),
        "timings": {
            **timings,
            "total_s": round(total_s, 3),
            "frames_per_s": round(generation.num_frames / making, 2) if making else None,
        },
    }


def _source(path: Path | None, content: np.ndarray) -> dict[str, Any]:
    """Name and hash of a file; of what was made in its place where there is none, the hash of the array."""
    if path is None:
        return {
            "path": None,
            "made": "synthetic",
            "sha256": hashlib.sha256(content.tobytes()).hexdigest(),
        }
    with path.open("rb") as file:
        return {"path": str(path), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
