"""Films of a motion model while it is trained: the demo's portrait says the demo's sentence, with sound."""

from __future__ import annotations

from pathlib import Path

import torch

from vasa.device import choose_device
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.inference.demo import demo_portrait, demo_speech
from vasa.inference.pipeline import TalkingFace
from vasa.motion.windows import MotionGenerator
from vasa.preprocess.align import FaceAligner
from vasa.pretrained.config import DetectorConfig, SpeechConfig
from vasa.pretrained.speech import build_speech_encoder
from vasa.records import AUDIO_HZ
from vasa.video import VideoWriter


class MotionFilm:
    """What ``training.train_motion`` shows besides tracks: a callable (motion model, path of an .mp4)."""

    def __init__(self, face: Path, seconds: float, seed: int, device: str = "auto") -> None:
        """face: face.safetensors, or its folder, whose motion the model learns. Raises: FileNotFoundError."""
        path = face / "face.safetensors" if face.is_dir() else face
        self.device = choose_device(device)
        self.face = FaceAutoencoder.from_pretrained(path).to(self.device).eval()
        self.picture, self.known = demo_portrait(seed, self.face.size)
        self.waveform, self.seed = demo_speech(seed, seconds), seed

    def __call__(self, motion: MotionGenerator, path: Path) -> None:
        speech = build_speech_encoder(SpeechConfig(**motion.audio))
        talking = TalkingFace(self.face, motion, speech, FaceAligner(DetectorConfig()), self.device)
        with torch.no_grad():
            portrait = talking.prepare(self.picture, self.face.size, known=self.known)
            generation = talking.generate(portrait, self.waveform, AUDIO_HZ, seed=self.seed)
            size = generation.size
            with VideoWriter(path, size, size, generation.fps, self.waveform, AUDIO_HZ) as writer:
                for frame in generation:
                    writer.write(frame)
