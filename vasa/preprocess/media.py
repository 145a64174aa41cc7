"""A video file, read once from its beginning to its end: upright pictures at a steady 25 per second by their
timestamps, and the sound that belongs to each.

One pass over the file: its packets are taken as they come, each is decoded once, and what is held does not
grow with the file's length. Picture and sound tracks have clocks that start at different times; both are
placed on the file's own. Damage ends what came before it; reading goes on where whole pictures begin again.
Knows no face.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from vasa.preprocess.container import UNREADABLE, Packets, UnusableInputError, begins_s, open_media, words
from vasa.preprocess.picture import MAX_PIXELS, Picture
from vasa.preprocess.soundtrack import SoundTrack
from vasa.records import SAMPLES_PER_FRAME, VIDEO_FPS
from vasa.video import frame_count

_Stored = tuple[float, float, av.VideoFrame, bool]
"""Times of a frame's beginning and end, the frame, and whether what came before it is damaged."""
LONGEST_FREEZE_S = 1.0
"""A picture that stands longer is a gap of the recording, behind which another stretch begins."""
NOTEWORTHY_S = 0.5
"""Less missing at an end is not worth a remark: tracks seldom end together."""
_SAME_TIME_S = 1e-6


@dataclass(slots=True)
class MediaFacts:
    """What a file turned out to be. seconds, pictures: read and of use; fps: as stored, on average. notes:
    what is wrong with it, in words."""

    width: int = 0
    height: int = 0
    fps: float = 0.0
    seconds: float = 0.0
    pictures: int = 0
    notes: list[str] = field(default_factory=list)


