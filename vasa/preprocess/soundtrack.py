"""The sound of a video, decoded along with its pictures: 16 kHz mono, counted on the pictures' clock.

Sample 0 is heard at the first picture's beginning, 640 belong to each picture at 25 per second, and numbers
may be negative. Only what nobody has said to forget is kept. Holes of the recording become silence.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from typing import Any

import av
import numpy as np

from vasa.preprocess.container import UNREADABLE, words
from vasa.records import AUDIO_HZ

_SAME_PLACE_S = 0.04
"""A hole or an overlap below this is the rounding of timestamps."""
_LONGEST_HOLE_S = 30.0
_BLOCK = 16_384
"""Samples at the file's rate that are resampled together."""


class SoundTrack:
    """has_ended: whether all that can be decoded has been. failure: why it ended early, in words."""

    def __init__(self, packets: Generator[Any, None, None], stream: Any, clock_start_s: float) -> None:
        """packets: of ``stream``, in order. clock_start_s: what the file's clock shows at its beginning."""
        self._packets, self._stream, self._clock_start_s = packets, stream, clock_start_s
        self.has_ended, self.failure = False, ""
        self._blocks = self._resampled()
        self._held: list[np.ndarray] = []
        self._begin_s = 0.0  # of the first decoded sample, on the file's clock
        self._first = self._next = 0  # numbers of the first held sample and of the next one to come
        self._start = 0  # number of the first sample that there ever was

    def place(self, origin_s: float) -> None:
        """Says at which time of the file's clock sample 0 is; before anything is asked for."""
        self._read()
        self._first += round((self._begin_s - origin_s) * AUDIO_HZ)
        self._next = self._first + sum(map(len, self._held))
        self._start = self._first

    @property
    def is_empty(self) -> bool:
        """Whether not one sample can be decoded."""
        return self.has_ended and self._next == self._start

    def covers(self, first: int, count: int) -> bool:
        """Whether there is sound for all samples from ``first`` on; decodes up to there."""
        while not self.has_ended and self._next < first + count:
            self._read()
        return self._start <= first and first + count <= self._next

    def cut(self, first: int, count: int) -> np.ndarray:
        """float32 (count,) from sample ``first`` on; silence where there is none."""
        self.covers(first, count)
        samples = np.zeros(count, np.float32)
        held = np.concatenate(self._held) if self._held else samples[:0]
        low, high = max(first, self._first), min(first + count, self._next)
        if low < high:
            samples[low - first : high - first] = held[low - self._first : high - self._first]
        return samples

    def forget(self, before: int) -> None:
        """Lets go of samples before a number."""
        while self._held and self._first + len(self._held[0]) <= before:
            self._first += len(self._held.pop(0))

    def _read(self) -> None:
        block = next(self._blocks, None)
        if block is None:
            self.has_ended = True
            return
        self._held.append(block)
        self._next += len(block)

    def _resampled(self) -> Iterator[np.ndarray]:
        """Blocks at 16 kHz; with the first, ``_begin_s`` is known."""
        resampler: av.AudioResampler | None = None
        for block, rate in self._mono():
            if resampler is None:
                resampler = av.AudioResampler(format="fltp", layout="mono", rate=AUDIO_HZ)
            frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
            frame.sample_rate = rate
            yield from (part.to_ndarray()[0].clip(-1, 1) for part in resampler.resample(frame))
        if resampler is not None:
            yield from (part.to_ndarray()[0].clip(-1, 1) for part in resampler.resample(None))

    def _mono(self) -> Iterator[tuple[np.ndarray, int]]:
        """Blocks (float32 mono, rate), one after the other without holes: channels are averaged."""
        pending: list[np.ndarray] = []
        expected, rate = None, 0
        for time_s, samples, rate in self._decoded():
            if expected is None:
                self._begin_s = expected = time_s if time_s is not None else 0.0
            hole = 0.0 if time_s is None else time_s - expected
            if hole > _LONGEST_HOLE_S:
                self.failure = f"its sound has a hole of {hole:.0f} s"
                break
            if hole > _SAME_PLACE_S:
                samples = np.concatenate([np.zeros(round(hole * rate), np.float32), samples])
            elif hole < -_SAME_PLACE_S:
                samples = samples[round(-hole * rate) :]
            expected += len(samples) / rate
            pending.append(samples)
            if sum(map(len, pending)) >= _BLOCK:
                yield np.concatenate(pending), rate
                pending = []
        if pending:
            yield np.concatenate(pending), rate

    def _decoded(self) -> Iterator[tuple[float | None, np.ndarray, int]]:
        """(seconds on the file's clock, float32 mono, rate) of what the decoder gives; it ends at damage."""
        to_float: av.AudioResampler | None = None
        rate = 0
        try:
            for packet in itertools.chain(self._packets, [None]):
                for frame in self._stream.decode(packet):
                    if to_float is None:
                        rate = frame.sample_rate
                        to_float = av.AudioResampler(format="fltp", rate=rate)
                    time_s = None
                    if frame.pts is not None:
                        base = frame.time_base or self._stream.time_base
                        time_s = float(frame.pts * base) - self._clock_start_s
                    for part in to_float.resample(frame):
                        samples = part.to_ndarray().mean(0, dtype=np.float32)
                        yield time_s, np.nan_to_num(samples, posinf=0.0, neginf=0.0), rate
                        time_s = None
        except UNREADABLE as error:
            self.failure = f"its sound is damaged ({words(error)})"
        finally:
            self._packets.close()
