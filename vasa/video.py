"""Video in and out: frame-exact reading at a steady rate, writing with sound, contact sheets.

Frames are uint8 (H, W, 3) RGB. Reading goes through one class whichever library decodes; turning a phone's
picture upright and bringing any frame rate to a steady one happen here, so nothing downstream meets a display
matrix or a variable rate. Everything is an iterator: memory does not grow with the length of a video. Knows
nothing of faces.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import tempfile
import threading
import wave
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from PIL import Image

from vasa.checkpoint import atomic_path
from vasa.records import VIDEO_FPS

log = logging.getLogger(__name__)

SYNTHETIC_NOTE = (
    "Synthetic video: generated from a portrait and a sound file by vasa; it records no real event."
)
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


# --- reading ---


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
                    image = frame.to_ndarray(format="rgb24")
                    yield place, np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


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


# --- writing ---


class VideoWriter:
    """Writes exactly the frames it is given as h264, with sound as aac, under a temporary name until it is
    complete.

        with VideoWriter("o.mp4", height=128, width=128, audio=waveform, audio_hz=16000) as writer:
            writer.write(frame)

    The sound is kept whole and starts with the first frame; where it ends before the picture, silence
    follows. The same input gives the same bytes (one encoder thread, no dates). Leaving the block by an
    exception leaves no file behind.
    """

    def __init__(
        self,
        path: str | Path,
        height: int,
        width: int,
        fps: float = VIDEO_FPS,
        audio: np.ndarray | None = None,
        audio_hz: int | None = None,
        crf: int = 16,
        note: str = SYNTHETIC_NOTE,
    ) -> None:
        """audio: float (N,) mono in [-1, 1] at ``audio_hz``. crf: x264's quality, 0 lossless to 51. note: the
        comment tag.
        """
        self.path = Path(path)
        check_video_path(self.path)
        if height % 2 or width % 2:
            raise ValueError(
                f"frames are {width}x{height}; h264 wants an even width and height: crop or pad by one pixel."
            )
        if (audio is None) != (audio_hz is None):
            raise ValueError("audio and audio_hz go together; give both or neither.")
        self._shape, self._fps, self._crf, self._note = (height, width, 3), fps, crf, note
        self._audio, self._audio_hz = audio, audio_hz
        self.num_frames = 0

    def __enter__(self) -> VideoWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The names inside are ours, so no dash or percent sign of the user's name reaches the encoder.
        self._folder = tempfile.TemporaryDirectory(prefix=".vasa-", dir=self.path.parent)
        self._silent = Path(self._folder.name) / "silent.mp4"
        source = [
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-s",
            f"{self._shape[1]}x{self._shape[0]}",
            "-r",
            str(self._fps),
        ]
        colour = [
            "-vf",
            "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,format=yuv420p",
        ]
        colour += [
            "-colorspace",
            "bt709",
            "-color_primaries",
            "bt709",
            "-color_trc",
            "bt709",
            "-color_range",
            "tv",
        ]
        codec = [
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-crf",
            str(self._crf),
            "-threads",
            "1",
            "-flags:v",
            "+bitexact",
        ]
        self._encoder = _Ffmpeg(
            [*source, "-i", "pipe:0", *colour, *codec, *_muxing(self._note), _url(self._silent)]
        )
        return self

    def write(self, frame: np.ndarray) -> None:
        """Appends one uint8 (H, W, 3) RGB frame."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.dtype} {frame.shape}; wanted uint8 {self._shape}.")
        self._encoder.feed(np.ascontiguousarray(frame).data)
        self.num_frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._folder:
            if kind is not None:
                self._encoder.stop()
                return
            self._encoder.finish()
            if self.num_frames == 0:
                raise ValueError(f"no frame was written for {str(self.path)!r}; a video wants at least one.")
            finished = self._silent if self._audio is None else self._with_sound()
            finished.replace(self.path)

    def _with_sound(self) -> Path:
        assert self._audio is not None and self._audio_hz is not None
        sound, finished = Path(self._folder.name) / "sound.wav", Path(self._folder.name) / "finished.mp4"
        _write_wav(
            sound, self._audio, self._audio_hz, math.ceil(self.num_frames / self._fps * self._audio_hz)
        )
        inputs = ["-i", _url(self._silent), "-i", _url(sound), "-map", "0:v:0", "-map", "1:a:0"]
        codec = ["-c:v", "copy", "-c:a", "aac", "-b:a", "160k", "-flags:a", "+bitexact"]
        _Ffmpeg([*inputs, *codec, *_muxing(self._note), _url(finished)]).finish()
        return finished


