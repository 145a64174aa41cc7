"""A checkpoint that scripts/weights.py bundled, loaded: LivePortrait's space, and JoyVASA's motion model if
it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from vasa.checkpoint import content_hash
from vasa.face.keypoints.space import KeypointFace
from vasa.inference.bundle import FACE_FILE, MOTION_FILE
from vasa.inference.joyvasa_source import JoyvasaSource, NoMotion
from vasa.pretrained.config import SpeechConfig
from vasa.pretrained.speech import SpeechEncoder, build_speech_encoder


@dataclass(slots=True)
class KeypointSystem:
    """What a pipeline is made of. hashes: of its files, for provenance."""

    face: KeypointFace
    motion: JoyvasaSource | NoMotion
    speech: SpeechEncoder
    hashes: dict[str, str]


def load_keypoint_system(folder: Path, device: torch.device) -> KeypointSystem:
    """Raises: FileNotFoundError, CheckpointError."""
    path, motion_path = folder / FACE_FILE, folder / MOTION_FILE
    face = KeypointFace.from_pretrained(path, device)
    hashes = {"face_sha256": content_hash(path), "encoders_sha256": content_hash(path, ("motion.",))}
    if not motion_path.is_file():
        return KeypointSystem(face, NoMotion(folder), build_speech_encoder(SpeechConfig()), hashes)
    motion = JoyvasaSource.from_pretrained(motion_path, device)
    hashes["motion_sha256"] = content_hash(motion_path)
    return KeypointSystem(face, motion, motion.speech, hashes)
