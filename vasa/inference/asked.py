"""Everything that is asked of one performance, frame by frame: constants from the options, tracks in their
place; what the motion model is asked of it, and from which noise and under which guidance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from vasa.inference.config import InferRun
from vasa.inference.controls import RANGES, Emotion, check, conditions, emotion_weights, is_unasked
from vasa.inference.noise import SeedTrack
from vasa.inference.tracks import EMOTION, GUIDANCE, SEED, ControlTracks, read_tracks
from vasa.motion.windows import GuidanceTrack
from vasa.records import VIDEO_FPS, Conditions

CONDITIONED = ("gaze_yaw", "gaze_pitch", "distance", EMOTION)
"""What the motion model can be asked for."""
BROAD = np.linspace(-4, 4, 33) * VIDEO_FPS
"""Frames about the present over which tracks are averaged before the model hears of them, 4 s either way.

A model that was trained on one gaze, distance and mood a clip follows a sudden change by halves only, within
a window, and jumps where the window begins (a smile by a third of its reach in one frame). So it is asked
for broad strokes and the edits add what lies between these and the track.
"""


class Asked:
    """constants: every control of RANGES (None: as the model makes it), in inside units. guidance: strengths
    that are given, by condition.
    """

    def __init__(
        self,
        constants: dict[str, float | None],
        emotion: Emotion,
        tracks: ControlTracks | None = None,
        seed: int = 0,
        guidance: Mapping[str, float] | None = None,
    ) -> None:
        for name, value in constants.items():
            if value is not None:
                check(name, value)
        self._constants = {name: None if value is None else float(value) for name, value in constants.items()}
        self._emotion, self._said = emotion_weights(emotion), emotion
        self._tracks = tracks or ControlTracks(np.zeros(1), {})
        self._seed, self._guidance = seed, dict(guidance or {})

    @property
    def seed(self) -> int | SeedTrack:
        """Of the noise that motion is drawn from: one, or the latest in a window where there is a track."""
        if not self.varies(SEED):
            return self._seed
        return lambda first, stop: self._tracks.last(SEED, stop)

    @property
    def guidance(self) -> Mapping[str, float] | GuidanceTrack:
        """Strengths that are given: constants, or of every window, means of their tracks over it."""
        tracked = {column: name for column, name in GUIDANCE.items() if self.varies(column)}
        if not tracked:
            return self._guidance
        return lambda first, stop: {
            **self._guidance,
            **{name: self._tracks.mean(column, first, stop) for column, name in tracked.items()},
        }

    def varies(self, *names: str) -> bool:
        """Whether a track is given for one of these controls."""
        return any(name in self._tracks for name in names)

    def constant(self, name: str) -> float | None:
        """What the options say, or None where a track says otherwise."""
        return None if self.varies(name) else self._constants[name]

    def most(self, name: str) -> float:
        """How far a control is asked to go from 0 at any time; 0 where it is left to the model."""
        if self.varies(name):
            return float(np.abs(self._tracks.values[name]).max())
        return abs(self._constants[name] or 0.0)

    def at(self, name: str, first: int, stop: int) -> Tensor:
        """What is asked of frames first .. stop - 1: (t,), emotion (t, 8)."""
        return self._value(name, np.arange(first, stop, dtype=np.float64))

    def broadly(self, name: str, first: int, stop: int) -> Tensor:
        """The same, averaged over BROAD: what the model is asked for."""
        if not self.varies(name):
            return self.at(name, first, stop)
        frames = np.arange(first, stop)[:, None] + BROAD
        value = self._value(name, frames.reshape(-1))
        return value.reshape(*frames.shape, *value.shape[1:]).mean(1)

    def conditions(self, neutral: bool = True) -> Conditions | Callable[[int, int], Conditions]:
        """What the motion model is asked for: constants, or anew for every window where there are tracks.

        neutral: whether it hears "neutral" where nobody names an emotion (``SamplerConfig.neutral``).
        """
        silent = not self.varies(EMOTION) and is_unasked(self._said, neutral)
        if self.varies(*CONDITIONED):
            return lambda first, stop: Conditions(
                gaze=torch.stack([self.broadly(n, first, stop).mean() for n in CONDITIONED[:2]])[None],
                distance=self.broadly("distance", first, stop).mean().reshape(1, 1),
                emotion=None if silent else self.broadly(EMOTION, first, stop).mean(0)[None],
            )
        yaw, pitch, distance = (float(self._constants[name] or 0.0) for name in CONDITIONED[:3])
        return conditions(yaw, pitch, distance, self._said, neutral)

    def _value(self, name: str, frames: np.ndarray) -> Tensor:
        if self.varies(name):
            return self._tracks.at(name, frames)
        if name == EMOTION:
            return self._emotion.expand(len(frames), -1)
        value = self._constants[name]
        assert value is not None, name
        return torch.full((len(frames),), value)


def asked_of(options: InferRun) -> Asked:
    """What the options of a video ask for; its track is read and checked.

    Raises: FileNotFoundError; ValueError naming the control and its range, or what is wrong with the track.
    """
    constants: dict[str, float | None] = {}
    for name, allowed in RANGES.items():
        value = getattr(options, name)
        constants[name] = math.radians(value) if allowed.is_angle else value
    tracks = None if options.controls is None else read_tracks(options.controls)
    if tracks is not None:
        _check_is_drawn(options, tracks)
    return Asked(constants, options.emotion, tracks, options.seed, options.guidance.as_dict())


def _check_is_drawn(options: InferRun, tracks: ControlTracks) -> None:
    """Raises: ValueError for a column of how motion is drawn where none is, or none is drawn so."""
    guided = [column for column in GUIDANCE if column in tracks]
    drawn = [*guided, *(column for column in (SEED,) if column in tracks)]
    for option in ("driving", "motion"):
        given = getattr(options, option)
        if drawn and given is not None:
            raise ValueError(
                f"controls={options.controls} has a column {drawn[0]}, but the motion is that of "
                f"{option}={given} and none is generated; leave one of the two out."
            )
    if guided and options.fast:
        raise ValueError(
            f"controls={options.controls} has a column {guided[0]}, but guidance is part of the weights of "
            "the motion model of few steps; leave out the column, or fast=true."
        )
