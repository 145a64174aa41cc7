"""How long the parts of live speech take: what was measured last, bounded in memory, as percentiles."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from vasa.records import VIDEO_FPS

PARTS = ("wait", "features", "denoise", "decode", "total")
"""Seconds that a hop waits for its sound, its features take, its motion takes; that a frame takes to decode;
from the moment when a hop's sound was there to that in which its first frame was. Sound that was pushed
ahead of its time is there when its time has come."""
KEPT = 20_000
"""Measurements of a part that are kept: those of the last hour, of frames of the last 13 minutes."""


class LiveTimes:
    def __init__(self) -> None:
        self._values = {name: deque[float](maxlen=KEPT) for name in PARTS}
        self._busy = dict.fromkeys(PARTS, 0.0)
        self._lock = threading.Lock()
        self.frames = self.drops = 0
        self.first_frame_s: float | None = None

    @contextmanager
    def measured(self, part: str) -> Iterator[None]:
        """Of a block, wall-clock seconds."""
        started = time.perf_counter()
        yield
        self.add(part, time.perf_counter() - started)

    def add(self, part: str, seconds: float) -> None:
        with self._lock:
            self._values[part].append(seconds)
            self._busy[part] += seconds

    def busy_s(self, *parts: str) -> float:
        """Seconds spent in parts so far."""
        with self._lock:
            return sum(self._busy[part] for part in parts)

    def as_dict(self) -> dict[str, float]:
        """<part>_p50_ms and <part>_p99_ms; first_frame_ms: from its sound to it; real_time_factor: seconds of
        work per second of video, of the busier of the two threads; frames; drops.
        """
        found: dict[str, float] = {}
        with self._lock:
            values = {name: np.array(kept) for name, kept in self._values.items() if kept}
        for name, seconds in values.items():
            for share in (50, 99):
                found[f"{name}_p{share}_ms"] = 1000 * float(np.percentile(seconds, share))
        if self.first_frame_s is not None:
            found["first_frame_ms"] = 1000 * self.first_frame_s
        if self.frames:
            busier = max(self.busy_s("features", "denoise"), self.busy_s("decode"))
            found["real_time_factor"] = busier * VIDEO_FPS / self.frames
        return {**found, "frames": self.frames, "drops": self.drops}
