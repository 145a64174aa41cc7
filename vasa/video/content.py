"""What a video shows and sounds like as two hashes that do not depend on its container, and the texts it
carries.

A remux (another container, other tags) keeps both hashes; a new encoding or one changed frame does not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

PLANAR = ("yuv420p", "yuvj420p")


@dataclass(frozen=True, slots=True)
class Content:
    """pictures_sha256: over the decoded frames, size and planes of each, which H.264 defines to the bit.
    sound_sha256: over the coded sound of the first track, since decoders of sound differ in rounding; None
    without sound. tags: texts of the container, names in lower case.
    """

    pictures_sha256: str
    sound_sha256: str | None
    num_frames: int
    tags: dict[str, str]


def content_of(path: str | Path) -> Content:
    """Decodes a whole video, one frame in memory. Raises: FileNotFoundError; ValueError where it is none."""
    import av

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"video {str(path)!r} does not exist; give the path of a video file.")
    pictures, sound, count = hashlib.sha256(), hashlib.sha256(), 0
    try:
        with av.open(str(path.resolve()), metadata_errors="replace") as container:
            if not container.streams.video:
                raise ValueError(f"video {str(path)!r} has no picture track; give a file with one.")
            video, tracks = container.streams.video[0], container.streams.audio
            video.codec_context.thread_count = 1  # frame threads may lose the tail of a damaged file
            for packet in container.demux(video, *tracks[:1]):
                if packet.stream.type == "audio":
                    sound.update(_payload(bytes(packet)))
                    continue
                for frame in video.codec_context.decode(packet):
                    pictures.update(f"{frame.width}x{frame.height}".encode())
                    planar = frame.format.name in PLANAR
                    pictures.update(frame.to_ndarray(format=None if planar else "rgb24").data)
                    count += 1
            tags = {name.lower(): text for name, text in container.metadata.items()}
            return Content(pictures.hexdigest(), sound.hexdigest() if tracks else None, count, tags)
    except av.FFmpegError as error:
        raise ValueError(
            f"video {str(path)!r} cannot be read as one ({error.strerror}); give a video file that plays."
        ) from error


def _payload(packet: bytes) -> bytes:
    """Coded sound without the header that transport streams put before each AAC frame (ADTS)."""
    if len(packet) > 9 and packet[0] == 0xFF and packet[1] & 0xF6 == 0xF0:
        return packet[7 if packet[1] & 1 else 9 :]
    return packet
