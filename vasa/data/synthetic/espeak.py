"""espeak-ng as a voice for training clips: text in many languages to audio with the time of every phoneme.

espeak-ng is GPL-3.0: it is a separate library that only this module opens, only inside ``EspeakSession``, and
only where somebody installed the training extra. Its synthesiser keeps hidden state between sentences
(phases, noise, pitch flutter), so the library is opened fresh for each clip and its noise is seeded; then the
same request gives the same samples, bit by bit.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
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

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_PHONEME_EVENTS, _PHONEME_IPA, _DONT_EXIT = 1, 2, 0x8000
_PARAMETER_RATE, _PARAMETER_PITCH, _PARAMETER_RANGE = 1, 3, 4
_EVENT_END, _EVENT_PHONEME = 0, 7
_TEXT_UTF8 = 1


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


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
    """The library, opened fresh: ``with EspeakSession(voice) as session: audio, phonemes =
    session.speak(text)``.

    What a session says depends on nothing but its voice and the texts in order. One session at a time in a
    process (a lock).

    Raises: ImportError without the training extra; ValueError for a voice that the library does not have.
    """

    _lock = threading.Lock()

    def __init__(self, voice: EspeakVoice) -> None:
        self.voice = voice

    def __enter__(self) -> EspeakSession:
        try:
            import espeakng_loader
        except ImportError as error:
            raise ImportError(MISSING) from error
        self._lock.acquire()
        try:
            self._open(str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path()))
        except BaseException:
            self._lock.release()
            raise
        return self

    def _open(self, library_path: str, data_path: str) -> None:
        self._library = ctypes.CDLL(library_path)
        options = _PHONEME_EVENTS | _PHONEME_IPA | _DONT_EXIT
        rate = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path.encode(), options)
        if rate != LIBRARY_HZ:
            raise OSError(
                f"espeak-ng at {library_path} did not start (returned {rate}; wanted {LIBRARY_HZ}); "
                "reinstall espeakng-loader."
            )
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(self.voice.seed % 2**31))
        self._blocks: list[np.ndarray] = []
        self._events: list[tuple[int, str]] = []
        self._callback = _Callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)
        name = f"{self.voice.language}+{self.voice.variant}"
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            self._close()
            raise ValueError(f"espeak-ng has no voice {name!r}; wanted {', '.join(LANGUAGES)} and a variant.")
        for parameter, value in (
            (_PARAMETER_RATE, self.voice.rate),
            (_PARAMETER_PITCH, self.voice.pitch),
            (_PARAMETER_RANGE, self.voice.pitch_range),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)

    def _close(self) -> None:
        """Unloads the library, so that the next session finds none of this one's state."""
        import _ctypes

        self._library.espeak_Terminate()
        if sys.platform == "win32":
            _ctypes.FreeLibrary(self._library._handle)
        else:
            _ctypes.dlclose(self._library._handle)
        del self._library

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._lock.release()

    def _receive(self, samples: ctypes._Pointer, count: int, events: ctypes._Pointer) -> int:
        if count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        self._events.extend(_phoneme_events(events))
        return 0

    def speak(self, text: str) -> tuple[np.ndarray, list[Phoneme]]:
        """One sentence: audio float32 (N,) at AUDIO_HZ and its phonemes with times from the start of that
        audio.
        """
        self._blocks.clear()
        self._events.clear()
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _TEXT_UTF8, None, None)
        if not self._blocks:
            raise ValueError(f"espeak-ng said nothing for {text!r} in {self.voice.language}.")
        audio = np.concatenate(self._blocks).astype(np.float32) / 32768
        # AUDIO_HZ / LIBRARY_HZ is 320 / 441; the warp is rounded to what that ratio can say.
        down = round(441 * self.voice.warp)
        audio = resample_poly(audio, 320, down).astype(np.float32)
        return audio, _to_phonemes(self._events, len(audio) / AUDIO_HZ, 441 / down)


def _phoneme_events(events: ctypes._Pointer) -> Iterator[tuple[int, str]]:
    """(milliseconds, IPA) of the phoneme events in one callback."""
    index = 0
    while events[index].type != _EVENT_END:
        if events[index].type == _EVENT_PHONEME:
            yield events[index].audio_position, events[index].id.string.decode("utf8", "ignore")
        index += 1


def _to_phonemes(events: list[tuple[int, str]], seconds: float, scale: float) -> list[Phoneme]:
    starts = [ms / 1000 * scale for ms, _ in events] + [seconds]
    for index, (_, ipa) in enumerate(events):
        if ipa.lstrip("ˈˌ")[:1] in tuple(VOICELESS_STOPS):
            before = starts[index - 1] if index else 0.0
            starts[index] -= min(CLOSURE_S * scale, (starts[index] - before) / 2)
    phonemes: list[Phoneme] = []
    for (_, ipa), start, end in zip(events, starts, starts[1:], strict=False):
        # A mark of its own after a consonant (the palatalisation of Russian) is part of what came before.
        if ipa and end > start:
            phonemes.extend(spread(ipa, start, end))
    return phonemes
