"""A formant synthesiser in NumPy: invented words in invented voices, spoken or sung, with the exact time of
every sound.

Source and filter, frame by frame: pulses at the voice's pitch and noise are cut into overlapping frames, each
frame's spectrum is shaped by formant resonances (voiced and breathy sounds) or by a noise band (fricatives,
bursts), and the frames are added up.
Source: the cascade resonator model of Klatt (1980), here with magnitudes in the frequency domain instead of
recursive filters, so that ten seconds are a few array operations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa.data.synthetic.phonemes import SILENCE, VOWELS, Phoneme
from vasa.records import AUDIO_HZ

HOP = 80  # control frames of 5 ms
WINDOW = 320
FFT = 512


@dataclass(frozen=True, slots=True)
class Phone:
    """Acoustics of a sound: formants F1 to F3 (Hz, mean adult), level of voicing, of aspiration and of
    frication (0 to 1), centre and width of the frication (Hz), duration (s) at rate 1, nasality, and whether
    it is a stop (closure, then burst).
    """

    formants: tuple[float, float, float]
    voicing: float
    duration_s: float
    frication: float = 0.0
    centre_hz: float = 0.0
    width_hz: float = 0.0
    aspiration: float = 0.0
    nasal: float = 0.0
    stop: bool = False


def _vowel(f1: float, f2: float, f3: float, duration_s: float = 0.10) -> Phone:
    return Phone((f1, f2, f3), 1.0, duration_s)


def _fricative(
    locus: tuple[float, float, float], centre: float, width: float, level: float, voicing: float = 0.0
) -> Phone:
    return Phone(locus, voicing, 0.095 if not voicing else 0.07, level, centre, width)


def _stop(locus: tuple[float, float, float], centre: float, width: float, voiced: bool) -> Phone:
    return Phone(
        locus,
        0.18 if voiced else 0.0,
        0.075 if voiced else 0.09,
        0.30,
        centre,
        width,
        0.0 if voiced else 0.35,
        0.0,
        True,
    )


def _sonorant(f1: float, f2: float, f3: float, level: float, nasal: float = 0.0) -> Phone:
    return Phone((f1, f2, f3), level, 0.07, nasal=nasal)


PHONES: dict[str, Phone] = {
    SILENCE: Phone((500, 1500, 2500), 0.0, 0.1),
    "i": _vowel(280, 2250, 2950), "ɪ": _vowel(400, 1950, 2550, 0.08), "e": _vowel(440, 2050, 2600),
    "ɛ": _vowel(560, 1800, 2500), "æ": _vowel(690, 1680, 2430, 0.13), "a": _vowel(760, 1300, 2500, 0.12),
    "ɑ": _vowel(720, 1120, 2470, 0.13), "ɔ": _vowel(570, 880, 2430, 0.12), "o": _vowel(450, 830, 2400),
    "ʊ": _vowel(440, 1050, 2280, 0.08), "u": _vowel(310, 850, 2250), "ʌ": _vowel(640, 1200, 2450, 0.09),
    "ə": _vowel(500, 1450, 2480, 0.06), "ɝ": _vowel(480, 1350, 1720, 0.11), "y": _vowel(290, 1850, 2250),
    "ø": _vowel(400, 1550, 2250), "m": _sonorant(260, 1050, 2200, 0.42, 0.9),
    "n": _sonorant(280, 1600, 2550, 0.42, 0.7), "ŋ": _sonorant(280, 2050, 2650, 0.40, 0.6),
    "l": _sonorant(370, 1200, 2650, 0.60), "ɹ": _sonorant(330, 1150, 1620, 0.60),
    "w": _sonorant(300, 650, 2200, 0.55), "j": _sonorant(270, 2200, 2950, 0.55),
    "r": _sonorant(400, 1350, 2400, 0.40), "p": _stop((280, 800, 2100), 900, 900, False),
    "b": _stop((250, 850, 2150), 900, 900, True), "t": _stop((300, 1750, 2650), 4300, 1600, False),
    "d": _stop((260, 1700, 2600), 3900, 1600, True), "k": _stop((300, 2000, 2450), 2100, 900, False),
    "ɡ": _stop((260, 1950, 2400), 1900, 800, True), "f": _fricative((300, 1000, 2200), 6000, 3500, 0.14),
    "v": _fricative((260, 1000, 2200), 5500, 3000, 0.06, 0.35),
    "θ": _fricative((300, 1400, 2550), 6300, 2800, 0.12),
    "ð": _fricative((280, 1400, 2550), 5800, 2600, 0.05, 0.40),
    "s": _fricative((300, 1700, 2600), 6300, 1300, 0.42),
    "z": _fricative((260, 1700, 2600), 6100, 1300, 0.24, 0.32),
    "ʃ": _fricative((300, 1850, 2450), 3400, 1100, 0.42),
    "ʒ": _fricative((260, 1850, 2450), 3200, 1100, 0.24, 0.32),
    "x": _fricative((320, 1500, 2400), 1800, 900, 0.18),
    "h": Phone((500, 1500, 2500), 0.0, 0.06, aspiration=0.35),
}  # fmt: skip
VOWEL_NAMES = tuple(p for p in PHONES if p in VOWELS)
DIPHTHONGS = (("a", "ɪ"), ("a", "ʊ"), ("ɔ", "ɪ"), ("e", "ɪ"), ("o", "ʊ"))
ONSETS = tuple("mnpbtdkɡfvθðszʃʒxhlɹwjr") + (
    "pɹ",
    "bl",
    "tɹ",
    "dɹ",
    "kl",
    "kw",
    "fl",
    "st",
    "sp",
    "sk",
    "sm",
    "sl",
    "tʃ",
    "dʒ",
    "ts",
)
CODAS = tuple("mnŋptkfsʃlɹzdv") + ("nt", "st", "mp", "ks", "ld")


@dataclass(frozen=True, slots=True)
class FormantVoice:
    """A speaker: pitch (Hz), its range (0 to 1), tract (formant scale: 1 man, 1.18 woman, 1.35 child),
    breathiness (0 to 1), tilt (dB per octave beyond the natural one), rate (1 mean), vibrato depth when
    singing, sings.
    """

    seed: int
    pitch_hz: float
    pitch_range: float
    tract: float
    breathiness: float
    tilt_db: float
    rate: float
    sings: bool

    @staticmethod
    def from_seed(seed: int, singing_share: float = 0.1) -> FormantVoice:
        """Draws a speaker; the same seed is the same voice for ever."""
        rng = np.random.default_rng((81, seed))
        tract = rng.uniform(0.92, 1.30)
        pitch = 105 * (tract / 0.95) ** 2.4 * np.exp(rng.normal(0, 0.16))
        return FormantVoice(
            seed, float(np.clip(pitch, 75, 330)), rng.uniform(0.4, 1.2), tract, rng.uniform(0, 1) ** 2 * 0.7,
            rng.uniform(-3, 3), rng.uniform(0.8, 1.3), bool(rng.random() < singing_share),
        )  # fmt: skip


def speak_phrase(voice: FormantVoice, rng: np.random.Generator) -> tuple[np.ndarray, list[Phoneme]]:
    """One phrase of invented words: audio float32 (N,) at AUDIO_HZ, and its phonemes with times from the
    start of the audio.
    """
    phonemes: list[Phoneme] = []
    num_words = int(rng.integers(2, 8))
    at = 0.01
    for word in range(num_words):
        num_syllables = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.35, 0.18, 0.07]))
        stressed = int(rng.integers(num_syllables))
        for syllable in range(num_syllables):
            last = word == num_words - 1 and syllable == num_syllables - 1
            stress = 2 if syllable == stressed else 0
            for symbol in _syllable(rng):
                duration = _duration(symbol, stress, last, voice, rng)
                phonemes.append(Phoneme(symbol, at, at + duration, stress if symbol in VOWELS else 0))
                at += duration
        if rng.random() < 0.12 and word < num_words - 1:
            pause = rng.uniform(0.06, 0.2)
            phonemes.append(Phoneme(SILENCE, at, at + pause))
            at += pause
    phonemes.append(Phoneme(SILENCE, at, at + 0.05))
    return _render(phonemes, voice, rng), phonemes


def _syllable(rng: np.random.Generator) -> list[str]:
    onset = str(rng.choice(ONSETS)) if rng.random() < 0.88 else ""
    nucleus = (
        DIPHTHONGS[rng.integers(len(DIPHTHONGS))] if rng.random() < 0.15 else (str(rng.choice(VOWEL_NAMES)),)
    )
    coda = str(rng.choice(CODAS)) if rng.random() < 0.32 else ""
    return [*onset, *nucleus, *coda]


def _duration(symbol: str, stress: int, last: bool, voice: FormantVoice, rng: np.random.Generator) -> float:
    duration = PHONES[symbol].duration_s * rng.uniform(0.75, 1.35) / voice.rate
    if symbol in VOWELS:
        duration *= (1.45 if stress else 0.85) * (1.4 if last else 1.0)
        if voice.sings:
            duration *= rng.uniform(1.5, 5.0)
    return max(duration, 0.03)


def _render(phonemes: list[Phoneme], voice: FormantVoice, rng: np.random.Generator) -> np.ndarray:
    num = round(phonemes[-1].end_s * AUDIO_HZ)
    num_frames = num // HOP + 1
    controls = _controls(phonemes, num_frames, voice, rng)
    pitch = _pitch(phonemes, num, voice, rng)
    frequency = np.fft.rfftfreq(FFT, 1 / AUDIO_HZ)
    tract = _tract(controls, frequency, voice)
    band = np.exp(
        -0.5 * ((frequency - controls["centre"][:, None]) / controls["width"][:, None].clip(50)) ** 2
    )
    noise = rng.standard_normal(num)
    voiced = _frames(_pulses(pitch, rng)) * (tract * controls["voicing"][:, None])
    breath = _frames(noise) * (
        tract * controls["aspiration"][:, None] + band * controls["frication"][:, None]
    )
    return _overlap_add(voiced + breath, num).astype(np.float32)


def _controls(
    phonemes: list[Phoneme], num: int, voice: FormantVoice, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Smoothed control tracks (num,) or (num, 3) at 5 ms: formants glide over about 50 ms, levels over 20."""
    held = np.zeros((num, 9))
    held[:, :3] = PHONES[SILENCE].formants
    emphasis = {p.start_s: rng.uniform(0.8, 1.15) * (1.2 if p.stress else 0.9) for p in phonemes}
    for phoneme in phonemes:
        phone = PHONES[phoneme.symbol]
        start, end = (round(t * AUDIO_HZ / HOP) for t in (phoneme.start_s, phoneme.end_s))
        level = emphasis[phoneme.start_s] if phoneme.symbol in VOWELS else 1.0
        row = (
            *phone.formants,
            phone.voicing * level,
            phone.aspiration,
            phone.frication,
            phone.centre_hz,
            phone.width_hz,
            phone.nasal,
        )
        held[start:end] = row
        if phone.stop:
            release = end - max(round((end - start) * 0.38), 2)
            held[start:release, 4:6] = 0.0
            held[release + 2 : end, 5] *= 0.25
    # The band of a fricative reaches over its edges, or the smoothed level would fade through a band at 0 Hz.
    for column, empty in ((6, 2500.0), (7, 1500.0)):
        held[held[:, column] == 0, column] = empty
    smooth = [_smooth(held[:, column], 11 if column < 3 or column == 8 else 5) for column in range(9)]
    flutter = 1 + 0.02 * _smooth(rng.standard_normal(num), 41) * 6
    return {
        "formants": np.stack(smooth[:3], axis=1) * voice.tract * flutter[:, None],
        "voicing": smooth[3],
        "aspiration": smooth[4] + 0.12 * voice.breathiness * smooth[3],
        "frication": smooth[5],
        "centre": np.asarray(smooth[6]) * (1 + 0.25 * (voice.tract - 1)),
        "width": smooth[7],
        "nasal": smooth[8],
    }


