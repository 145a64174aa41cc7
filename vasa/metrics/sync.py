"""Mouth against speech: loudness at video rate, and whether a mouth opens with it and closes in silence."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vasa.metrics.correlation import pearson
from vasa.records import SAMPLES_PER_FRAME

FLOOR_DB = -50.0
"""Frames this far below the recording's loudest are silence; energies are clipped there."""
SMOOTHING_FRAMES = 3


def speech_energy(audio: np.ndarray) -> Tensor:
    """Loudness (T,) in [0, 1] of audio (N,) at AUDIO_HZ.

    Linear in dB from FLOOR_DB below the loudest frame up to it, smoothed over 3 frames.
    """
    frames = audio[: len(audio) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME].reshape(-1, SAMPLES_PER_FRAME)
    power = torch.from_numpy(np.square(frames.astype(np.float64)).mean(1))
    level = 10 * torch.log10(power.clamp(min=1e-12))
    loud = ((level - level.max()) / -FLOOR_DB + 1).clamp(0, 1).float()
    padded = torch.nn.functional.pad(loud[None, None], (1, 1), mode="replicate")
    return torch.nn.functional.avg_pool1d(padded, SMOOTHING_FRAMES, 1)[0, 0]


def opening_against_energy(opening: Tensor, audio: np.ndarray, max_lag: int = 3) -> float:
    """r of a mouth opening (T,) with the loudness of its audio, at the best lag of at most `max_lag` frames
    either way.

    Lips lead or trail loudness by a few frames (a closed m is loud), so the best of a small window is
    taken; an unrelated signal gains about 0.05 by it.
    """
    energy = speech_energy(audio)
    length = min(len(opening), len(energy))
    opening, energy = opening[:length].cpu(), energy[:length]
    values = []
    for lag in range(-max_lag, max_lag + 1):
        a = opening[max(0, lag) : length + min(0, lag)]
        b = energy[max(0, -lag) : length + min(0, -lag)]
        values.append(float(pearson(a, b)))
    return max(values)


def silent_frames(audio: np.ndarray, settle: int = 5) -> Tensor:
    """Frames (T,) in silence after `settle` silent frames, time enough to close a mouth: (T,) bool."""
    silent = speech_energy(audio) < 0.1
    run = torch.zeros_like(silent, dtype=torch.long)
    count = 0
    for index, value in enumerate(silent.tolist()):
        count = count + 1 if value else 0
        run[index] = count
    return run > settle