class MediaReader:
    """One video and its sound, from the beginning to the end, once.

    facts: complete when ``pictures`` is exhausted. sound: None where there is none; it keeps what
    ``SoundTrack.forget`` was not told to forget.
    """

    def __init__(self, video: Path, sound: Path | None = None, need_audio: bool = True) -> None:
        """sound: a file of its own; without one the video's track is taken.

        Raises: UnusableInputError where the file is no video, or has no sound and ``need_audio``.
        """
        self.facts, self._need_audio = MediaFacts(), need_audio
        self._open: list[Any] = []
        self._end_s = 0.0
        self.sound: SoundTrack | None = None
        try:
            self._file = self._container(video)
            if not self._file.streams.video:
                raise UnusableInputError("unreadable", "it has no picture track")
            self._stream: Any = self._file.streams.video[0]
            self._packets = Packets(self._file, self._stream)
            self._open_sound(sound)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> MediaReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for opened in reversed(self._open):
            opened.close()
        self._open.clear()

    def _container(self, path: Path) -> Any:
        container, file = open_media(path)
        self._open += [opened for opened in (file, container) if opened is not None]
        return container

    def _open_sound(self, path: Path | None) -> None:
        try:
            file = self._container(path) if path else self._file
            if not file.streams.audio:
                raise UnusableInputError("no_audio", "it has no sound track")
        except UnusableInputError as error:
            if self._need_audio:
                reason = f"its sound file: {error}" if path else str(error)
                raise UnusableInputError("no_audio", reason) from error
            return
        track = file.streams.audio[0]
        packets = Packets(file) if path else self._packets
        packets.add(track)
        self.sound = SoundTrack(packets.of(track), track, begins_s(file))

    def pictures(self) -> Iterator[tuple[int, Picture]]:
        """(k, the picture nearest to k / 25 s after the first), ascending; the same object while one stands.

        Numbers leave out what the recording lacks: gaps, what damage made unreadable, and where the sound has
        not begun. It ends with the sound. Raises: UnusableInputError where not one picture can be read.
        """
        last = -1
        for tick, picture in self._steady(self._stored()):
            if not self._is_heard(tick):
                if self.sound is not None and self.sound.has_ended:
                    why = f" ({self.sound.failure})" if self.sound.failure else ""
                    self.facts.notes.append(
                        f"its sound ends after {tick / VIDEO_FPS:.2f} s, before its pictures{why}"
                    )
                    break
                continue
            if last < 0 and tick > NOTEWORTHY_S * VIDEO_FPS:
                self.facts.notes.append(f"its sound begins {tick / VIDEO_FPS:.2f} s after its pictures")
            last = tick
            self.facts.pictures += 1
            yield tick, picture
        self.facts.seconds = self.facts.pictures / VIDEO_FPS
        if self.facts.width == 0:
            raise UnusableInputError("unreadable", self._why_nothing())

    def _why_nothing(self) -> str:
        return "; ".join(self.facts.notes) or "it holds no picture"

    def _is_heard(self, tick: int) -> bool:
        """Whether there is sound under a picture, or under half of it at an end; decodes it up to there."""
        if self.sound is None:
            return True
        return self.sound.covers(tick * SAMPLES_PER_FRAME + SAMPLES_PER_FRAME // 2, 1) or not self._need_audio

    def _steady(self, stored: Iterator[_Stored]) -> Iterator[tuple[int, Picture]]:
        """Stored frames -> (tick, picture) by the frame that is nearest in time."""
        begin = end = time = 0.0
        tick, frame, number, aspect = 0, None, 0, self._aspect()
        for next_time, next_end, next_frame, is_behind_damage in stored:
            if frame is None:
                begin = next_time
                self._place_sound(begin)
            else:
                gap = is_behind_damage or next_time - end > LONGEST_FREEZE_S
                until = end if gap else (time + next_time) / 2
                picture = None
                while begin + tick / VIDEO_FPS + _SAME_TIME_S < until:
                    picture = picture or self._picture(frame, aspect)
                    yield tick, picture
                    tick += 1
                if gap:
                    tick = max(tick + 1, round((next_time - begin) * VIDEO_FPS))
                self.facts.fps = number / (next_time - begin)
            time, end, frame, number = next_time, next_end, next_frame, number + 1
        if frame is None:
            return
        picture = self._picture(frame, aspect)
        for last in range(tick, frame_count(min(end - begin, time - begin + LONGEST_FREEZE_S))):
            yield last, picture

    def _place_sound(self, begin_s: float) -> None:
        if self.sound is None:
            return
        self.sound.place(begin_s)
        if self.sound.is_empty and self._need_audio:
            raise UnusableInputError("no_audio", self.sound.failure or "its sound track holds no sound")

    def _aspect(self) -> float:
        """Width of a stored pixel, in heights."""
        ratio = self._stream.sample_aspect_ratio
        return float(ratio) if ratio and 0.25 < ratio < 4 else 1.0

    def _picture(self, frame: av.VideoFrame, aspect: float) -> Picture:
        picture = Picture.of(frame, aspect)
        if not self.facts.width:
            self.facts.width, self.facts.height = picture.width, picture.height
        return picture

    def _stored(self) -> Iterator[_Stored]:
        """Decoded frames, ascending in time."""
        stream = self._stream
        rate = float(stream.average_rate or stream.guessed_rate or VIDEO_FPS)
        step, zero, last, number = 1 / rate, begins_s(self._file), -np.inf, 0
        behind_damage, backwards = False, 0
        for frame, is_first in self._decoded(stream):
            base = frame.time_base or stream.time_base  # those still in the decoder at the end have none
            behind_damage |= is_first
            if frame.width * frame.height > MAX_PIXELS:
                self.facts.notes.append(f"a picture claims to have {frame.width} x {frame.height} pixels")
                return
            if frame.pts is None:
                time = number * step
            else:
                time = float(frame.pts * base) - zero
            number += 1
            if time <= last:  # such a frame has no place
                backwards += 1
                continue
            last = self._end_s = time
            length = float(frame.duration * base) if frame.duration else step
            yield time, time + (length if 0 < length <= LONGEST_FREEZE_S else step), frame, behind_damage
            behind_damage = False
        if backwards * step > NOTEWORTHY_S:
            self.facts.notes.append(f"its clock runs backwards: {backwards} pictures have no place in time")

    def _decoded(self, stream: Any) -> Iterator[tuple[av.VideoFrame, bool]]:
        """What the decoder makes of the packets, and whether it is the first picture behind damage: after a
        broken packet comes nothing until a key frame."""
        context, packets = stream.codec_context, self._packets.of(stream)
        context.thread_count = 1  # frame threads make a damaged file's last pictures differ from run to run
        context.options = {"err_detect": "explode"}  # else broken pictures are mended by guesses
        broken = waiting = False
        while True:
            packet = next(packets, None)
            try:
                if packet is not None and (packet.is_corrupt or (waiting and not packet.is_keyframe)):
                    frames, bad = [], packet.is_corrupt
                else:
                    frames, bad = stream.decode(packet), False
                    waiting = False
            except UNREADABLE as error:
                frames, bad = [], True
                self._note_damage(words(error))
                if packet is not None:
                    context.flush_buffers()
            if bad and not waiting:
                broken = waiting = True
                self._note_damage("incomplete data")
            for frame in frames:
                yield frame, broken
                broken = False
            if packet is None:
                self._note_end()
                return

    def _note_damage(self, what: str) -> None:
        if not any(note.startswith("it is damaged") for note in self.facts.notes):
            self.facts.notes.append(f"it is damaged ({what})")

    def _note_end(self) -> None:
        """Remarks on what a file promised beyond what could be read."""
        if self._packets.failed:
            self._note_damage(self._packets.failed)
        claimed = self._stream.duration
        claimed_s = float(claimed * self._stream.time_base) if claimed and self._stream.time_base else 0.0
        if claimed_s > self._end_s + 2 * NOTEWORTHY_S:
            self.facts.notes.append(
                f"of the {claimed_s:.1f} s it claims to last, {self._end_s:.1f} s can be read"
            )
