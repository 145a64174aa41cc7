"""Fragmented mp4 as it is made: pictures and sound of which nobody knows the end, to a file or a pipe.

What has been written can be shown at once, and is whole wherever it is cut off. Players, OBS and ffmpeg read
it from a pipe.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from pathlib import Path
from types import TracebackType

import numpy as np

from vasa.records import AUDIO_HZ, VIDEO_FPS
from vasa.video.encoder import Ffmpeg
from vasa.video.writer import SYNTHETIC_NOTE

FRAGMENT_S = 0.2
QUEUED = 16
"""Frames that may wait for the encoder."""


class FragmentWriter:
    """h264 without frames that wait for later ones, and aac. path: a file, or None for this process's stdout.

    A file appears under a temporary name beside it and is renamed when the block ends without an error.
    """

    def __init__(self, path: Path | None, height: int, width: int) -> None:
        self._path, self._shape = path, (height, width, 3)
        if height % 2 or width % 2:
            raise ValueError(f"frames are {width}x{height}; h264 wants an even width and height.")

    def __enter__(self) -> FragmentWriter:
        self._partial: Path | None = None
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._partial = self._path.with_name(f".{self._path.stem}.{os.getpid()}.tmp.mp4")
        reading, self._sound_end = os.pipe()
        target = "pipe:1" if self._partial is None else f"file:{self._partial.absolute()}"
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{self._shape[1]}x{self._shape[0]}"]
        pictures = ["-thread_queue_size", "64", *raw, "-r", str(VIDEO_FPS), "-i", "pipe:0"]
        sound = ["-thread_queue_size", "64", "-f", "s16le", "-ar", str(AUDIO_HZ), "-ac", "1"]
        codec = ["-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-crf", "18"]
        codec += ["-pix_fmt", "yuv420p", "-threads", "1", "-c:a", "aac", "-b:a", "128k"]
        kind = ["-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-g", str(VIDEO_FPS)]
        kind += ["-frag_duration", str(round(FRAGMENT_S * 1e6)), "-flush_packets", "1"]
        note = ["-metadata", f"comment={SYNTHETIC_NOTE}"]
        words = [*pictures, *sound, "-i", f"pipe:{reading}", *codec, *kind, *note, "-f", "mp4", target]
        self._encoder = Ffmpeg(
            words, stdout=1 if self._partial is None else subprocess.DEVNULL, pass_fds=[reading]
        )
        os.close(reading)
        self._error: OSError | None = None
        self._queues: tuple[queue.Queue[bytes | None], ...] = (queue.Queue(QUEUED), queue.Queue(QUEUED))
        feeds = (self._feed_pictures, self._feed_sound)
        self._threads = [threading.Thread(target=feed, daemon=True) for feed in feeds]
        for thread in self._threads:
            thread.start()
        return self

    def write(self, frame: np.ndarray, sound: np.ndarray) -> None:
        """Appends a frame uint8 (H, W, 3) and the sound under it, float (640,). Raises: OSError where the
        encoder failed or nobody reads any more.
        """
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.dtype} {frame.shape}; wanted uint8 {self._shape}.")
        samples = (np.clip(sound, -1, 1) * 32767).round().astype("<i2")
        for waiting, data in zip(self._queues, (frame.tobytes(), samples.tobytes()), strict=True):
            while True:
                if self._error is not None:
                    raise self._error
                try:
                    waiting.put(data, timeout=0.1)
                    break
                except queue.Full:
                    continue

    def _feed_pictures(self) -> None:
        while (data := self._queues[0].get()) is not None:
            if self._error is None:
                try:
                    self._encoder.feed(memoryview(data))
                except OSError as error:
                    self._error = error

    def _feed_sound(self) -> None:
        with os.fdopen(self._sound_end, "wb", buffering=0) as pipe:
            while (data := self._queues[1].get()) is not None:
                try:
                    pipe.write(data)
                except OSError as error:
                    self._error = self._error or error
                    return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._encoder.stop()
            self._error = self._error or OSError("stopped")
        for waiting in self._queues:
            while True:
                try:
                    waiting.put(None, timeout=0.1)
                    break
                except queue.Full:
                    if self._error is not None:
                        waiting.get_nowait()
        for thread in self._threads:
            thread.join()
        try:
            if kind is None:
                if self._error is not None:
                    raise self._error
                self._encoder.finish()
                if self._path is not None and self._partial is not None:
                    self._partial.replace(self._path)
        finally:
            if self._partial is not None:
                self._partial.unlink(missing_ok=True)
