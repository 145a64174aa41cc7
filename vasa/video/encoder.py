"""Frames into the encoder that imageio-ffmpeg carries: one run of it, and a thread that feeds it while the
next frames are made.
"""

from __future__ import annotations

import errno
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

QUEUE_BYTES = 32 << 20
MAX_QUEUED = 64
"""Frames that may wait for the encoder: enough for a batch or two, never a film."""


class Ffmpeg:
    """One run of the bundled encoder. Its complaints are drained by a thread: a full pipe would stop it for
    good.
    """

    def __init__(
        self, arguments: Sequence[str], stdout: int = subprocess.DEVNULL, pass_fds: Sequence[int] = ()
    ) -> None:
        """stdout: a file number that what it writes to pipe:1 goes to. pass_fds: of pipes that it reads
        besides pipe:0.
        """
        import imageio_ffmpeg

        try:
            program = imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError as error:
            raise OSError(f"no video encoder on this machine ({error}); install ffmpeg.") from error
        command = [program, "-hide_banner", "-loglevel", "error", "-y", *arguments]
        pipe = subprocess.PIPE
        # In a group of its own: Ctrl-C on the terminal is for us, who then stop it and take its file away.
        self._process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=stdout,
            stderr=pipe,
            bufsize=0,
            process_group=0,
            pass_fds=tuple(pass_fds),
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
        """Waits for the encoder; raises OSError with its own words when it did not succeed, ENOSPC when the
        disk is full.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            code = self._process.wait()
        finally:
            if self._process.poll() is None:  # whoever waits was stopped: it must write nothing any more
                self._process.kill()
                self._process.wait()
        self._drain.join()
        if code != 0:
            if any("No space left" in line for line in self._complaints):
                raise OSError(errno.ENOSPC, "no space left")
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


class Feeder:
    """Feeds one encoder from a thread, so that encoding overlaps with whatever makes the frames.

    What goes wrong in the thread is raised by the next ``put`` or by ``finish``. encode_s: seconds in which
    the encoder was fed and waited for; waiting_s: those in which the caller stood still for it.
    """

    def __init__(self, encoder: Ffmpeg, frame_bytes: int) -> None:
        self._encoder = encoder
        self._error: OSError | None = None
        self._queue: queue.Queue[np.ndarray | None] = queue.Queue(
            max(2, min(MAX_QUEUED, QUEUE_BYTES // frame_bytes))
        )
        self.encode_s = self.waiting_s = 0.0
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def put(self, frame: np.ndarray) -> None:
        """Takes a copy of a frame; waits while too many are before it. Raises: OSError."""
        self._raise()
        started = time.perf_counter()
        self._queue.put(frame.copy())
        self.waiting_s += time.perf_counter() - started

    def finish(self) -> None:
        """Waits until all is encoded. Raises: OSError."""
        started = time.perf_counter()
        self._queue.put(None)
        self._thread.join()
        self.waiting_s += time.perf_counter() - started
        self._raise()

    def stop(self) -> None:
        """Ends the encoder and the thread at once; its file is not complete."""
        self._encoder.stop()
        self._queue.put(None)  # the thread goes on emptying the queue, so there will be room
        self._thread.join()

    def _feed(self) -> None:
        while (frame := self._queue.get()) is not None:
            if self._error is None:
                self._timed(self._encoder.feed, frame.data)
        if self._error is None:
            self._timed(self._encoder.finish)

    def _timed(self, step: Callable[..., None], *args: memoryview) -> None:
        started = time.perf_counter()
        try:
            step(*args)
        except OSError as error:
            self._error = error
        self.encode_s += time.perf_counter() - started

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
