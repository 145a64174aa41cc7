"""Face spaces of either kind from their files, for callers that do not mind which one they get."""

from __future__ import annotations

from pathlib import Path

import torch

from vasa.checkpoint import content_hash, load_weights
from vasa.face.config import MOTION_ENCODERS
from vasa.face.keypoints.networks import KIND
from vasa.face.keypoints.space import KeypointFace
from vasa.face.space import FaceSpace
from vasa.face.volumetric.autoencoder import FaceAutoencoder

KEYPOINTS = "keypoints"
"""Stands for the first of KEYPOINT_PLACES that is there."""
KEYPOINT_PLACES = (Path("checkpoints/liveportrait"), Path("checkpoints/joyvasa"))
KEYPOINT_ENCODERS = ("motion.",)
"""Names of a keypoint space's tensors that raw motion depends on begin so."""


def face_file(face: Path) -> Path:
    """The weights file that ``face`` names: itself, face.safetensors in that folder, or for "keypoints" that
    of published weights which scripts/weights.py bundled. Raises: FileNotFoundError.
    """
    if face.name == KEYPOINTS and not face.exists():
        places = [face.parent / place for place in KEYPOINT_PLACES]
        found = next((place for place in places if place.is_dir()), None)
        if found is None:
            raise FileNotFoundError(
                f"face=keypoints: there is neither {' nor '.join(map(str, KEYPOINT_PLACES))}; make one of "
                "published files (scripts/weights.py liveportrait action=bundle), or name a folder."
            )
        face = found
    return face / "face.safetensors" if face.is_dir() else face


def is_keypoints(path: Path) -> bool:
    """Whether a face's file is of keypoints. Raises: FileNotFoundError, CheckpointError."""
    return load_weights(path).config.get("space") == KIND


def encoders_hash(path: Path) -> str:
    """Of a face's motion encoders: whose language its raw motion is in. Raises: as ``is_keypoints``."""
    return content_hash(path, KEYPOINT_ENCODERS if is_keypoints(path) else MOTION_ENCODERS)


def load_space(path: Path, device: torch.device) -> FaceSpace:
    """The face space of a file, frozen. Raises: as ``is_keypoints``."""
    if is_keypoints(path):
        return KeypointFace.from_pretrained(path, device)
    return FaceAutoencoder.from_pretrained(path).to(device).eval().requires_grad_(False)
