"""Speech for synthetic clips: phrases and pauses of one voice on a timeline, with the mouth, loudness and
accents of every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from vasa.data.config import SpokenConfig, check_split
from vasa.data.synthetic import espeak, formants
from vasa.data.synthetic.augment import augment as augment
from vasa.data.synthetic.phonemes import SILENCE, Phoneme
from vasa.data.synthetic.sentences import LANGUAGES, sentence
from vasa.data.synthetic.visemes import TRACK_HZ, loudness_db, viseme_track
from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME, VIDEO_FPS

Voice = formants.FormantVoice | espeak.EspeakVoice
ACTIVE_LEVEL = 0.09
"""Active amplitude (see visemes.loudness_db) that a phrase is brought to before its own gain: about -21 dB of
full scale.
"""
ACCENT_GAP_S = 0.45


@dataclass(frozen=True, slots=True)
class Accent:
    """A stressed syllable that stands out: time in seconds, strength 0 to 1."""

    time_s: float
    strength: float


@dataclass(slots=True)
class Speech:
    """One voice speaking for T frames.

    audio: float32 (T * SAMPLES_PER_FRAME,), clean. visemes: float32 (T, 4), columns visemes.VISEME_NAMES.
    loudness: float32 (T,), 0 silence to about 1 emphatic. speaking: bool (T,), within a phrase. phonemes: in
    order, pauses left out. accents: in order. engine: "formant", "espeak" or "silence". language: espeak's
    name, or "" for invented words.
    """

    audio: np.ndarray
    visemes: np.ndarray
    loudness: np.ndarray
    speaking: np.ndarray
    phonemes: tuple[Phoneme, ...]
    accents: tuple[Accent, ...]
    engine: str
    language: str

    @property
    def num_frames(self) -> int:
        return len(self.visemes)


def voice_from_seed(seed: int, split: str = "train", config: SpokenConfig | None = None) -> Voice:
    """The voice of a seed: espeak for ``espeak_share`` of seeds, with the split's own speaker variants, else
    a formant voice.

    Raises: ImportError where espeak is wanted and the training extra is missing; ValueError for an unknown
    language.
    """
    check_split(split)
    config = config or SpokenConfig()
    languages = tuple(config.languages) or LANGUAGES
    if unknown := [name for name in languages if name not in LANGUAGES]:
        raise ValueError(f"no words for the language {unknown[0]!r}; wanted some of {', '.join(LANGUAGES)}.")
    if config.espeak_share > 0 and not espeak.installed():
        raise ImportError(espeak.MISSING)
    if np.random.default_rng((80, seed)).random() < config.espeak_share:
        return espeak.EspeakVoice.from_seed(seed, split, languages)
    return formants.FormantVoice.from_seed(seed, config.singing_share)


def synthesise(seed: int, seconds: float, voice: Voice) -> Speech:
    """What ``voice`` says: phrases with pauses between them, ``seconds`` long (rounded to whole frames). A
    pure function.
    """
    num_frames = max(1, round(seconds * VIDEO_FPS))
    num = num_frames * SAMPLES_PER_FRAME
    rng = np.random.default_rng((83, seed))
    audio, phonemes = np.zeros(num, np.float32), []
    speaking = np.zeros(num_frames, bool)
    at = rng.uniform(0.1, 0.8)
    with _speaker(voice) as speak:
        while at < num / AUDIO_HZ - 0.15:
            phrase, spoken = speak(rng)
            start = round(at * AUDIO_HZ)
            piece = _levelled(phrase, rng)[: num - start]
            audio[start : start + len(piece)] += piece
            phonemes += _placed(spoken, start / AUDIO_HZ, num / AUDIO_HZ)
            end = start / AUDIO_HZ + len(phrase) / AUDIO_HZ
            speaking[int(at * VIDEO_FPS) : int(end * VIDEO_FPS) + 1] = True
            at = end + (rng.uniform(1.2, 2.8) if rng.random() < 0.15 else rng.uniform(0.1, 0.7))
    accents = _accents(phonemes, audio)
    audio = np.clip(_emphasised(audio, accents), -0.99, 0.99)
    return _finish(audio, phonemes, accents, speaking, voice, rng)


def silence(seconds: float) -> Speech:
    """Nobody speaks for ``seconds``: zeros, a closed mouth."""
    num_frames = max(1, round(seconds * VIDEO_FPS))
    zeros = np.zeros(num_frames, np.float32)
    audio = np.zeros(num_frames * SAMPLES_PER_FRAME, np.float32)
    return Speech(
        audio, np.zeros((num_frames, 4), np.float32), zeros, zeros.astype(bool), (), (), "silence", ""
    )


def _finish(
    audio: np.ndarray,
    phonemes: list[Phoneme],
    accents: tuple[Accent, ...],
    speaking: np.ndarray,
    voice: Voice,
    rng: np.random.Generator,
) -> Speech:
    # How widely a person articulates cannot be heard, so it varies little: a model is not asked to guess.
    visemes = viseme_track(phonemes, audio, articulation=rng.uniform(0.92, 1.08))
    level = loudness_db(audio).reshape(len(visemes), -1).mean(axis=1)
    loudness = np.clip(1 + level / 40, 0, 1.5).astype(np.float32)
    engine, language = (
        ("espeak", voice.language) if isinstance(voice, espeak.EspeakVoice) else ("formant", "")
    )
    return Speech(
        audio.astype(np.float32), visemes, loudness, speaking, tuple(phonemes), accents, engine, language
    )


@contextmanager
def _speaker(voice: Voice) -> Iterator[Callable[[np.random.Generator], tuple[np.ndarray, list[Phoneme]]]]:
    """A function that speaks the next phrase."""
    if isinstance(voice, formants.FormantVoice):
        yield lambda rng: formants.speak_phrase(voice, rng)
        return
    with espeak.EspeakSession(voice) as session:
        yield lambda rng: session.speak(sentence(voice.language, rng))


def _levelled(phrase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A phrase at the common level, 0 to 6 dB softer."""
    amplitude = np.abs(phrase)
    active = (phrase**2).sum() / max(amplitude.sum(), 1e-9)
    return phrase * (1.5 * ACTIVE_LEVEL / max(active, 1e-6) * 10 ** (-rng.uniform(0, 6) / 20))


