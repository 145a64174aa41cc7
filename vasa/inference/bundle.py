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
from vasa.face.keypoints.networks import KIND as KEYPOINTS
from vasa.face.spaces import face_file
from vasa.inference.bundle_card import card, results_of
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
from vasa.inference.keypoint_bundle import bundle_keypoints

log = logging.getLogger(__name__)


def bundle(config: BundleRun) -> Path:
    """Writes the folder and returns it; it is complete or untouched.

    Raises: FileNotFoundError; CheckpointError when the two do not belong together; ValueError when it would
    be too large.
    """
    face_path, motion_path = face_file(config.face), _weights_file(config.motion, MOTION_FILE)
    face = load_weights(face_path)
    if face.config.get("space") == KEYPOINTS:
        return bundle_keypoints(config, face, load_weights(motion_path))
    original = content_hash(face_path, MOTION_ENCODERS)
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
        check_size(megabytes, config)
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
            card(face, motion, facts, results_of(config.results), config.notes, student), encoding="utf-8"
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
