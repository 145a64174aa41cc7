"""What happens to speech between a mouth and a file: rooms, microphones, noise, telephone lines, recording
levels.

Nothing here moves sound in time, so that visemes stay valid: filters are zero-phase and rooms keep the direct
sound first. Pitch and rate are changed where speech is made (espeak's warp, the voices), before the visemes
are timed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.signal import fftconvolve

from vasa.data.synthetic.formants import FormantVoice, speak_phrase
from vasa.records import AUDIO_HZ

NOISES = ("white", "coloured", "hum", "babble", "music", "events")


def augment(waveform: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One random recording of a clean waveform (N,) at AUDIO_HZ: float32 (N,) in [-1, 1], in time with it.
    Silence stays in step too: it gets the noise alone.
    """
    audio = waveform.astype(np.float64)
    reference = max(np.sqrt(np.mean(audio**2)), 0.02)
    if generator.random() < 0.4:
        audio = room(audio, generator)
    if generator.random() < 0.7:
        audio = equalise(audio, generator)
    if generator.random() < 0.85:
        # A short list of noises at once: a street has both hum and voices.
        for _ in range(1 + int(generator.random() < 0.25)):
            kind = str(generator.choice(NOISES, p=[0.15, 0.35, 0.1, 0.15, 0.15, 0.1]))
            level = reference * 10 ** (-generator.uniform(6, 45) / 20)
            audio = audio + level * noise(kind, len(audio), generator)
    if generator.random() < 0.2:
        audio = telephone(audio, generator)
    peak = max(np.abs(audio).max(), 1e-6)
    gain = 10 ** (-generator.uniform(0, 24) / 20) / peak
    if generator.random() < 0.08:
        gain *= generator.uniform(1.5, 4)  # overdriven: clipped below
    return np.clip(audio * gain, -1, 1).astype(np.float32)


def _shape(audio: np.ndarray, curve_db: np.ndarray, at_hz: np.ndarray) -> np.ndarray:
    """A zero-phase filter with gains ``curve_db`` at frequencies ``at_hz``, linear in between."""
    # Ringing to both sides would wrap around the ends without the padding.
    padded = np.pad(audio, (512, 512))
    spectrum = np.fft.rfft(padded)
    frequency = np.fft.rfftfreq(len(padded), 1 / AUDIO_HZ)
    return np.fft.irfft(spectrum * 10 ** (np.interp(frequency, at_hz, curve_db) / 20), len(padded))[512:-512]


