"""Mel-frequency cepstra as SyncNet was trained on them.

Every choice here (window, filters, liftering, energy) is part of the published network: another MFCC gives
plausible but wrong scores. Source: the defaults of python_speech_features 0.6, restated from their
definition.
"""

from __future__ import annotations

import functools

import numpy as np

from vasa.records import AUDIO_HZ

NUM_CEPSTRA = 13
WINDOW = 400
"""Samples: 25 ms, rectangular."""
HOP = 160
"""Samples: 10 ms, so four columns to a video frame."""
_FFT = 512
_FILTERS = 26
_PRE_EMPHASIS = 0.97
_LIFTER = 22
_FLOOR = np.finfo(np.float64).eps
"""Replaces zero energies, whose logarithm does not exist."""


def to_int16(audio: np.ndarray) -> np.ndarray:
    """Sound (N,) in [-1, 1] as 16-bit PCM holds it: the inverse of reading such a file."""
    return np.clip(np.round(audio.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)


def mfcc(wave: np.ndarray) -> np.ndarray:
    """Sound (N,) at 16 kHz, int16 -> (13, T) float64, T = 1 + ceil((N - 400) / 160), at least 1.

    Row 0 is the logarithm of the frame's energy. Floats are refused, because sound in [-1, 1] moves row 0 by
    -20.8 and nothing else, which nobody would notice. Raises: ValueError.
    """
    if wave.ndim != 1 or wave.dtype != np.int16 or not len(wave):
        raise ValueError(
            f"wave is {wave.dtype} {wave.shape}; wanted int16 (N,) of at least one sample (see to_int16)."
        )
    frames = _frames(_emphasised(wave.astype(np.float64)))
    power = np.square(np.abs(np.fft.rfft(frames, _FFT))) / _FFT
    energy = _without_zeros(power.sum(1))
    mel = _without_zeros(power @ _filters().T)
    cepstra = np.log(mel) @ _cosines().T * _lifter()
    cepstra[:, 0] = np.log(energy)
    return np.ascontiguousarray(cepstra.T)


def _emphasised(signal: np.ndarray) -> np.ndarray:
    return np.concatenate([signal[:1], signal[1:] - _PRE_EMPHASIS * signal[:-1]])


def _frames(signal: np.ndarray) -> np.ndarray:
    """(T, 400): a frame for every begun hop, zeros behind the end."""
    count = 1 + max(0, -(-(len(signal) - WINDOW) // HOP))
    padded = np.zeros((count - 1) * HOP + WINDOW)
    padded[: len(signal)] = signal[: len(padded)]
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]


def _without_zeros(values: np.ndarray) -> np.ndarray:
    return np.where(values == 0, _FLOOR, values)


@functools.cache
def _filters() -> np.ndarray:
    """Triangles (26, 257) over FFT bins, of height 1, their corners evenly spaced in mel from 0 to 8 kHz."""
    highest = 2595 * np.log10(1 + AUDIO_HZ / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, highest, _FILTERS + 2) / 2595) - 1)
    corners = np.floor((_FFT + 1) * hertz / AUDIO_HZ)
    low, peak, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    at = np.arange(_FFT // 2 + 1)
    rising, falling = (at - low) / (peak - low), (high - at) / (high - peak)
    return np.where((low <= at) & (at < peak), rising, np.where((peak <= at) & (at < high), falling, 0.0))


@functools.cache
def _cosines() -> np.ndarray:
    """The first 13 rows of the orthonormal DCT-II of 26 values: (13, 26)."""
    row, column = np.arange(NUM_CEPSTRA)[:, None], np.arange(_FILTERS)
    matrix = np.sqrt(2 / _FILTERS) * np.cos(np.pi * row * (2 * column + 1) / (2 * _FILTERS))
    matrix[0] /= np.sqrt(2)
    return matrix


@functools.cache
def _lifter() -> np.ndarray:
    return 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(NUM_CEPSTRA) / _LIFTER)
