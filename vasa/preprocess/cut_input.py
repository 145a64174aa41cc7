"""One input, from its beginning to its end: every clip of one person in it, and why the rest is not used.

Reads (media.py), finds shots (shots.py) and faces (tracking.py), cuts (segments.py) and judges (quality.py).
Whatever is in the file, the outcome is a row; nothing that a file can hold is an error here. Knows nothing of
signals, shards or other inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from vasa.preprocess.config import QualityConfig, SegmentConfig
from vasa.preprocess.container import UnusableInputError, stop_if_machines
from vasa.preprocess.media import MediaReader
from vasa.preprocess.quality import Quality, build_iqa, measure, why_poor, why_too_small
from vasa.preprocess.segments import Placement, cut_frames, place
from vasa.preprocess.shots import mark_shots
from vasa.preprocess.signals_config import MOST_SHIFT
from vasa.preprocess.soundtrack import SoundTrack
from vasa.preprocess.sources import Input
from vasa.preprocess.step_times import CUT, FACES, QUALITY, READ, SHOTS, StepTimes
from vasa.preprocess.tracking import FACE, MOVING, NO_FACE, TOO_SHORT, TWO_FACES, FaceFinder, Stretch, Tracker
from vasa.pretrained.config import DetectorConfig
from vasa.records import SAMPLES_PER_FRAME, VIDEO_FPS

KEPT = "kept"
MARGIN_FRAMES = MOST_SHIFT
"""Sound that is kept before and after a clip: as far as SyncNet's published search for an offset reaches."""
SILENT = 1e-4
"""Loudest sample, of 1, below which a clip has no sound: 80 dB below full scale."""
_WHY = {
    NO_FACE: "no face is found",
    TWO_FACES: "two faces of comparable size are seen",
    MOVING: "the face jumps, or leaves where it was",
}


@dataclass(slots=True)
class Piece:
    """A stretch of an input. status: KEPT, or why not in a word; reason: in a sentence, "" where kept.

    start_s: from the first picture. Kept: number among the input's kept ones, frames uint8 (T, S, S, 3) at 25
    per second, wide_sound float32 ((T + 2 * MARGIN_FRAMES) * 640,), and all facts. Of others number is -1,
    without frames and sound, and what was not reached is None.
    """

    status: str
    reason: str
    start_s: float
    seconds: float
    number: int = -1
    placement: Placement | None = None
    quality: Quality | None = None
    frames: np.ndarray | None = None
    wide_sound: np.ndarray | None = None

    def sound_at(self, offset_frames: int = 0) -> np.ndarray:
        """float32 (T * 640,): the sound that belongs to the frames when it is taken ``offset_frames`` later.

        Raises: ValueError beyond what is kept.
        """
        if self.wide_sound is None or abs(offset_frames) > MARGIN_FRAMES:
            raise ValueError(
                f"sound of a {self.status} clip at an offset of {offset_frames} frames; wanted a kept one, "
                f"and at most {MARGIN_FRAMES} either way."
            )
        first = (MARGIN_FRAMES + offset_frames) * SAMPLES_PER_FRAME
        return self.wide_sound[first : len(self.wide_sound) - 2 * MARGIN_FRAMES * SAMPLES_PER_FRAME + first]


