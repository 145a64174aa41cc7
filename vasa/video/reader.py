"""Reading video: upright RGB frames, exact to the frame, as stored or at a steady rate, whichever library
decodes.

Turning a phone's picture upright, making its pixels square and bringing any frame rate to a steady one happen
here, so nothing downstream meets a display matrix or a variable rate.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vasa.records import VIDEO_FPS

log = logging.getLogger(__name__)

_SAME_TIME_S = 1e-6


def frame_count(seconds: float, fps: float = VIDEO_FPS) -> int:
    """Frames of a video that lasts ``seconds``: floor(fps * seconds + 0.5), at least 1."""
    return max(1, math.floor(fps * seconds + 0.5))


def resample_indices(times_s: np.ndarray, duration_s: float, fps: float = VIDEO_FPS) -> np.ndarray:
    """Which stored frame stands at each tick k / fps: the one nearest in time (of two equally near, the
    later).

    Nearest, not "the one being shown": the mean error against the sound is then zero, whatever the stored
    rate.

    times_s: (N,) ascending, seconds from the first frame. Returns (frame_count(duration_s),) int64.
    """
    ticks = np.arange(frame_count(duration_s, fps)) / fps
    middles = (times_s[1:] + times_s[:-1]) / 2
    return np.searchsorted(middles, ticks + _SAME_TIME_S, side="right")


class _Decoder(Protocol):
    def frames_from(self, index: int) -> Iterator[tuple[int, np.ndarray]]:
        """Upright frames with their places in presentation order, ascending from ``index``; unreadable ones
        are left out.
        """
        ...


class VideoReader:
    """A video file as upright RGB frames, as stored or at a steady rate.

    times_s: (N,) seconds of every stored frame, from the first one. start_s: when the first frame is shown on
    the file's own clock, which its sound shares. duration_s: until the last frame ends.
    """

    def __init__(self, path: str | Path, backend: str = "pyav") -> None:
        """Raises FileNotFoundError or ValueError in one sentence; ``backend`` is "pyav" (default) or
        "decord".
        """
        self.path = Path(path)
        if backend not in _BACKENDS:
            raise ValueError(f"video backend is {backend!r}; wanted one of {', '.join(_BACKENDS)}.")
        if not self.path.is_file():
            raise FileNotFoundError(
                f"video {str(self.path)!r} does not exist; give the path of a video file."
            )
        ticks, self._seconds_per_tick, self.duration_s, self.start_s = _frame_times(self.path)
        self.times_s = (ticks - ticks[0]) * self._seconds_per_tick
        self._decoder: _Decoder = _BACKENDS[backend](self.path, ticks)

    def __len__(self) -> int:
        return len(self.times_s)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.at(np.arange(len(self)))

    def resampled(
        self, fps: float = VIDEO_FPS, start: int = 0, stop: int | None = None
    ) -> Iterator[np.ndarray]:
        """Frames ``start`` to ``stop`` of the same video at a steady ``fps``: frame k is the stored one
        nearest to k / fps.
        """
        return self.at(resample_indices(self.times_s, self.duration_s, fps)[start:stop])

    def at(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        """The stored frames at ascending ``indices`` (repeats allowed); an unreadable frame is replaced by
        the one before.
        """
        if len(indices) == 0:
            return
        decoded = self._decoder.frames_from(int(indices[0]))
        place, image = next(decoded, (None, None))
        if image is None:
            raise ValueError(
                f"video {str(self.path)!r} has no readable frame {indices[0]}; the file may be damaged."
            )
        upcoming = next(decoded, None)
        for index in indices:
            while upcoming is not None and upcoming[0] <= index:
                (place, image), upcoming = upcoming, next(decoded, None)
            yield image
        log.debug("read %s up to stored frame %s", self.path, place)


def _frame_times(path: Path) -> tuple[np.ndarray, float, float, float]:
    """Presentation times of all frames without decoding them: (ticks (N,), seconds per tick, duration_s,
    start_s).
    """
    import av

    try:
        container = av.open(str(path))
    except (av.FFmpegError, ValueError) as error:
        raise ValueError(
            f"video {str(path)!r} cannot be opened as one ({error}); give an mp4, mov, webm or similar."
        ) from error
    with container:
        if not container.streams.video:
            raise ValueError(f"video {str(path)!r} has no picture track; give a file with one.")
        stream = container.streams.video[0]
        rate = float(stream.average_rate or stream.guessed_rate or VIDEO_FPS)
        packets = [
            (packet.pts, packet.duration)
            for packet in container.demux(stream)
            if packet.size and not packet.is_discard
        ]
        if not packets:
            raise ValueError(f"video {str(path)!r} holds no frames; the file may be damaged.")
        seconds_per_tick = float(stream.time_base or 1 / rate)
        if any(pts is None for pts, _ in packets):  # containers such as AVI: the rate is all there is
            return np.arange(len(packets), dtype=np.float64), 1 / rate, len(packets) / rate, 0.0
        ticks = np.unique(np.array([pts for pts, _ in packets], dtype=np.int64))
        last = max(packets)[1] or round(1 / rate / seconds_per_tick)
        start_s = float(ticks[0]) * seconds_per_tick - (container.start_time or 0) / av.time_base
        return ticks, seconds_per_tick, float(ticks[-1] - ticks[0] + last) * seconds_per_tick, start_s


class _PyavDecoder:
    """Decodes with PyAV. It leaves the display matrix to us, and its memory is flat over any length."""

    def __init__(self, path: Path, ticks: np.ndarray) -> None:
        self._path, self._ticks = path, ticks

    def frames_from(self, index: int) -> Iterator[tuple[int, np.ndarray]]:
        import av

        with av.open(str(self._path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = (
                1  # with frame threads the last frames of a damaged file differ from run to run
            )
            counted = self._ticks.dtype != np.int64
            if index > 0 and not counted:
                container.seek(int(self._ticks[index]), stream=stream, backward=True)
            for number, frame in enumerate(_without_damage(container.decode(stream), self._path)):
                place = (
                    number if counted or frame.pts is None else int(np.searchsorted(self._ticks, frame.pts))
                )
                if place >= index:
                    wide = round(frame.width * _pixel_aspect(stream))
                    image = frame.to_ndarray(format="rgb24", width=wide, height=frame.height)
                    yield place, np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


def _pixel_aspect(stream: Any) -> float:
    """Width of a stored pixel, in heights."""
    ratio = stream.sample_aspect_ratio
    return float(ratio) if ratio and 0.25 < ratio < 4 else 1.0


def _without_damage(frames: Iterator, path: Path) -> Iterator:
    """Ends where decoding breaks down, with a warning, so that what came before can be used."""
    import av

    try:
        yield from frames
    except av.FFmpegError as error:
        log.warning(
            "%s is damaged from some point on (%s); the last good frame stands for the rest.", path, error
        )


class _DecordDecoder:
    """Decodes with decord, which turns frames upright itself. x86-64 Linux and Windows only."""

    def __init__(self, path: Path, ticks: np.ndarray) -> None:
        try:
            import decord
        except ImportError as error:
            raise ValueError(
                "video backend 'decord' is not installed on this machine; use 'pyav'."
            ) from error
        self._reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        if len(self._reader) != len(ticks):
            raise ValueError(
                f"decord sees {len(self._reader)} frames in {str(path)!r} where {len(ticks)} are stored; "
                "use 'pyav'."
            )
        if self._reader[0].shape[2] != 3:  # seen on turned videos whose width does not suit its row alignment
            raise ValueError(f"decord misreads the rows of {str(path)!r}; use 'pyav'.")

    def frames_from(self, index: int) -> Iterator[tuple[int, np.ndarray]]:
        self._reader.seek_accurate(index)
        for place in range(index, len(self._reader)):
            yield place, self._reader[place].asnumpy()


_BACKENDS: dict[str, Callable[[Path, np.ndarray], _Decoder]] = {
    "pyav": _PyavDecoder,
    "decord": _DecordDecoder,
}
