"""What mouths do for each sound: phonemes with times, and lip and jaw targets for every IPA symbol the
synthesisers speak.

The table is written by hand from articulatory phonetics (vowel height opens the jaw, rounding pushes the lips
forward, labials close them); a consonant that the lips play no part in has little weight and takes its
neighbours' shape. It serves the formant synthesiser and espeak alike, so that both teach the same relation
between sound and mouth.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

SILENCE = "_"
STRESS_MARKS = {"ˈ": 2, "ˌ": 1}
# Marks of length, secondary articulation and espeak's own notation: they leave the lips where they are.
MODIFIERS = set("ːˑʰʲʷˠˤʱᵝˀʼ˞ʴᵊⁿ͡‿.-|'\"^;:~0123456789 \u200d")


@dataclass(frozen=True, slots=True)
class Phoneme:
    """One sound: IPA ``symbol`` (SILENCE for a pause), start and end in seconds, stress 0 none, 1 secondary,
    2 primary.
    """

    symbol: str
    start_s: float
    end_s: float
    stress: int = 0


@dataclass(frozen=True, slots=True)
class Viseme:
    """Targets in units of records.CONTROL_NAMES and how firmly each is held against the neighbours (weights,
    0 indifferent).
    """

    jaw: float
    lip_width: float
    lip_pucker: float
    lip_press: float
    jaw_weight: float
    lip_weight: float
    press_weight: float


def _vowel(jaw: float, width: float, pucker: float) -> Viseme:
    return Viseme(jaw, width, pucker, 0.0, 1.0, 1.0, 1.0)


def _consonant(
    jaw: float,
    width: float = 0.0,
    pucker: float = 0.0,
    press: float = 0.0,
    weights: tuple[float, float, float] = (1.0, 0.3, 1.0),
) -> Viseme:
    return Viseme(jaw, width, pucker, press, *weights)


_BILABIAL = _consonant(0.02, press=1.0, weights=(2.0, 0.3, 3.0))
_LABIODENTAL = _consonant(0.10, width=0.1, press=0.5, weights=(1.6, 0.5, 2.2))
_BILABIAL_FRICATIVE = _consonant(0.10, pucker=0.2, press=0.3, weights=(1.2, 0.6, 1.5))
_DENTAL = _consonant(0.20, width=0.1)
_ALVEOLAR_STOP = _consonant(0.18, width=0.1)
_SIBILANT = _consonant(0.09, width=0.3, weights=(1.7, 0.4, 1.0))
_LIQUID = _consonant(0.26, weights=(0.8, 0.25, 1.0))
_POSTALVEOLAR = _consonant(0.12, width=-0.3, pucker=0.55, weights=(1.6, 1.0, 1.0))
_ALVEOLOPALATAL = _consonant(0.12, width=0.15, pucker=0.15, weights=(1.5, 0.6, 1.0))
_RHOTIC = _consonant(0.22, width=-0.2, pucker=0.4, weights=(0.8, 0.7, 1.0))
_PALATAL = _consonant(0.20, width=0.35, weights=(0.9, 0.5, 1.0))
_VELAR = _consonant(0.28, weights=(0.5, 0.1, 1.0))
_UVULAR = _consonant(0.35, weights=(0.4, 0.1, 1.0))
_GLOTTAL = _consonant(0.35, weights=(0.12, 0.04, 1.0))
_LABIOVELAR = _consonant(0.14, width=-0.8, pucker=0.95, weights=(1.2, 1.6, 1.0))
_ROUNDED_GLIDE = _consonant(0.16, width=-0.6, pucker=0.8, weights=(1.2, 1.4, 1.0))
_REST = Viseme(0.0, 0.0, 0.0, 0.0, 0.8, 0.6, 0.8)

VISEMES: dict[str, Viseme] = {
    SILENCE: _REST,
    # close to open; unrounded and rounded
    "i": _vowel(0.26, 0.65, 0.0),
    "y": _vowel(0.26, -0.50, 0.75),
    "ɨ": _vowel(0.29, 0.25, 0.0),
    "ʉ": _vowel(0.27, -0.45, 0.60),
    "ɯ": _vowel(0.29, 0.20, 0.10),
    "u": _vowel(0.27, -0.70, 0.90),
    "ɪ": _vowel(0.34, 0.40, 0.0),
    "ʏ": _vowel(0.34, -0.40, 0.60),
    "ʊ": _vowel(0.34, -0.45, 0.60),
    "ᵿ": _vowel(0.34, -0.35, 0.45),
    "ᵻ": _vowel(0.32, 0.25, 0.0),
    "e": _vowel(0.43, 0.50, 0.0),
    "ø": _vowel(0.41, -0.40, 0.65),
    "ɘ": _vowel(0.40, 0.15, 0.0),
    "ɵ": _vowel(0.40, -0.30, 0.45),
    "ɤ": _vowel(0.45, 0.05, 0.0),
    "o": _vowel(0.47, -0.55, 0.70),
    "ə": _vowel(0.42, 0.0, 0.0),
    "ɚ": _vowel(0.42, -0.15, 0.25),
    "ɛ": _vowel(0.56, 0.40, 0.0),
    "œ": _vowel(0.54, -0.30, 0.50),
    "ɜ": _vowel(0.48, 0.0, 0.10),
    "ɝ": _vowel(0.42, -0.15, 0.25),
    "ɞ": _vowel(0.50, -0.25, 0.35),
    "ʌ": _vowel(0.60, 0.05, 0.0),
    "ɔ": _vowel(0.64, -0.40, 0.50),
    "æ": _vowel(0.76, 0.40, 0.0),
    "ɐ": _vowel(0.66, 0.10, 0.0),
    "a": _vowel(0.86, 0.20, 0.0),
    "ɶ": _vowel(0.80, -0.20, 0.30),
    "ɑ": _vowel(0.90, 0.0, 0.0),
    "ɒ": _vowel(0.80, -0.30, 0.35),
    **dict.fromkeys("pbmɓ", _BILABIAL),
    **dict.fromkeys("fvʋɱ", _LABIODENTAL),
    **dict.fromkeys("ɸβ", _BILABIAL_FRICATIVE),
    **dict.fromkeys("θð", _DENTAL),
    **dict.fromkeys("tdnʈɖɳɗ", _ALVEOLAR_STOP),
    **dict.fromkeys("sz", _SIBILANT),
    **dict.fromkeys("lrɾɭɫɬɮɽɺ", _LIQUID),
    **dict.fromkeys("ʃʒʂʐ", _POSTALVEOLAR),
    **dict.fromkeys("ɕʑ", _ALVEOLOPALATAL),
    **dict.fromkeys("ɹɻ", _RHOTIC),
    **dict.fromkeys("jçʝɲʎcɟ", _PALATAL),
    **dict.fromkeys("kɡgŋxɣɰɠ", _VELAR),
    **dict.fromkeys("qɢχʁʀɴħʕ", _UVULAR),
    **dict.fromkeys("hɦʔ", _GLOTTAL),
    **dict.fromkeys("wʍ", _LABIOVELAR),
    "ɥ": _ROUNDED_GLIDE,
}
VOWELS = frozenset("iyɨʉɯuɪʏʊᵿᵻeøɘɵɤoəɚɛœɜɝɞʌɔæɐaɶɑɒ")


def split_ipa(text: str) -> tuple[list[str], int]:
    """Takes one phoneme event's IPA apart: its symbols of VISEMES in order ("aɪ" is two) and its stress.

    Raises: ValueError on a symbol the table does not know.
    """
    symbols, stress = [], 0
    for character in text:
        if character in STRESS_MARKS:
            stress = STRESS_MARKS[character]
        elif character in MODIFIERS or unicodedata.combining(character):
            continue
        elif character in VISEMES:
            symbols.append(character)
        else:
            base = unicodedata.normalize("NFD", character)[0]
            if base not in VISEMES:
                code = f"U+{ord(character):04X}"
                raise ValueError(
                    f"IPA symbol {character!r} ({code}) of {text!r} has no viseme; add it to VISEMES."
                )
            symbols.append(base)
    return symbols, stress


def spread(text: str, start_s: float, end_s: float) -> list[Phoneme]:
    """One phoneme event to single symbols in time: vowels share it equally, a consonant beside a vowel takes
    40 % of its share.
    """
    symbols, stress = split_ipa(text)
    if not symbols:
        return [Phoneme(SILENCE, start_s, end_s)]
    shares = [1.0 if symbol in VOWELS else 0.4 for symbol in symbols]
    unit = (end_s - start_s) / sum(shares)
    phonemes, at = [], start_s
    for symbol, share in zip(symbols, shares, strict=True):
        phonemes.append(Phoneme(symbol, at, at + share * unit, stress if symbol in VOWELS else 0))
        at += share * unit
    return phonemes