def _placed(phonemes: list[Phoneme], offset_s: float, end_s: float) -> list[Phoneme]:
    """Sounds moved to the clip's time, without pauses and without what falls after its end."""
    moved = (
        Phoneme(p.symbol, p.start_s + offset_s, min(p.end_s + offset_s, end_s), p.stress) for p in phonemes
    )
    return [p for p in moved if p.symbol != SILENCE and p.start_s < end_s]


def _accents(phonemes: list[Phoneme], audio: np.ndarray) -> tuple[Accent, ...]:
    """The loudest stressed vowels, at least ACCENT_GAP_S apart, with strength by loudness and length."""
    level = loudness_db(audio)
    candidates = []
    for phoneme in phonemes:
        if phoneme.stress == 2 and phoneme.end_s - phoneme.start_s > 0.03:
            middle = (phoneme.start_s + phoneme.end_s) / 2
            loud = 1 + level[min(int(middle * TRACK_HZ), len(level) - 1)] / 20
            length = min((phoneme.end_s - phoneme.start_s) / 0.2, 1.0)
            candidates.append(Accent(middle, float(np.clip(0.6 * loud + 0.4 * length, 0, 1))))
    chosen: list[Accent] = []
    for accent in sorted(candidates, key=lambda a: (-a.strength, a.time_s)):
        if all(abs(accent.time_s - other.time_s) >= ACCENT_GAP_S for other in chosen):
            chosen.append(accent)
    return tuple(sorted(chosen, key=lambda a: a.time_s))


def _emphasised(audio: np.ndarray, accents: tuple[Accent, ...]) -> np.ndarray:
    """Accents made up to 4 dB louder for about a quarter of a second."""
    t = np.arange(len(audio)) / AUDIO_HZ
    gain_db = np.zeros(len(audio))
    for accent in accents:
        near = slice(max(int((accent.time_s - 0.4) * AUDIO_HZ), 0), int((accent.time_s + 0.4) * AUDIO_HZ))
        gain_db[near] += 4 * accent.strength * np.exp(-(((t[near] - accent.time_s) / 0.12) ** 2))
    return audio * 10 ** (gain_db / 20)
