"""Untrained runs of the tiny classes, as training writes them: what tests make checkpoints of."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from vasa.checkpoint import content_hash, plain, save_weights
from vasa.face.config import MOTION_ENCODERS, FaceConfig
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.motion.config import MotionConfig, SamplerConfig, TransformerConfig
from vasa.motion.diffusion import MotionDiffusion
from vasa.motion.windows import save_motion
from vasa.pretrained.config import SpeechConfig
from vasa.pretrained.speech import build_speech_encoder


def write_tiny_runs(folder: Path, root: Path) -> Path:
    """Writes face and motion.safetensors into a folder. root: the project's."""
    torch.manual_seed(0)
    tiny = yaml.safe_load((root / "configs" / "face" / "tiny.yaml").read_text())
    face = FaceAutoencoder(FaceConfig(**tiny))
    save_weights(folder / "face.safetensors", face.state_dict(), face.describe(), {"steps": 10})
    speech = SpeechConfig()
    small = TransformerConfig(width=16, num_layers=1, num_heads=2, feedforward=16)
    config = MotionConfig(
        window_frames=10, history_frames=2, transformer=small, sampler=SamplerConfig(steps=2)
    )
    motion = MotionDiffusion(config, face.layout, build_speech_encoder(speech).dim)
    save_motion(
        folder / "motion.safetensors",
        motion,
        motion.state_dict(),
        plain(speech),
        content_hash(folder / "face.safetensors", MOTION_ENCODERS),
        {"steps": 20},
    )
    return folder
