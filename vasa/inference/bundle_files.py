"""The files of a checkpoint folder, and what it says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vasa.checkpoint import CheckpointError
from vasa.inference.config import BundleRun

BUNDLE_FILE = "bundle.json"
BUNDLE_FORMAT = 1
FACE_FILE, MOTION_FILE, CARD_FILE = "face.safetensors", "motion.safetensors", "README.md"
STUDENT_FILE = "motion_fast.safetensors"


def check_size(megabytes: float, config: BundleRun) -> None:
    """Raises: ValueError where a bundle would be larger than it may be."""
    if megabytes > config.max_megabytes:
        raise ValueError(
            f"the bundle takes {megabytes:.1f} MB; wanted at most max_megabytes={config.max_megabytes:g}: "
            "use smaller networks, or allow more."
        )


def read_bundle(folder: Path) -> dict[str, Any]:
    """bundle.json of a checkpoint folder, checked."""
    path = folder / BUNDLE_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {str(folder)!r} has no {BUNDLE_FILE}; give a folder made by scripts/bundle.py, "
            "such as checkpoints/demo."
        )
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        version = card["format"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); bundle the checkpoint again.") from error
    if version != BUNDLE_FORMAT:
        raise CheckpointError(
            f"{path} has format {version}, this vasa reads {BUNDLE_FORMAT}; use the version that wrote it."
        )
    return card