@dataclass(slots=True)
class Outcome:
    """What became of an input. status: KEPT where a piece was, else the word for most of its time. reason: in
    sentences; of a kept one, what is wrong with the file all the same. width, height, fps: as stored,
    upright. seconds: of use."""

    status: str
    reason: str
    width: int = 0
    height: int = 0
    fps: float = 0.0
    seconds: float = 0.0
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class InputCutter:
    """Cuts inputs. Holds what is slow to build: the face finder and the judge of quality."""

    def __init__(
        self,
        detector: DetectorConfig,
        size: int,
        segments: SegmentConfig,
        quality: QualityConfig,
        need_audio: bool = True,
        times: StepTimes | None = None,
    ) -> None:
        self._finder = FaceFinder(detector, size, segments.second_face)
        self._size, self._segments, self._quality = size, segments, quality
        self._need_audio, self._iqa = need_audio, build_iqa(quality.iqa)
        self._times = times or StepTimes()

    def cut(self, item: Input) -> Iterator[Piece | Outcome]:
        """The pieces of an input in order of time, then its outcome, last and once. Memory does not grow with
        its length. Raises: nothing that is the input's fault."""
        seconds: dict[str, float] = {}
        why: dict[str, str] = {}
        outcome = Outcome(KEPT, "")
        facts = None
        try:
            with MediaReader(item.video, item.sound, self._need_audio) as reader:
                facts = reader.facts
                for piece in self._pieces(reader):
                    seconds[piece.status] = seconds.get(piece.status, 0.0) + piece.seconds
                    why.setdefault(piece.status, piece.reason)
                    if piece.status == KEPT:
                        piece.number, outcome.kept = outcome.kept, outcome.kept + 1
                    else:
                        outcome.rejected[piece.status] += 1
                    yield piece
                if not outcome.kept:
                    outcome.status, outcome.reason = _summary(seconds, why, self._segments)
        except UnusableInputError as error:
            outcome.status, outcome.reason = error.status, str(error)
        except OSError as error:
            stop_if_machines(error)
            outcome.status, outcome.reason = "unreadable", f"it cannot be read ({error.strerror})"
        if facts is not None:
            outcome.width, outcome.height, outcome.fps = facts.width, facts.height, round(facts.fps, 3)
            outcome.seconds = facts.seconds
            notes = [note for note in facts.notes if note not in outcome.reason]
            outcome.reason = "; ".join(part for part in [outcome.reason, *notes] if part)
        yield outcome

    def _pieces(self, reader: MediaReader) -> Iterator[Piece]:
        tracker, times = Tracker(self._finder, self._segments), self._times
        pictures = times.each(SHOTS, mark_shots(times.each(READ, reader.pictures())))
        for number, picture, is_first in pictures:
            for stretch in times.each(FACES, tracker.feed(number, picture, is_first)):
                yield self._piece(stretch, reader.sound)
            if reader.sound is not None:
                reader.sound.forget((tracker.needs_from - MARGIN_FRAMES) * SAMPLES_PER_FRAME)
        for stretch in tracker.finish():
            yield self._piece(stretch, reader.sound)

    def _piece(self, stretch: Stretch, sound: SoundTrack | None) -> Piece:
        piece = Piece(KEPT, "", stretch.first / VIDEO_FPS, (stretch.stop - stretch.first) / VIDEO_FPS)
        wrong = self._judge(piece, stretch, sound)
        if wrong:
            piece.status, piece.reason = wrong
            piece.frames = piece.wide_sound = None
        return piece

    def _judge(self, piece: Piece, stretch: Stretch, sound: SoundTrack | None) -> tuple[str, str] | None:
        """Fills in a piece, as far as it comes; (status, sentence) where a rule stops it."""
        if stretch.status != FACE:
            if stretch.status == TOO_SHORT:
                wanted = self._segments.min_seconds
                return TOO_SHORT, f"one face for {piece.seconds:.2f} s; wanted at least {wanted:g}"
            return stretch.status, f"{_WHY[stretch.status]} for {piece.seconds:.2f} s"
        with self._times.step(CUT):
            piece.placement = place(stretch)
        wrong = why_too_small(piece.placement.crop.side, self._size, self._quality)
        if wrong:
            return wrong
        if piece.placement.drift > self._segments.max_drift:
            return (
                MOVING,
                f"the face strays {piece.placement.drift:.2f} sides from its crop's middle; wanted at most "
                f"{self._segments.max_drift:g}",
            )
        first, count = stretch.first - MARGIN_FRAMES, len(stretch.pictures)
        samples = (count + 2 * MARGIN_FRAMES) * SAMPLES_PER_FRAME
        silence = np.zeros(samples, np.float32)
        piece.wide_sound = sound.cut(first * SAMPLES_PER_FRAME, samples) if sound else silence
        if self._need_audio and np.abs(piece.sound_at()).max() < SILENT:
            return "no_audio", "its sound is silence"
        with self._times.step(CUT):
            piece.frames = cut_frames(stretch, piece.placement.crop)
        with self._times.step(QUALITY):
            piece.quality = measure(piece.frames, self._iqa)
        return why_poor(piece.quality, self._quality)


def _summary(seconds: dict[str, float], why: dict[str, str], config: SegmentConfig) -> tuple[str, str]:
    """Status and reason of an input of which nothing was kept, by what took most of its time."""
    if not seconds:
        return TOO_SHORT, f"nothing of it can be used; wanted at least {config.min_seconds:g} s"
    longest = sorted(seconds.items(), key=lambda item: -item[1])
    most = longest[0][0]
    if len(longest) == 1:
        return most, why[most]
    parts = [f"{status} {time:.2f} s" for status, time in longest]
    return most, f"no clip in it: {', '.join(parts)}; {why[most]}"
