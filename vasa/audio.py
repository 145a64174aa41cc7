"""Waveforms: reading any file, mixing to mono, resampling, and lining sound up with video frames.

Inside the project sound is float32 mono (N,) in [-1, 1]; models hear AUDIO_HZ. soundfile reads what it knows
(WAV, FLAC, OGG, MP3 ...) and PyAV the rest (M4A, MP4, WebM ...); both are imported where they are used.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vasa.records import AUDIO_HZ, VIDEO_FPS

BLOCK_SECONDS = 10.0
IN_MEMORY = 30_000_000
"""Samples of a file that are kept in memory: ten minutes at 48 kHz, 120 MB."""
_FRONT, _CENTRE, _BACK = 0.5, 0.5**0.5, 0.125**0.5
SURROUND = {
    count: tuple(weight / sum(weights) for weight in weights)
    for count, weights in {
        6: (_FRONT, _FRONT, _CENTRE, 0.0, _BACK, _BACK),
        8: (_FRONT, _FRONT, _CENTRE, 0.0, _BACK / 2**0.5, _BACK / 2**0.5, _BACK / 2**0.5, _BACK / 2**0.5),
    }.items()
}
"""Weights in mono of 5.1 and 7.1 channels, in the order of WAV and FFmpeg (left, right, centre, low, back,
side): the centre, where speech is, 3 dB above either front side, the rear 3 dB below it, no rumble. Source:
ITU-R BS.775, its two channels averaged; that the weights sum to 1, so that nothing clips, is ours.
"""


def frames_for(num_samples: int, rate_hz: int) -> int:
    """Video frames of a sound: floor(25 * seconds + 0.5), at least 1, counted in integers so that no rounding
    slips in.
    """
    return max(1, (2 * VIDEO_FPS * num_samples + rate_hz) // (2 * rate_hz))


def read_audio(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """Reads a sound file, or the first sound track of a video: (float32 mono (N,), rate in Hz), at the file's
    own rate.

    What is longer than IN_MEMORY samples lies in a temporary file, of which the array is a map: hours of
    sound take no memory but what is looked at.

    Raises: FileNotFoundError; ValueError where there is no sound in it, none can be decoded, or samples are
    not finite.
    """
    blocks: list[np.ndarray] = []
    total, rate_hz, spool = 0, 0, None
    for block, rate_hz in read_blocks(path):  # noqa: B007 (the last is returned)
        blocks.append(block)
        total += len(block)
        if total > IN_MEMORY:
            spool = spool or tempfile.TemporaryFile()  # noqa: SIM115 (the map keeps it open)
            spool.write(np.concatenate(blocks).tobytes())
            blocks.clear()
    if spool is None:
        return np.concatenate(blocks), rate_hz
    spool.flush()
    return np.memmap(spool, dtype=np.float32, mode="r", shape=(total,)), rate_hz


def read_blocks(path: str | os.PathLike[str]) -> Iterator[tuple[np.ndarray, int]]:
    """Like ``read_audio``, but a block (float32 mono, rate) of some seconds at a time: constant memory for
    files of any length.

    Raises: what ``read_audio`` raises; a broken sample only when its block is reached.
    """
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"audio {file} is a folder; wanted a sound file.")
    if not file.is_file():
        raise FileNotFoundError(f"audio {file} does not exist.")
    if file.stat().st_size == 0:
        raise ValueError(f"audio {file} is empty (0 bytes).")
    total, rate = 0, 0
    for samples, rate in _decode(file):
        block = _checked(samples, file)
        total += len(block)
        if len(block):
            yield block, rate
    if total == 0:
        raise ValueError(f"audio {file} holds no samples.")


def sound_start_s(path: str | os.PathLike[str]) -> float:
    """When a video's sound begins on the file's own clock, as VideoReader.start_s says of its pictures."""
    import av

    with av.open(str(Path(path).resolve()), metadata_errors="ignore") as container:
        track = container.streams.audio[0]
        start = float((track.start_time or 0) * (track.time_base or 0))
        return start - (container.start_time or 0) / av.time_base


def _decode(file: Path) -> Iterator[tuple[np.ndarray, int]]:
    import soundfile

    # Opened by Python, so that no file name is too strange for libsndfile.
    with file.open("rb") as stream:
        try:
            sound = soundfile.SoundFile(stream)
        except (soundfile.LibsndfileError, TypeError, ValueError):
            yield from _decode_container(file)
            return
        with sound:
            size = max(1, int(BLOCK_SECONDS * sound.samplerate))
            try:
                for block in sound.blocks(size, dtype="float32", always_2d=True):
                    yield block, sound.samplerate
            except soundfile.LibsndfileError as error:
                raise ValueError(f"audio {file} is damaged: {error}") from error


def _decode_container(file: Path) -> Iterator[tuple[np.ndarray, int]]:
    import av

    try:
        with av.open(str(file.resolve()), metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise ValueError(f"{file} has no sound track; wanted a sound file, or a video with sound.")
            track = container.streams.audio[0]
            rate = track.rate
            to_float = av.AudioResampler(format="fltp", rate=rate)
            for frame in container.decode(track):
                for part in to_float.resample(frame):
                    yield part.to_ndarray().T, rate
            for part in to_float.resample(None):
                yield part.to_ndarray().T, rate
    except av.FFmpegError as error:
        raise ValueError(
            f"{file} is not audio that soundfile or PyAV can read ({error.strerror})."
        ) from error


def _checked(samples: np.ndarray, file: Path) -> np.ndarray:
    """(N, channels) to mono float32 (N,), refusing what is not a number."""
    surround = SURROUND.get(samples.shape[1])
    if surround is not None:
        mono = samples.astype(np.float32, copy=False) @ np.array(surround, np.float32)
    else:
        mono = samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise ValueError(f"audio {file} contains NaN or infinite samples; export it again.")
    return mono


def check_waveform(waveform: np.ndarray | Tensor, rate_hz: int) -> np.ndarray:
    """A caller's waveform as float32 mono (N,): floats (N,), or (channels, N) or (N, channels) with at most 8
    channels, which are averaged; integer PCM is scaled to [-1, 1].

    Raises: ValueError where it is empty, not finite, of another type or shape, or the rate is out of range.
    """
    samples = waveform.detach().cpu().numpy() if isinstance(waveform, Tensor) else np.asarray(waveform)
    if samples.dtype.kind not in "fiu":
        raise ValueError(f"waveform has type {samples.dtype}; wanted floats in [-1, 1] or integer PCM.")
    if samples.dtype.kind in "iu":
        low, high = int(np.iinfo(samples.dtype).min), int(np.iinfo(samples.dtype).max) + 1
        samples = (samples.astype(np.float64) * 2 - (low + high)) / (high - low)
    if samples.ndim == 2 and 0 < min(samples.shape) <= 8:
        samples = samples.mean(axis=int(np.argmin(samples.shape)))
    if samples.ndim != 1:
        raise ValueError(
            f"waveform has shape {samples.shape}; wanted (N,), or (channels, N) with at most 8 channels."
        )
    if samples.size == 0:
        raise ValueError("the audio is empty; wanted at least one sample.")
    # A sum is finite where all samples are, and needs no array of answers as long as the sound.
    if not np.isfinite(samples.sum(dtype=np.float64)):
        bad = int((~np.isfinite(samples)).sum())
        raise ValueError(f"the audio has {bad} NaN or infinite samples; wanted finite ones: export it again.")
    if not 4_000 <= rate_hz <= 768_000:
        raise ValueError(f"sample rate is {rate_hz}; wanted 4000 to 768000 Hz.")
    return samples.astype(np.float32, copy=False)


def resample(waveform: np.ndarray, from_hz: int, to_hz: int = AUDIO_HZ) -> np.ndarray:
    """A waveform (N,) at another rate, band-limited: (ceil(N * to / from),) float32.

    torchaudio's windowed sinc; where torchaudio does not match the installed torch (it is built for one CUDA
    version), SciPy's polyphase filter, which differs by less than what one can hear.
    """
    if from_hz == to_hz:
        return np.asarray(waveform, np.float32)
    # A rate with no common divisor would need a filter of megabytes; the nearest short ratio is off by less
    # than 1e-6.
    ratio = Fraction(to_hz, from_hz).limit_denominator(2000)
    up, down = ratio.numerator, ratio.denominator
    try:
        from torchaudio.functional import resample as sinc
    except (ImportError, OSError, RuntimeError):
        from scipy.signal import resample_poly

        return resample_poly(waveform, up, down).astype(np.float32)
    return sinc(torch.from_numpy(np.ascontiguousarray(waveform, np.float32)), down, up).numpy()


def fit_length(waveform: np.ndarray, num_samples: int) -> np.ndarray:
    """Cuts a waveform (N,), or lengthens it with silence, to ``num_samples``."""
    if len(waveform) >= num_samples:
        return waveform[:num_samples]
    return np.pad(waveform, (0, num_samples - len(waveform)))


def align_features(features: Tensor, num_frames: int) -> Tensor:
    """Features (L, E) of a clip at any rate to its video frames (num_frames, E), linearly, first on first and
    last on last.
    """
    if features.shape[0] == num_frames:
        return features
    return torch.nn.functional.interpolate(
        features.T[None].float(), size=num_frames, mode="linear", align_corners=True
    )[0].T
