"""JoyVASA's motion model as the pipeline's source of motion: the same numbers in this project's terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from vasa.face.keypoints.space import MOTION_WIDTH
from vasa.motion.config import MotionConfig
from vasa.motion.joyvasa_speech import JoyvasaSpeech
from vasa.motion.joyvasa_template import to_keypoints
from vasa.motion.joyvasa_upstream import plan
from vasa.motion.joyvasa_windows import JoyvasaMotion
from vasa.motion.windows import ConditionTrack, GuidanceTrack, NoiseTrack
from vasa.records import Conditions, MotionLayout


class JoyvasaSource:
    """A MotionSource (system.py) of raw keypoint motion (t, 69)."""

    def __init__(self, model: JoyvasaMotion) -> None:
        self.model = model

    @property
    def speech(self) -> JoyvasaSpeech:
        """The speech encoder that lies in the model's own file."""
        return self.model.speech

    @property
    def layout(self) -> MotionLayout:
        return MotionLayout.volumetric(MOTION_WIDTH - 6)

    @cached_property
    def config(self) -> MotionConfig:
        return self.model.config

    def generate(
        self,
        features: Iterator[Tensor],
        conditions: Conditions | ConditionTrack,
        *,
        generator: torch.Generator | NoiseTrack,
        num_frames: int,
        steps: int | None,
        guidance: Mapping[str, float] | GuidanceTrack | None,
    ) -> Iterator[Tensor]:
        """Chunks (t, 69). Distance is the face space's to obey. Raises: ValueError where gaze or emotion are
        asked for.
        """
        made = self.model.generate(
            features, conditions, generator=generator, num_frames=num_frames, steps=steps, guidance=guidance
        )
        return map(to_keypoints, made)

    def as_published(
        self,
        waveform: Tensor,
        generator: torch.Generator,
        steps: int | None,
        guidance: Mapping[str, float] | None = None,
    ) -> tuple[Iterator[Tensor], int]:
        """Chunks (t, 69) of sound (N,) at AUDIO_HZ by JoyVASA's own windows, and how many frames they are:
        about three more than the sound has. Raises: ValueError of guidance by anything but audio.
        """
        made = self.model.speak(
            waveform, generator=generator, compat="upstream", steps=steps, guidance=guidance
        )
        return map(to_keypoints, made), plan(len(waveform), self.model.model.config.window_frames).num_frames


class NoMotion:
    """In the place of a motion model in a checkpoint that has none: it is driven, by videos and templates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def layout(self) -> MotionLayout:
        return MotionLayout.volumetric(MOTION_WIDTH - 6)

    @cached_property
    def config(self) -> MotionConfig:
        return MotionConfig()

    def generate(self, features: Iterator[Tensor], conditions: object, **options: object) -> Iterator[Tensor]:
        raise ValueError(
            f"checkpoint {str(self._folder)!r} has no motion model, so nothing can speak; give driving=VIDEO "
            "or a motion template, or bundle JoyVASA's (scripts/weights.py joyvasa action=bundle)."
        )
