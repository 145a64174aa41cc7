"""From timed phonemes to mouth controls at video rate: coarticulation and loudness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vasa.data.synthetic.phonemes import SILENCE, VISEMES, VOWELS, Phoneme
from vasa.records import AUDIO_HZ, VIDEO_FPS

VISEME_NAMES = ("jaw", "lip_width", "lip_pucker", "lip_press")
"""Columns of a viseme track; each is one of records.CONTROL_NAMES."""
TRACK_HZ = 200
# Full widths of the smoothing windows and how early each control starts to move, seconds. A jaw has mass;
# lips round well before the vowel (anticipation); a closure has to be complete within the 40 to 80 ms that a
# stop lasts.
WIDTH_S = (0.11, 0.13, 0.13, 0.07)
LEAD_S = (0.010, 0.025, 0.030, 0.005)
# An opening of the jaw grows by 1/JAW_DB for each dB of vowel loudness above the clip's own level. The value
# is a choice for the look of speech (about 25 % for the 10 dB between calm and emphatic), not a measurement.
JAW_DB = 40.0


def loudness_db(audio: np.ndarray, rate_hz: int = TRACK_HZ, window_s: float = 0.05) -> np.ndarray:
    """Short-time level of a waveform (N,) in dB relative to its own active level, sampled at ``rate_hz``:
    (N/AUDIO_HZ*rate_hz,).

    The active level is the amplitude-weighted mean amplitude, which appended silence does not change. Silence
    is -80.
    """
    num = max(1, round(len(audio) / AUDIO_HZ * rate_hz))
    power = np.concatenate([[0.0], np.cumsum(audio.astype(np.float64) ** 2)])
    centre = (np.arange(num) + 0.5) / rate_hz * AUDIO_HZ
    half = window_s * AUDIO_HZ / 2
    low = np.clip(np.round(centre - half).astype(int), 0, len(audio))
    high = np.clip(np.round(centre + half).astype(int), 0, len(audio))
    amplitude = np.sqrt((power[high] - power[low]).clip(min=0) / np.maximum(high - low, 1))
    if amplitude.sum() < 1e-6:
        return np.full(num, -80.0)
    active = (amplitude**2).sum() / amplitude.sum()
    return np.maximum(20 * np.log10(np.maximum(amplitude / active, 1e-8)), -80.0)


def viseme_track(phonemes: Sequence[Phoneme], audio: np.ndarray, articulation: float = 1.0) -> np.ndarray:
    """Mouth controls (T, 4) float32 in the order of VISEME_NAMES at VIDEO_FPS, frame i at the centre of its
    40 ms.

    Each control is a weighted moving average of the phonemes' targets (normalised convolution): a sound that
    must have its shape (lips of m) outweighs one that does not care (k). ``articulation`` scales the jaw,
    besides the loudness of the sound.
    """
    seconds = len(audio) / AUDIO_HZ
    num = round(seconds * TRACK_HZ)
    targets, weights = _held(phonemes, num)
    tracks = np.empty((num, 4))
    for column in range(4):
        tracks[:, column] = _smooth(targets[:, column], weights[:, column], WIDTH_S[column], LEAD_S[column])
    tracks[:, 0] *= articulation * _jaw_gain(audio, num)
    at = (np.arange(round(seconds * VIDEO_FPS)) + 0.5) / VIDEO_FPS * TRACK_HZ - 0.5
    frames = np.stack([np.interp(at, np.arange(num), tracks[:, column]) for column in range(4)], axis=1)
    return np.clip(frames, (0, -1, 0, 0), (1, 1, 1, 1)).astype(np.float32)


def _held(phonemes: Sequence[Phoneme], num: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets and weights (num, 4), constant over each phoneme; all outside the phonemes is silence."""
    rest = VISEMES[SILENCE]
    targets = np.zeros((num, 4))
    weights = np.full((num, 4), (rest.jaw_weight, rest.lip_weight, rest.lip_weight, rest.press_weight))
    for phoneme in phonemes:
        shape = VISEMES[phoneme.symbol]
        span = slice(max(round(phoneme.start_s * TRACK_HZ), 0), max(round(phoneme.end_s * TRACK_HZ), 0))
        targets[span] = (shape.jaw, shape.lip_width, shape.lip_pucker, shape.lip_press)
        # An unstressed vowel is reduced towards the middle: it gives way to what surrounds it.
        firm = 0.75 if phoneme.symbol in VOWELS and phoneme.stress == 0 else 1.0
        weights[span] = (
            shape.jaw_weight * firm,
            shape.lip_weight * firm,
            shape.lip_weight * firm,
            shape.press_weight,
        )
    return targets, weights


def _smooth(target: np.ndarray, weight: np.ndarray, width_s: float, lead_s: float) -> np.ndarray:
    half = round(width_s * TRACK_HZ / 2)
    kernel = np.hanning(2 * half + 3)[1:-1]
    lead = round(lead_s * TRACK_HZ)
    pad = half + lead
    target, weight = np.pad(target, pad, mode="edge"), np.pad(weight, pad, mode="edge")
    value = np.convolve(target * weight, kernel, "same") / np.convolve(weight, kernel, "same")
    return value[pad + lead : len(value) - pad + lead]


def _jaw_gain(audio: np.ndarray, num: int) -> np.ndarray:
    """Factor (num,) by which loud vowels open wider: the loudness of the loudest 120 ms around, smoothed."""
    level = loudness_db(audio)[:num]
    level = np.pad(level, (0, num - len(level)), mode="edge")
    reach = round(0.06 * TRACK_HZ)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(level, reach, mode="edge"), 2 * reach + 1)
    peak = windows.max(axis=1)
    gain = np.clip(1.0 + peak / JAW_DB, 0.6, 1.2)
    return np.convolve(np.pad(gain, reach, mode="edge"), np.full(2 * reach + 1, 1 / (2 * reach + 1)), "valid")