def equalise(audio: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A microphone: a tilt of up to 12 dB from bass to treble, bumps, perhaps a cut of the bass."""
    octaves = np.linspace(-3, 3, 25)
    at_hz = 1000 * 2**octaves
    curve = generator.uniform(-2, 2) * octaves
    for _ in range(int(generator.integers(0, 4))):
        curve = curve + generator.uniform(-8, 8) * np.exp(
            -(((octaves - generator.uniform(-3, 3)) / generator.uniform(0.3, 1.2)) ** 2)
        )
    if generator.random() < 0.3:
        curve = curve - 18 * np.clip(generator.uniform(-2.8, -1.6) - octaves, 0, 1)
    return _shape(audio, curve, at_hz)


def room(audio: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A small room: the direct sound, some early echoes and a decaying tail of 0.1 to 0.6 s."""
    decay = generator.uniform(0.1, 0.6)
    num = int(decay * AUDIO_HZ)
    t = np.arange(num) / AUDIO_HZ
    tail = generator.standard_normal(num) * 10 ** (-3 * t / decay)
    tail[: int(generator.uniform(0.002, 0.012) * AUDIO_HZ)] = 0
    tail *= generator.uniform(0.15, 0.9) / max(np.sqrt((tail**2).sum()), 1e-9)
    for _ in range(int(generator.integers(0, 6))):
        tail[int(generator.uniform(0.001, 0.03) * AUDIO_HZ)] += generator.uniform(-0.4, 0.4)
    tail[0] += 1.0
    return fftconvolve(audio, tail)[: len(audio)]


def telephone(audio: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A narrow band (a telephone's 300 to 3400 Hz, or a little more) and coarse logarithmic quantisation
    (mu-law).
    """
    low, high = generator.uniform(60, 350), generator.uniform(3200, 6500)
    audio = _shape(
        audio, np.array([-60.0, -60, 0, 0, -60, -60]), np.array([0, low / 2, low, high, high * 1.1, 8000])
    )
    peak = max(np.abs(audio).max(), 1e-6)
    steps, mu = 2 ** int(generator.integers(6, 9)), 255.0
    compressed = np.sign(audio) * np.log1p(mu * np.abs(audio) / peak) / np.log1p(mu)
    compressed = np.round(compressed * steps) / steps
    return np.sign(compressed) * np.expm1(np.abs(compressed) * np.log1p(mu)) / mu * peak


def noise(kind: str, num: int, generator: np.random.Generator) -> np.ndarray:
    """Background (num,) of unit power, of one of NOISES."""
    t = np.arange(num) / AUDIO_HZ
    if kind == "white":
        sound = generator.standard_normal(num)
    elif kind == "coloured":
        octaves = np.linspace(-5, 3, 17)
        curve = generator.uniform(-7, 0) * octaves + np.cumsum(generator.normal(0, 2, 17))
        knots = np.arange(int(t[-1] * 2) + 2)
        slow = np.interp(t * 2, knots, np.exp(0.3 * generator.standard_normal(len(knots))))
        sound = _shape(generator.standard_normal(num), curve, 1000 * 2**octaves) * slow
    elif kind == "hum":
        base = generator.uniform(45, 130)
        sound = np.zeros(num)
        for h in range(1, 12):
            sound += generator.uniform(0, 1) / h * np.sin(2 * np.pi * base * h * t + generator.uniform(0, 6))
    elif kind == "babble":
        start = int(generator.integers(len(_babble())))
        sound = np.take(_babble(), np.arange(start, start + num), mode="wrap")
    elif kind == "music":
        sound = _music(num, generator)
    elif kind == "events":
        sound = _events(num, generator)
    else:
        raise ValueError(f"noise is {kind!r}; wanted one of {', '.join(NOISES)}.")
    return sound / max(np.sqrt(np.mean(np.square(sound))), 1e-6)


@lru_cache(maxsize=1)
def _babble(num_voices: int = 10, seconds: float = 12.0) -> np.ndarray:
    """A crowd: formant voices over one another, always the same; clips begin at different moments."""
    num = int(seconds * AUDIO_HZ)
    crowd = np.zeros(num)
    for seed in range(num_voices):
        rng, at = np.random.default_rng((84, seed)), 0
        voice = FormantVoice.from_seed(10_000_000 + seed, singing_share=0.0)
        while at < num:
            phrase = speak_phrase(voice, rng)[0][: num - at]
            crowd[at : at + len(phrase)] += phrase
            at += len(phrase) + int(rng.uniform(0, 0.3) * AUDIO_HZ)
    return crowd


def _music(num: int, generator: np.random.Generator) -> np.ndarray:
    """Chords of decaying harmonic notes, and a beat: an accompaniment without a singer."""
    beat = int(generator.uniform(0.25, 0.7) * AUDIO_HZ)
    root, decay = generator.uniform(80, 260), generator.uniform(0.3, 2.5)
    sound = np.zeros(num)
    for start in range(0, num, beat):
        t = np.arange(min(int(2 * decay * AUDIO_HZ), num - start)) / AUDIO_HZ
        shape = np.exp(-t / decay) * np.minimum(t / 0.005, 1)
        chord = root * 2 ** (generator.choice([0, 2, 5, 7, 9]) / 12)
        for interval in (0, 4, 7, 12):
            pitch = chord * 2 ** (interval / 12)
            weight = generator.uniform(0.2, 1.0)
            for harmonic in range(1, 6):
                if pitch * harmonic < 7500:
                    sound[start : start + len(t)] += (
                        weight * shape * np.sin(2 * np.pi * pitch * harmonic * t) / harmonic**1.3
                    )
        if generator.random() < 0.5:
            hit = min(int(0.08 * AUDIO_HZ), num - start)
            sound[start : start + hit] += generator.standard_normal(hit) * np.exp(
                -np.arange(hit) / (0.02 * AUDIO_HZ)
            )
    return sound


def _events(num: int, generator: np.random.Generator) -> np.ndarray:
    """Knocks, clicks and rustles: short noise bursts in a narrow or wide band."""
    sound = 0.02 * generator.standard_normal(num)
    for _ in range(max(1, int(generator.poisson(num / AUDIO_HZ * 1.5)))):
        length = min(int(generator.uniform(0.01, 0.25) * AUDIO_HZ), num)
        start = int(generator.integers(0, num - length + 1))
        t = np.arange(length) / AUDIO_HZ
        burst = generator.standard_normal(length) * np.exp(-t / generator.uniform(0.005, 0.08))
        if generator.random() < 0.5:
            burst = burst * np.sin(2 * np.pi * generator.uniform(150, 4000) * t)
        sound[start : start + length] += burst * generator.uniform(0.3, 2)
    return sound
