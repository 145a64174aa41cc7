"""The rest of the sidecar of every video: what was decided, how long it took. With the claim before it
(provenance.py) enough to make the same file again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vasa.checkpoint import atomic_path, plain
from vasa.inference.config import InferRun
from vasa.inference.generation import Generation
from vasa.inference.provenance import Claim, named_only, settings, sidecar_of, versions_once

PARTS = ("portrait", "motion", "render", "waiting")
"""What a process does one after the other; encoding goes on beside it."""


def write_sidecar(
    video: Path,
    claim: Claim,
    config: InferRun,
    generation: Generation,
    checkpoint: Mapping[str, Any],
    sound: tuple[np.ndarray | None, int],
    timings: Mapping[str, float],
) -> None:
    """Writes ``<video>.provenance.json``. sound: (N,) or None, and its rate in Hz.
    timings: seconds, see ``Made``."""
    found, size = generation.portrait.found, generation.size
    content = {
        **claim.sidecar(video),
        "frames": generation.num_frames,
        "fps": generation.fps,
        "size": size,
        "height": generation.shape[0],
        "width": generation.shape[1],
        "seconds": generation.num_frames / generation.fps,
        "sound": None if sound[0] is None else {"sample_rate": sound[1], "samples": len(sound[0])},
        "face": {
            "found_by": found.found_by,
            "num_faces": found.num_faces,
            "confidence": round(found.confidence, 4),
            "crop": plain(found.crop),
        },
        "checkpoint": {**_without_paths(checkpoint), "folder": claim.model["name"]},
        "config": settings(config),
        "versions": versions_once(),
        "timings": {
            **{name: round(seconds, 3) for name, seconds in timings.items()},
            "shares": shares(timings),
            "frames_per_s": round(generation.num_frames / timings["total_s"], 2),
        },
    }
    with atomic_path(sidecar_of(video)) as temporary:
        text = json.dumps(named_only(content), indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _without_paths(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the checkpoint but for where this machine keeps the weights of its speech encoder."""
    return {name: value for name, value in checkpoint.items() if name != "speech"}


def shares(timings: Mapping[str, float]) -> dict[str, float]:
    """How the whole time divides among PARTS and the rest (reading files, hashes, the sidecar): sums to 1.
    waiting: standing still for the encoder.
    """
    total = timings["total_s"]
    if total <= 0:
        return {}
    found = {part: timings[f"{part}_s"] / total for part in PARTS}
    return {name: round(share, 4) for name, share in {**found, "rest": 1 - sum(found.values())}.items()}
