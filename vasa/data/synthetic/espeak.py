"""espeak-ng as a voice for training clips: text in many languages to audio with the time of every phoneme.

espeak-ng is GPL-3.0: a library that runs in a process of its own (espeak_worker.py), only where somebody
installed the training extra. Its synthesiser keeps hidden state between sentences (phases, noise, pitch
flutter), so every clip gets a fresh process and its noise is seeded; then the same request gives the same
samples, bit by bit.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np
from scipy.signal import resample_poly

from vasa.data.synthetic.phonemes import Phoneme, spread
from vasa.data.synthetic.sentences import LANGUAGES
from vasa.records import AUDIO_HZ

LIBRARY_HZ = 22_050
MISSING = (
    "espeak-ng is not installed: install the training extra (pip install -e '.[train]') or set "
    "espeak_share=0 to train on the built-in formant voices alone."
)
_TRAIN = (
    "m1 m2 m3 m4 m5 m6 f1 f2 f3 klatt klatt2 klatt3 klatt4 adam anika linda steph john max michael edward "
    "belinda Annie Alicia Andrea Gene Lee Marco pablo quincy rob victor zac boris david ed Denis Diogo "
    "Henrique Hugo Jacky"
)
VARIANTS = {
    "train": tuple(_TRAIN.split()),
    "validation": ("m7", "f4", "klatt5", "ian", "robert", "steph2", "Gene2"),
    "test": ("m8", "f5", "klatt6", "travis", "benjamin", "steph3", "Andy"),
}
"""Speaker variants of the library, no two splits sharing one."""
# The library reports a voiceless stop at its release. The closure, where lips meet, lies before: 45 ms of
# silence in the sound of every such stop (averaged over 120 clips; all other sounds begin where their events
# say).
VOICELESS_STOPS, CLOSURE_S = "ptkcqʈ", 0.045

CRASHES_BORNE = 4
"""Fresh starts over one sentence before it is given up."""
_PARAMETER_RATE, _PARAMETER_PITCH, _PARAMETER_RANGE = 1, 3, 4
_WORKER = Path(__file__).with_name("espeak_worker.py")


@dataclass(frozen=True, slots=True)
class EspeakVoice:
    """A speaker: espeak language and variant, rate (words a minute), pitch and its range (0 to 99), and
    ``warp``, by which the finished sound is played faster (> 1: shorter vocal tract, higher pitch; the
    phonemes' times go with it).
    """

    seed: int
    language: str
    variant: str
    rate: int
    pitch: int
    pitch_range: int
    warp: float

    @staticmethod
    def from_seed(seed: int, split: str, languages: tuple[str, ...] = LANGUAGES) -> EspeakVoice:
        """Draws a speaker from the split's variants; the same seed, split and languages are the same voice
        for ever.
        """
        rng = np.random.default_rng((82, seed))
        language = languages[int(rng.integers(len(languages)))]
        variant = VARIANTS[split][int(rng.integers(len(VARIANTS[split])))]
        rate, pitch, spread_ = (
            int(rng.integers(120, 215)),
            int(rng.integers(25, 80)),
            int(rng.integers(25, 90)),
        )
        return EspeakVoice(seed, language, variant, rate, pitch, spread_, float(rng.uniform(0.88, 1.14)))


def installed() -> bool:
    """Whether the training extra is here."""
    try:
        import espeakng_loader  # noqa: F401
    except ImportError:
        return False
    return True


class EspeakSession:
    """The library in a fresh process: ``with EspeakSession(voice) as session: session.speak(text)``.

    What a session says depends on nothing but its voice and the texts in order. Where a sentence crashes the
    library (some do), a fresh process speaks it again, and on, with less melody (extreme pitch is what
    crashes).

    Raises: ImportError without the training extra; ValueError for a voice that the library does not have;
    OSError when the library does not start, or keeps crashing over one sentence.
    """

    def __init__(self, voice: EspeakVoice) -> None:
        self.voice = voice
        self._process: subprocess.Popen[bytes] | None = None
        self._crashes = 0

    def __enter__(self) -> EspeakSession:
        self._start()
        return self

    def _start(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise ImportError(MISSING) from error
        voice = self.voice
        request = {
            "library": str(espeakng_loader.get_library_path()),
            "data": str(espeakng_loader.get_data_path()),
            "voice": f"{voice.language}+{voice.variant}",
            "seed": voice.seed % 2**31,
            "parameters": [
                (_PARAMETER_RATE, voice.rate),
                (_PARAMETER_PITCH, voice.pitch),
                (_PARAMETER_RANGE, round(voice.pitch_range * 0.7**self._crashes)),
            ],
        }
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WORKER), json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        first = self._answer()
        if first is None or first["rate"] != LIBRARY_HZ:
            self._stop()
            raise OSError(f"espeak-ng at {request['library']} did not start; reinstall espeakng-loader.")
        if not first["voice"]:
            self._stop()
            raise ValueError(
                f"espeak-ng has no voice {request['voice']!r}; wanted {', '.join(LANGUAGES)} and a variant."
            )

    def _answer(self) -> dict | None:
        """The worker's next line, None when it has ended."""
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def _stop(self) -> None:
        if self._process is None:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()
        self._process = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def speak(self, text: str) -> tuple[np.ndarray, list[Phoneme]]:
        """One sentence: audio float32 (N,) at AUDIO_HZ and its phonemes with times from the start of that
        audio.
        """
        said = self._said(text)
        for _ in range(CRASHES_BORNE):
            if said is not None:
                break
            self._stop()
            self._crashes += 1
            self._start()
            said = self._said(text)
        if said is None:
            raise OSError(f"espeak-ng crashes over {text!r} in {self.voice}; leave this voice out.")
        sound, events = said
        if not sound:
            raise ValueError(f"espeak-ng said nothing for {text!r} in {self.voice.language}.")
        audio = np.frombuffer(sound, np.int16).astype(np.float32) / 32768
        # AUDIO_HZ / LIBRARY_HZ is 320 / 441; the warp is rounded to what that ratio can say.
        down = round(441 * self.voice.warp)
        audio = resample_poly(audio, 320, down).astype(np.float32)
        return audio, _to_phonemes(events, len(audio) / AUDIO_HZ, 441 / down)

    def _said(self, text: str) -> tuple[bytes, list[tuple[int, str]]] | None:
        """Samples and phoneme events of a text; None when the library crashed over it."""
        assert (
            self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        )
        try:
            self._process.stdin.write(json.dumps(text).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        answer = self._answer()
        if answer is None:
            return None
        return self._process.stdout.read(answer["bytes"]), [(ms, ipa) for ms, ipa in answer["events"]]


def _to_phonemes(events: list[tuple[int, str]], seconds: float, scale: float) -> list[Phoneme]:
    starts = [ms / 1000 * scale for ms, _ in events] + [seconds]
    for index, (_, ipa) in enumerate(events):
        if ipa.lstrip("ˈˌ")[:1] in tuple(VOICELESS_STOPS):
            before = starts[index - 1] if index else 0.0
            starts[index] -= min(CLOSURE_S * scale, (starts[index] - before) / 2)
    phonemes: list[Phoneme] = []
    for (_, ipa), (start, end) in zip(events, pairwise(starts), strict=True):
        # A mark of its own after a consonant (the palatalisation of Russian) is part of what came before.
        if ipa and end > start:
            phonemes.extend(spread(ipa, start, end))
    return phonemes
