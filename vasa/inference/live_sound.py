"""Sound that one thread pushes and another takes, some frames at a time: the front of live speech."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np

from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME

MOST_S = 60.0
"""Seconds of sound that may wait; whoever pushes more waits with them."""


@dataclass(slots=True)
class Taken:
    """samples: float32 (N,), whole frames but at the very end. there_at: when the last of them was there, by
    ``time.perf_counter``. idle: of them, samples of silence that nobody pushed.
    """

    samples: np.ndarray
    there_at: float
    idle: int = 0


class LiveSound:
    """Mono sound at AUDIO_HZ. patience_s: how long sound is waited for before silence takes its place, so
    that a face that is not spoken to moves on; None: for ever.
    """

    def __init__(self, patience_s: float | None = None) -> None:
        if patience_s is not None and not 0 < patience_s <= 10:
            raise ValueError(f"patience_s is {patience_s:g}; wanted more than 0 and at most 10, or none.")
        self._patience = patience_s
        self._blocks: list[tuple[np.ndarray, float]] = []  # with the time when each was pushed
        self._waiting = 0
        self._closed = False
        self._changed = threading.Condition()

    def push(self, samples: np.ndarray) -> None:
        """Appends sound (N,), any N. Waits where more than MOST_S is waiting. Raises: ValueError for what is
        no sound; RuntimeError after ``close``.
        """
        sound = np.asarray(samples)
        if sound.ndim != 1 or sound.dtype.kind != "f" or not np.isfinite(sound).all():
            raise ValueError(
                f"pushed sound is {sound.dtype} {sound.shape}; wanted finite floats (N,) at {AUDIO_HZ} Hz."
            )
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting < MOST_S * AUDIO_HZ)
            if self._closed:
                raise RuntimeError("this talk was closed; nothing can be said in it any more.")
            if len(sound):
                self._blocks.append((sound.astype(np.float32), time.perf_counter()))
                self._waiting += len(sound)
                self._changed.notify_all()

    def interrupt(self) -> None:
        """Forgets what was pushed and not taken yet."""
        with self._changed:
            self._blocks.clear()
            self._waiting = 0
            self._changed.notify_all()

    def close(self) -> None:
        """No more will be pushed; what waits is still taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, num_frames: int) -> Taken | None:
        """The next frames of sound, once they are there; None after the last. At the end there may be fewer,
        and of the last frame a part.
        """
        wanted = num_frames * SAMPLES_PER_FRAME
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting >= wanted, self._patience)
            if self._closed and not self._waiting:
                return None
            samples, there_at = self._cut(wanted)
            self._changed.notify_all()
            if len(samples) == wanted or self._closed:
                return Taken(samples, there_at)
        idle = wanted - len(samples)
        return Taken(np.pad(samples, (0, idle)), time.perf_counter(), idle)

    def _cut(self, wanted: int) -> tuple[np.ndarray, float]:
        parts, there_at, missing = [np.empty(0, np.float32)], 0.0, wanted
        while missing and self._blocks:
            block, there_at = self._blocks.pop(0)
            if len(block) > missing:
                self._blocks.insert(0, (block[missing:], there_at))
                block = block[:missing]
            parts.append(block)
            missing -= len(block)
        self._waiting -= wanted - missing
        return np.concatenate(parts), there_at
