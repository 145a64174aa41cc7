"""Speech features of sound whose end nobody knows, piece by piece as it comes in.

What comes out depends on the sound alone and not on how it was cut: pieces of features begin at fixed frames,
each is heard with the same frames around it, and the level that all is brought to is that of what was heard
by then. A file that is read at once gives the same numbers as a microphone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vasa.audio import frames_for
from vasa.inference.config import LivePlan
from vasa.pretrained.speech import Reference, SpeechEncoder
from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME

LEVEL_S = 10
"""Seconds of sound, up to the present, whose level counts."""
PRIOR_S, PRIOR_AMPLITUDE = 1.0, 0.08
"""Seconds of noise of an ordinary speaker's level that count beside them, so that the first syllable is not
brought to any level that it happens to have."""


class LiveFeatures:
    """Sound at AUDIO_HZ in, features (t, A) at 25 fps out; memory is bounded."""

    def __init__(self, encoder: SpeechEncoder, plan: LivePlan) -> None:
        self._encoder, self._plan = encoder, plan
        self._sound = np.empty(0, np.float32)
        self._dropped = 0  # samples before the first of ``_sound``
        self._made = 0  # frames given out
        self._prior = np.random.default_rng(0).normal(0, PRIOR_AMPLITUDE, round(PRIOR_S * AUDIO_HZ))
        self._prior = self._prior.astype(np.float32)

    def push(self, samples: np.ndarray) -> list[Tensor]:
        """Sound (N,) that follows what came before -> features of every piece that is heard by then."""
        self._sound = np.concatenate([self._sound, np.asarray(samples, np.float32)])
        pieces = []
        while self._heard >= self._stop + self._plan.right:
            pieces.append(self._piece(self._stop, self._stop + self._plan.right))
        return pieces

    def finish(self) -> list[Tensor]:
        """Features of the rest, after which no sound comes: as many frames as ``frames_for`` says."""
        total = self._dropped + len(self._sound)
        if total == 0:
            return []
        num_frames = frames_for(total, AUDIO_HZ)
        self._sound = np.pad(self._sound, (0, max(0, num_frames * SAMPLES_PER_FRAME - total)))
        pieces = []
        while self._made < num_frames:
            stop = min(self._stop, num_frames)
            pieces.append(self._piece(stop, min(stop + self._plan.right, num_frames)))
        return pieces

    @property
    def _heard(self) -> int:
        """Whole frames of sound that came in."""
        return (self._dropped + len(self._sound)) // SAMPLES_PER_FRAME

    @property
    def _stop(self) -> int:
        """Where the next piece ends: the first is as long as the first window waits for, then a hop each."""
        return self._made + self._plan.hop + (0 if self._made else self._plan.lookahead)

    def _piece(self, stop: int, last: int) -> Tensor:
        """Features of frames made .. stop - 1, heard up to frame ``last``."""
        first = max(self._made - self._plan.left, 0)
        features = self._encoder.features(self._between(first, last), last - first, self._level(last))
        piece = features[self._made - first : stop - first]
        self._made = stop
        keep = min(self._made - self._plan.left, last - LEVEL_S * AUDIO_HZ // SAMPLES_PER_FRAME)
        self._forget(max(keep, 0))
        return piece

    def _level(self, last: int) -> Reference:
        recent = self._between(max(last - LEVEL_S * AUDIO_HZ // SAMPLES_PER_FRAME, 0), last)
        return self._encoder.reference([self._prior, recent])

    def _between(self, first: int, last: int) -> np.ndarray:
        start, stop = (frame * SAMPLES_PER_FRAME - self._dropped for frame in (first, last))
        return self._sound[start:stop]

    def _forget(self, first: int) -> None:
        start = first * SAMPLES_PER_FRAME - self._dropped
        if start > 0:
            self._sound, self._dropped = self._sound[start:].copy(), self._dropped + start


def live_features(encoder: SpeechEncoder, samples: np.ndarray, plan: LivePlan, num_frames: int) -> Tensor:
    """The same of a whole sound (N,) at AUDIO_HZ that is ``num_frames`` long: (num_frames, A)."""
    live = LiveFeatures(encoder, plan)
    return torch.cat([*live.push(samples[: num_frames * SAMPLES_PER_FRAME]), *live.finish()])
