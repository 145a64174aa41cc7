"""What a visitor brings: pictures, sounds and videos, held to the limits before any network sees them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from vasa.app.config import LimitsConfig
from vasa.app.visits import Visit
from vasa.audio import read_blocks
from vasa.inference.portrait import read_picture
from vasa.video import VideoReader


def taken(visit: Visit, upload: str | Path, limits: LimitsConfig) -> Path:
    """A visitor's file in the visit's folder. Raises: what ``Visit.take`` raises."""
    return visit.take(upload, limits.upload_mb * 1e6)


def picture(visit: Visit, upload: str | Path | None, limits: LimitsConfig) -> Path:
    """A portrait, read once. Raises: ValueError, FileNotFoundError."""
    if upload is None:
        raise ValueError("There is no portrait; choose one, or upload a picture.")
    path = taken(visit, upload, limits)
    try:
        with Image.open(path) as opened:
            _check_pixels(path, *opened.size, limits)
    except (OSError, SyntaxError, Image.DecompressionBombError):
        pass  # read_picture says it better
    read_picture(path)
    return path


def sound(visit: Visit, upload: str | Path | None, limits: LimitsConfig) -> Path | None:
    """A sound, gone through once; None where there is none. Raises: ValueError, FileNotFoundError."""
    if upload is None:
        return None
    path, seconds = taken(visit, upload, limits), 0.0
    for block, rate_hz in read_blocks(path):
        seconds += len(block) / rate_hz
        if seconds > limits.seconds:
            raise ValueError(f"{path.name} is longer than {limits.seconds:g} s; cut it first.")
    return path


def video(visit: Visit, upload: str | Path | None, limits: LimitsConfig) -> Path:
    """A driving video, its first frame read. Raises: ValueError, FileNotFoundError."""
    if upload is None:
        raise ValueError("There is no driving video; upload one.")
    path = taken(visit, upload, limits)
    reader = VideoReader(path)
    if reader.duration_s > limits.seconds:
        raise ValueError(
            f"{path.name} is {reader.duration_s:.0f} s long; wanted at most {limits.seconds:g} s."
        )
    for frame in reader.resampled(stop=1):
        _check_pixels(path, frame.shape[1], frame.shape[0], limits)
    return path


def _check_pixels(path: Path, width: int, height: int, limits: LimitsConfig) -> None:
    if width * height > limits.megapixels * 1e6:
        raise ValueError(
            f"{path.name} has {width}x{height} pixels, {width * height / 1e6:.0f} million; wanted at most "
            f"{limits.megapixels:g} million."
        )
