"""A checkpoint of LivePortrait's face space, loaded: with JoyVASA's motion model, with this project's
transformer, or with none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from vasa.checkpoint import content_hash, from_plain, load_weights
from vasa.device import picture_precision
from vasa.face.keypoints.space import KeypointFace
from vasa.face.keypoints.template import check_same_keypoints
from vasa.face.spaces import encoders_hash
from vasa.inference.bundle_files import FACE_FILE, MOTION_FILE
from vasa.inference.joyvasa_source import JoyvasaSource, NoMotion
from vasa.motion.joyvasa_windows import JoyvasaMotion
from vasa.motion.windows import KIND as GENERATOR_KIND
from vasa.motion.windows import MotionGenerator
from vasa.pretrained.config import SpeechConfig
from vasa.pretrained.speech import SpeechEncoder, build_speech_encoder


@dataclass(slots=True)
class KeypointSystem:
    """What a pipeline is made of. hashes: of its files, for provenance."""

    face: KeypointFace
    motion: JoyvasaSource | MotionGenerator | NoMotion
    speech: SpeechEncoder
    hashes: dict[str, str]


def load_keypoint_system(folder: Path, device: torch.device, precision: str = "auto") -> KeypointSystem:
    """precision: as ``InferRun.precision``. Raises: FileNotFoundError, CheckpointError."""
    path, motion_path = folder / FACE_FILE, folder / MOTION_FILE
    face = KeypointFace.from_pretrained(path, device, picture_precision(device, precision))
    hashes = {"face_sha256": content_hash(path), "encoders_sha256": encoders_hash(path)}
    if not motion_path.is_file():
        return KeypointSystem(face, NoMotion(folder), build_speech_encoder(SpeechConfig()), hashes)
    hashes["motion_sha256"] = content_hash(motion_path)
    if load_weights(motion_path).meta.get("model") == GENERATOR_KIND:
        motion = MotionGenerator.from_pretrained(motion_path, device)
        check_same_keypoints(motion.face_hash, motion_path, hashes["encoders_sha256"])
        speech = build_speech_encoder(from_plain(SpeechConfig, motion.audio, "speech encoder"), device)
        return KeypointSystem(face, motion, speech, hashes)
    model = JoyvasaMotion.from_pretrained(motion_path, device)
    model.precision = torch.bfloat16 if precision == "bf16" else torch.float32
    check_same_keypoints(model.face_hash, motion_path, hashes["encoders_sha256"])
    return KeypointSystem(face, JoyvasaSource(model), model.speech, hashes)