def check_video_path(path: Path) -> None:
    """Raises ValueError or OSError unless a video can be put at ``path``: before the work, not after it.

    Folders that are missing are made when the video is written.
    """
    if path.suffix.lower() not in (".mp4", ".m4v", ".mov"):
        raise ValueError(
            f"output {str(path)!r} ends in {path.suffix or 'nothing'!r}; wanted a name ending in .mp4."
        )
    if path.is_dir():
        raise ValueError(f"output {str(path)!r} is a folder; add a file name ending in .mp4.")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir():
        raise ValueError(
            f"output {str(path)!r} lies in {str(nearest)!r}, which is not a folder; name another place."
        )
    if not os.access(nearest, os.W_OK):
        raise OSError(f"output folder {str(nearest)!r} cannot be written to; name another.")


def _muxing(note: str) -> list[str]:
    return [
        "-map_metadata",
        "-1",
        "-fflags",
        "+bitexact",
        "-metadata",
        f"comment={note}",
        "-movflags",
        "+faststart",
        "-f",
        "mp4",
    ]


def _url(path: Path) -> str:
    """An explicit file URL: a bare "a:b.mp4" would be taken for a protocol."""
    return f"file:{path.absolute()}"


def _write_wav(path: Path, audio: np.ndarray, audio_hz: int, min_samples: int) -> None:
    """16-bit mono, in pieces, with silence appended up to ``min_samples``."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio_hz)
        for start in range(0, len(audio), 1 << 20):
            piece = np.clip(audio[start : start + (1 << 20)], -1, 1)
            file.writeframes((piece * 32767).round().astype("<i2").tobytes())
        file.writeframes(bytes(2 * max(0, min_samples - len(audio))))


class _Ffmpeg:
    """One run of the bundled encoder. Its complaints are drained by a thread: a full pipe would stop it for
    good.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        import imageio_ffmpeg

        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, bufsize=0
        )
        self._complaints: deque[str] = deque(maxlen=8)
        self._drain = threading.Thread(target=self._read_complaints, daemon=True)
        self._drain.start()

    def _read_complaints(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._complaints.append(line.decode(errors="replace").strip())

    def feed(self, data: memoryview) -> None:
        assert self._process.stdin is not None
        left = data.cast("B")
        try:
            while left:
                left = left[self._process.stdin.write(left) :]
        except (BrokenPipeError, ValueError):
            self.finish()

    def finish(self) -> None:
        """Waits for the encoder; raises OSError with its own words when it did not succeed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = self._process.wait()
        self._drain.join()
        if code != 0:
            how = f"was killed by signal {-code}" if code < 0 else f"failed with code {code}"
            raise OSError(
                f"the video encoder {how}: {' '.join(self._complaints) or 'it said nothing'}; no file was "
                "written."
            )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._drain.join()
        assert self._process.stdin is not None
        self._process.stdin.close()


# --- contact sheets ---


def spread(num_frames: int, count: int) -> list[int]:
    """``count`` (or all) frame numbers spread evenly over 0 .. num_frames - 1, first and last included."""
    return sorted({round(i) for i in np.linspace(0, num_frames - 1, min(count, num_frames))})


def write_contact_sheet(
    path: str | Path, images: Sequence[np.ndarray], columns: int = 6, cell_px: int = 256
) -> None:
    """Writes images (H, W, 3) uint8, row by row, each fitted into a square cell, as one PNG."""
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * (cell_px + 4) + 4, rows * (cell_px + 4) + 4), (32, 32, 32))
    for place, array in enumerate(images):
        image = Image.fromarray(array)
        scale = cell_px / max(image.size)
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)
        row, column = divmod(place, columns)
        sheet.paste(image, (4 + column * (cell_px + 4), 4 + row * (cell_px + 4)))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
