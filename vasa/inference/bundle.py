"""One checkpoint folder out of a stage-1 run and stage-2 runs: weights in half precision, what they are, and
a card.

The folder is what inference loads: face.safetensors, motion.safetensors, perhaps its student of few steps
motion_fast.safetensors, bundle.json, README.md. A motion model that was trained on another face space's
motion is refused, because it would load and talk nonsense.
"""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import torch

from vasa.checkpoint import (
    CheckpointError,
    Weights,
    content_hash,
    load_weights,
    save_weights,
    versions,
)
from vasa.face.config import MOTION_ENCODERS
from vasa.inference.config import BundleRun

log = logging.getLogger(__name__)

BUNDLE_FILE = "bundle.json"
BUNDLE_FORMAT = 1
FACE_FILE, MOTION_FILE, CARD_FILE = "face.safetensors", "motion.safetensors", "README.md"
STUDENT_FILE = "motion_fast.safetensors"


def bundle(config: BundleRun) -> Path:
    """Writes the folder and returns it; it is complete or untouched.

    Raises: FileNotFoundError; CheckpointError when the two do not belong together; ValueError when it would
    be too large.
    """
    face_path, motion_path = _weights_file(config.face, FACE_FILE), _weights_file(config.motion, MOTION_FILE)
    face, original = load_weights(face_path), content_hash(face_path, MOTION_ENCODERS)
    halved = _halved_encoders(face)
    motion = _motion(motion_path, face_path, (original, halved))
    student = None
    if config.student is not None:
        student = _motion(_weights_file(config.student, MOTION_FILE), face_path, (original, halved))
        _check_student(student, motion)
    config.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=config.output) as name:
        folder = Path(name)
        stored = save_weights(folder / FACE_FILE, face.tensors, face.config, face.meta, torch.float16)
        hashes = {}
        for name, model in ((MOTION_FILE, motion), (STUDENT_FILE, student)):
            if model is not None:
                model_config = {**model.config, "face_hash": halved}
                hashes[name] = save_weights(
                    folder / name, model.tensors, model_config, model.meta, torch.float16
                )
        megabytes = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        if megabytes > config.max_megabytes:
            raise ValueError(
                f"the bundle takes {megabytes:.1f} MB; wanted at most "
                f"max_megabytes={config.max_megabytes:g}: use smaller networks."
            )
        facts = {
            "format": BUNDLE_FORMAT,
            "face_sha256": stored,
            "motion_sha256": hashes[MOTION_FILE],
            **({"student_sha256": hashes[STUDENT_FILE]} if student else {}),
            "trained_encoders_sha256": original,
            "speech": motion.config.get("audio", {}),
            "megabytes": round(megabytes, 2),
            "versions": versions(),
        }
        (folder / BUNDLE_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (folder / CARD_FILE).write_text(
            card(face, motion, facts, _results(config.results), config.notes, student), encoding="utf-8"
        )
        for file in (FACE_FILE, *hashes, BUNDLE_FILE, CARD_FILE):
            (folder / file).replace(config.output / file)
        if student is None:
            (config.output / STUDENT_FILE).unlink(missing_ok=True)
    log.info("Bundled %.1f MB into %s.", megabytes, config.output)
    return config.output


def _weights_file(path: Path, name: str) -> Path:
    return path / name if path.is_dir() else path


def _halved_encoders(face: Weights) -> str:
    """The hash of a face's motion encoders in half precision, which makes other encoders of them: those of
    the motion models of a bundle, and of a face that was trained on from one with its encoders frozen.
    """
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / FACE_FILE
        save_weights(path, face.tensors, face.config, face.meta, torch.float16)
        return content_hash(path, MOTION_ENCODERS)


def _motion(path: Path, face_path: Path, encoders: tuple[str, str]) -> Weights:
    """A motion model of this face space. Raises: CheckpointError."""
    motion = load_weights(path)
    wanted = motion.config.get("face_hash")
    if wanted is None:
        raise CheckpointError(
            f"{path} names no face space; wanted a motion model made by scripts/train_motion.py."
        )
    if wanted not in encoders:
        raise CheckpointError(
            f"{path} was trained on the motion of face {wanted[:12]}, but {face_path} is face "
            f"{encoders[0][:12]}; encode the motion with this face and train on it, or give the face it was "
            "trained with."
        )
    return motion


def _check_student(student: Weights, motion: Weights) -> None:
    if not student.config["motion"]["sampler"].get("baked"):
        raise CheckpointError(
            f"{student.path} is no student; wanted a model made by train_motion.py experiment=motion_distill."
        )
    if student.config["audio"] != motion.config["audio"]:
        raise CheckpointError(
            f"{student.path} hears speech as {student.config['audio']}, {motion.path} as "
            f"{motion.config['audio']}; wanted a student of this very model."
        )


def _results(path: Path | None) -> list[dict[str, Any]]:
    """Measured numbers: a JSON list of rows, each a flat object; all rows have the keys of the first."""
    if path is None:
        return []
    if not path.is_file():
        raise FileNotFoundError(
            f"results {str(path)!r} does not exist; measure them first, or leave the option out."
        )
    rows = json.loads(path.read_text(encoding="utf-8"))
    rows = rows.get("rows", []) if isinstance(rows, dict) else rows
    if not rows or any(not isinstance(row, dict) or row.keys() != rows[0].keys() for row in rows):
        raise ValueError(
            f"results {str(path)!r} is not a table; wanted a JSON list of objects with the same keys."
        )
    return rows


def card(
    face: Weights,
    motion: Weights,
    facts: dict[str, Any],
    results: list[dict[str, Any]],
    notes: str = "",
    student: Weights | None = None,
) -> str:
    """The model card, in Markdown: what it is, what it saw, how long, its numbers, what it must not be used
    for.
    """
    lines = [
        "# A talking face checkpoint",
        "",
        "Made by `scripts/bundle.py` from a face space (stage 1) and a motion model (stage 2) of this "
        "project.",
        "",
        "| | face | motion |",
        "|---|---|---|",
        *(
            f"| {key} | {_shown(face.meta.get(key))} | {_shown(motion.meta.get(key))} |"
            for key in _meta_keys(face, motion)
        ),
        f"| parameters | {_parameters(face)} | {_parameters(motion)} |",
        f"| SHA-256 of the content | `{facts['face_sha256'][:16]}` | `{facts['motion_sha256'][:16]}` |",
        "",
        f"Stored in half precision, {facts['megabytes']} MB in all. Speech is heard through: "
        f"{_shown(facts['speech'])}.",
        "",
        *(_of_student(student) if student else []),
        *([notes, ""] if notes else []),
        "## Numbers",
        "",
    ]
    if results:
        names = list(results[0])
        lines += ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
        lines += ["| " + " | ".join(_shown(row[name]) for name in names) + " |" for row in results]
    else:
        lines += ["None were measured when this was bundled."]
    lines += ["", "## Use", "", *_USE, ""]
    return "\n".join(lines)


_USE = (
    "Trained on procedurally drawn heads and synthetic speech only; no recording of a person was used. "
    "Photographs are animated",
    "approximately: best within about 15 degrees of the picture's own pose. Videos carry a note in their "
    "metadata that they are",
    "synthetic. Do not animate a person without their consent, and do not pass the result off as a "
    "recording.",
)


def _of_student(student: Weights) -> list[str]:
    sampler = student.config["motion"]["sampler"]
    return [
        f"`{STUDENT_FILE}` is the motion model's student: {sampler['steps']} evaluations a window, in which "
        f"its teacher's guidance ({_shown(sampler['guidance'])}) is contained; {student.meta.get('steps')} "
        "steps of training. `fast=true` uses it.",
        "",
    ]


def _meta_keys(face: Weights, motion: Weights) -> list[str]:
    return sorted({*face.meta, *motion.meta})


def _parameters(weights: Weights) -> str:
    return f"{sum(tensor.numel() for tensor in weights.tensors.values()) / 1e6:.2f} M"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items() if item is not None)
    return str(value).replace("|", "\\|")


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
