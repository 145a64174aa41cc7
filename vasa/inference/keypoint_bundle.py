"""A checkpoint folder of LivePortrait's face space and a motion model that was trained here on its motion."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from vasa.checkpoint import CheckpointError, Weights, save_weights, versions
from vasa.face.keypoints.networks import KIND
from vasa.face.keypoints.template import check_same_keypoints
from vasa.face.spaces import encoders_hash
from vasa.inference.bundle_card import numbers, results_of, shown
from vasa.inference.bundle_files import (
    BUNDLE_FILE,
    BUNDLE_FORMAT,
    CARD_FILE,
    FACE_FILE,
    MOTION_FILE,
    STUDENT_FILE,
    check_size,
)
from vasa.inference.config import BundleRun
from vasa.motion.joyvasa_windows import KIND as JOYVASA

log = logging.getLogger(__name__)


def bundle_keypoints(config: BundleRun, face: Weights, motion: Weights) -> Path:
    """Writes ``config.output``, complete or untouched; both models are stored as they are.

    Raises: CheckpointError where they do not belong together; ValueError where it would be too large.
    """
    _check_keypoints(config, face, motion)
    megabytes = sum(weights.path.stat().st_size for weights in (face, motion)) / 1e6
    check_size(megabytes, config)
    config.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=config.output) as name:
        folder = Path(name)
        facts: dict[str, Any] = {
            "format": BUNDLE_FORMAT,
            "space": KIND,
            "megabytes": round(megabytes, 2),
        }
        system = "joyvasa" if motion.meta.get("model") == JOYVASA else "vasa"
        facts |= {"system": system, "species": face.config["species"]}
        for file, weights in ((FACE_FILE, face), (MOTION_FILE, motion)):
            facts[f"{file.removesuffix('.safetensors')}_sha256"] = save_weights(
                folder / file, weights.tensors, weights.config, weights.meta
            )
        facts |= {"speech": motion.config.get("audio", {}), "versions": versions()}
        (folder / BUNDLE_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (folder / CARD_FILE).write_text(_card(motion, config), encoding="utf-8")
        for file in (FACE_FILE, MOTION_FILE, CARD_FILE, BUNDLE_FILE):
            (folder / file).replace(config.output / file)
    (config.output / STUDENT_FILE).unlink(missing_ok=True)  # of what was bundled there before
    log.info("Bundled %.1f MB into %s.", megabytes, config.output)
    return config.output


def _check_keypoints(config: BundleRun, face: Weights, motion: Weights) -> None:
    if config.student is not None:
        raise ValueError(
            f"student={config.student} goes with a face space of this project, and {face.path} is of "
            "keypoints; leave it out."
        )
    if "face_hash" not in motion.config:
        raise CheckpointError(
            f"{motion.path} names no face space; wanted a motion model made by scripts/train_motion.py."
        )
    check_same_keypoints(motion.config["face_hash"], motion.path, encoders_hash(face.path))


def _card(motion: Weights, config: BundleRun) -> str:
    lines = [
        "# A motion model on LivePortrait's keypoints",
        "",
        "Made by `scripts/bundle.py` from a face space that was published by others (where its files are "
        "from and under which licences: `scripts/weights.py liveportrait`) and a motion model that was "
        "trained with this project.",
        "",
        "| | motion |",
        "|---|---|",
        *(f"| {key} | {shown(value)} |" for key, value in sorted(motion.meta.items())),
        "",
        *([config.notes, ""] if config.notes else []),
        "## Numbers",
        "",
        *numbers(results_of(config.results)),
        "",
        "Do not animate a person without their consent, and do not pass the result off as a recording.",
        "",
    ]
    return "\n".join(lines)
