"""Films of a motion model while it is trained: the demo's portrait says the demo's sentence, with sound."""

from __future__ import annotations

from contextlib import closing
from functools import cached_property
from pathlib import Path

import torch

from vasa.checkpoint import from_plain
from vasa.device import choose_device
from vasa.face.space import FaceSpace
from vasa.face.spaces import face_file, load_space
from vasa.inference.demo import demo_portrait, demo_speech
from vasa.inference.joyvasa_source import JoyvasaSource
from vasa.inference.pipeline import TalkingFace
from vasa.motion.joyvasa_windows import JoyvasaMotion
from vasa.motion.windows import MotionGenerator
from vasa.preprocess.align import FaceAligner
from vasa.pretrained.config import DetectorConfig, SpeechConfig
from vasa.pretrained.speech import SpeechEncoder, build_speech_encoder
from vasa.records import AUDIO_HZ
from vasa.video import VideoWriter


class MotionFilm:
    """What ``training.train_motion`` shows besides tracks: a callable (motion model, path of an .mp4)."""

    def __init__(self, face: Path, seconds: float, seed: int, device: str = "auto") -> None:
        """face: face.safetensors, or its folder, whose motion the model learns. Raises: FileNotFoundError."""
        self.path = face_file(face)
        if not self.path.is_file():
            raise FileNotFoundError(f"film: face {str(self.path)!r} does not exist; name the run's face.")
        self.device, self.seconds, self.seed = choose_device(device), seconds, seed

    @cached_property
    def face(self) -> FaceSpace:
        """Loaded with the first film: of several processes only one makes any."""
        return load_space(self.path, self.device)

    def __call__(self, motion: MotionGenerator | JoyvasaMotion, path: Path) -> None:
        if isinstance(motion, JoyvasaMotion):
            source: JoyvasaSource | MotionGenerator = JoyvasaSource(motion)
            speech: SpeechEncoder = motion.speech
        else:
            source = motion
            speech = build_speech_encoder(from_plain(SpeechConfig, motion.audio, "speech encoder"))
        talking = TalkingFace(self.face, source, speech, FaceAligner(DetectorConfig()), self.device)
        picture, known = demo_portrait(self.seed, self.face.size)
        waveform = demo_speech(self.seed, self.seconds)
        with torch.no_grad():
            portrait = talking.prepare(picture, self.face.size, known=known)
            generation = talking.generate(portrait, waveform, AUDIO_HZ, seed=self.seed)
            size = generation.size
            with (
                closing(generation),
                VideoWriter(path, size, size, generation.fps, waveform, AUDIO_HZ) as writer,
            ):
                for frame in generation:
                    writer.write(frame)