def _smooth(track: np.ndarray, width: int) -> np.ndarray:
    kernel = np.hanning(width + 2)[1:-1]
    return np.convolve(np.pad(track, width // 2, mode="edge"), kernel / kernel.sum(), "valid")


def _tract(controls: dict[str, np.ndarray], frequency: np.ndarray, voice: FormantVoice) -> np.ndarray:
    """Magnitude (frames, bins) of the vocal tract: five resonances, glottal tilt, damping by an open nose."""
    formants, nasal = controls["formants"], controls["nasal"][:, None]
    centres = np.concatenate([formants, np.full((len(formants), 2), (3500.0, 4500.0)) * voice.tract], axis=1)
    spectrum = np.ones((len(formants), len(frequency)))
    for index, width in enumerate((70, 95, 140, 220, 300)):
        bandwidth = width * (1 + 0.5 * voice.breathiness + 1.2 * nasal)
        # A resonance falls off above its centre; in a real tube all the higher ones make good for it. Here
        # that is what the same resonance of a neutral tube, heavily damped, falls off.
        neutral = _resonance(500.0 * (2 * index + 1) * voice.tract, 700.0, frequency)
        spectrum = spectrum * _resonance(centres[:, index : index + 1], bandwidth, frequency) / neutral
    octaves = np.log2(np.maximum(frequency, 60) / 250).clip(min=0)
    spectrum = spectrum * 10 ** ((-8 + voice.tilt_db) * octaves / 20) * (1 - np.exp(-frequency / 90))
    spectrum = spectrum * (1 - 0.6 * nasal * np.exp(-(((frequency - 900 * voice.tract) / 350) ** 2)))
    # Close vowels are softer than open ones, but not by as much as the bare resonances say: speakers
    # compensate.
    return spectrum / np.sqrt((spectrum**2).mean(axis=1, keepdims=True)) ** 0.7


def _resonance(
    centre: np.ndarray | float, bandwidth: np.ndarray | float, frequency: np.ndarray
) -> np.ndarray:
    return centre**2 / np.sqrt((centre**2 - frequency**2) ** 2 + (bandwidth * frequency) ** 2)


def _pitch(phonemes: list[Phoneme], num: int, voice: FormantVoice, rng: np.random.Generator) -> np.ndarray:
    """Pitch in Hz per sample: declination, rises on stressed vowels, a final fall or rise; held notes when
    singing.
    """
    t = np.arange(num) / AUDIO_HZ
    length = t[-1] + 1e-3
    if voice.sings:
        semitones, note = np.zeros(num), 0.0
        for phoneme in (p for p in phonemes if p.symbol in VOWELS):
            note = float(np.clip(note + rng.integers(-4, 5), -7, 9))
            semitones[t >= phoneme.start_s - 0.04] = note
        step = round(0.04 * AUDIO_HZ)
        semitones = np.convolve(np.pad(semitones, step // 2, mode="edge"), np.full(step, 1 / step), "valid")[
            :num
        ]
        return voice.pitch_hz * 2 ** ((semitones + 0.35 * np.sin(2 * np.pi * 5.4 * t)) / 12)
    log2 = 0.22 * voice.pitch_range * (0.5 - t / length)
    for phoneme in (p for p in phonemes if p.stress):
        centre, width = (phoneme.start_s + phoneme.end_s) / 2, 0.09
        log2 = log2 + voice.pitch_range * rng.uniform(0.02, 0.35) * np.exp(-(((t - centre) / width) ** 2))
    final = rng.choice([-0.25, -0.12, 0.35], p=[0.5, 0.25, 0.25]) * voice.pitch_range
    log2 = (
        log2
        + final * np.exp(-(((t - length) / 0.18) ** 2))
        + 0.01 * np.sin(2 * np.pi * 4.3 * t + rng.uniform(0, 6))
    )
    return voice.pitch_hz * 2**log2


def _pulses(pitch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Glottal pulses of unit mean power, placed between samples, with a little shimmer and jitter."""
    phase = np.cumsum(pitch / AUDIO_HZ)
    marks = np.flatnonzero(np.diff(np.floor(phase)) > 0)
    offset = (np.floor(phase[marks + 1]) - phase[marks]) / (phase[marks + 1] - phase[marks])
    offset = np.clip(offset + rng.normal(0, 0.15, len(marks)), 0, 1)
    height = np.sqrt(AUDIO_HZ / pitch[marks]) * (1 + 0.04 * rng.standard_normal(len(marks)))
    pulses = np.zeros(len(pitch))
    np.add.at(pulses, marks, height * (1 - offset))
    np.add.at(pulses, marks + 1, height * offset)
    return pulses


def _frames(signal: np.ndarray) -> np.ndarray:
    """Spectra (frames, bins) of Hann windows centred on the control frames."""
    padded = np.pad(signal, (WINDOW // 2, WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(signal) // HOP + 1]
    return np.fft.rfft(windows * np.hanning(WINDOW + 1)[:-1], FFT)


def _overlap_add(spectra: np.ndarray, num: int) -> np.ndarray:
    pieces = np.fft.fftshift(np.fft.irfft(spectra * _centred_phase(), FFT), axes=1)
    out = np.zeros(len(spectra) * HOP + FFT)
    for index, piece in enumerate(pieces):
        out[index * HOP : index * HOP + FFT] += piece
    return out[FFT // 2 : FFT // 2 + num] * (2 * HOP / WINDOW)


def _centred_phase() -> np.ndarray:
    """Moves a window's centre to time zero, so that zero-phase filters ring to both sides without wrapping
    around.
    """
    return np.exp(2j * np.pi * np.fft.rfftfreq(FFT) * (WINDOW // 2))
