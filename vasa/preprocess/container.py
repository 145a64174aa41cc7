"""Media files as FFmpeg opens them: whatever they hold or are called, an error here is a sentence.

A file is read once: the packets of its tracks are handed out in whatever order they are asked for.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any

import av

UNREADABLE = (av.FFmpegError, ValueError, OSError, OverflowError, MemoryError)
"""What FFmpeg, and PyAV around it, answer to what is no video."""
_MACHINES = {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_OPTIONS = {"protocol_whitelist": "file"}
"""A file named .mp4 may hold a playlist; it shall open nothing else."""


class UnusableInputError(Exception):
    """A video that cannot be used. status: one word for the manifest; the message is its reason."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def open_media(path: Path) -> tuple[Any, IO[bytes] | None]:
    """An open container, and the file behind it where FFmpeg cannot be told its name; close both.

    Raises: UnusableInputError.
    """
    if not path.is_file():
        what = "it is no file" if path.exists() else "the file does not exist: a link that leads nowhere?"
        raise UnusableInputError("missing", what)
    if path.stat().st_size == 0:
        raise UnusableInputError("unreadable", "it is empty (0 bytes)")
    name, file = str(path.resolve()), None
    try:
        name.encode()
    except UnicodeEncodeError:
        file = path.open("rb")
    try:
        return av.open(file or name, metadata_errors="ignore", options=_OPTIONS), file
    except UNREADABLE as error:
        if file is not None:
            file.close()
        stop_if_machines(error)
        raise UnusableInputError("unreadable", f"it cannot be opened ({words(error)})") from error


def stop_if_machines(error: BaseException) -> None:
    """Raises an error again that would meet every input: no more files can be opened, no room is left. Not
    want of memory: damaged files ask for any amount.
    """
    if getattr(error, "errno", None) in _MACHINES:
        raise error


class Packets:
    """The packets of one file, handed to a reader for each track, in whatever order they are asked for.

    Those of the other tracks wait, still compressed: a fraction of a second's, as files are woven.
    """

    def __init__(self, container: Any, *streams: Any) -> None:
        self._container = container
        self._waiting: dict[int, deque[Any]] = {}
        self._source: Iterator[Any] | None = None
        self.failed = ""
        for stream in streams:
            self.add(stream)

    def add(self, stream: Any) -> None:
        self._waiting.setdefault(stream.index, deque())

    def of(self, stream: Any) -> Generator[Any, None, None]:
        """Packets with data of one track, to the end of the file or to where it cannot be read on."""
        try:
            while True:
                while not self._waiting[stream.index]:
                    packet = self._next()
                    if packet is None:
                        return
                    waiting = self._waiting.get(packet.stream_index)
                    if waiting is not None and packet.size:
                        waiting.append(packet)
                yield self._waiting[stream.index].popleft()
        finally:
            self._waiting.pop(stream.index, None)  # nobody waits for the rest

    def _next(self) -> Any:
        if self._source is None:
            streams = [self._container.streams[index] for index in self._waiting]
            self._source = iter(self._container.demux(streams))
        try:
            return next(self._source, None)
        except UNREADABLE as error:
            self.failed = words(error)
            return None


def begins_s(container: Any) -> float:
    """Where a file's clock starts, in seconds of its timestamps."""
    return (container.start_time or 0) / av.time_base


def words(error: BaseException) -> str:
    """What went wrong, without the path that FFmpeg appends."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]
