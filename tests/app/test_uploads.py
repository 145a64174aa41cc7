"""Limits of what is brought, each in one sentence."""

import numpy as np
import pytest
import soundfile
from PIL import Image

from vasa.app import uploads
from vasa.app.config import AppRun, LimitsConfig
from vasa.app.visits import Visits
from vasa.video import VideoWriter

LIMITS = LimitsConfig(upload_mb=1.0, megapixels=0.1, seconds=1.0)


@pytest.fixture
def visits(tmp_path):
    return Visits(most=2, idle_s=100, root=tmp_path / "root")


@pytest.fixture
def visit(visits):
    return visits.of("a")


def test_pictures_are_bounded_in_pixels_and_must_be_pictures(visits, visit):
    small, large, none = (visits.uploads / name for name in ("small.png", "large.png", "none.png"))
    Image.new("RGB", (64, 64)).save(small)
    Image.new("RGB", (400, 300)).save(large)
    none.write_bytes(b"no picture at all")
    assert uploads.picture(visit, small, LIMITS).name == "small.png"
    with pytest.raises(ValueError, match="large.png has 400x300 pixels, 0 million; wanted at most 0.1"):
        uploads.picture(visit, large, LIMITS)
    with pytest.raises(ValueError, match="is not a picture that Pillow can open"):
        uploads.picture(visit, none, LIMITS)
    with pytest.raises(ValueError, match="There is no portrait"):
        uploads.picture(visit, None, LIMITS)


def test_sounds_are_bounded_in_seconds(visits, visit):
    short, long, empty = (visits.uploads / name for name in ("short.wav", "long.wav", "empty.wav"))
    soundfile.write(short, np.zeros(8000), 16_000)
    soundfile.write(long, np.zeros(17_000), 16_000)
    empty.write_bytes(b"")
    assert uploads.sound(visit, None, LIMITS) is None
    assert uploads.sound(visit, short, LIMITS).name == "short.wav"
    with pytest.raises(ValueError, match="long.wav is longer than 1 s"):
        uploads.sound(visit, long, LIMITS)
    with pytest.raises(ValueError, match="is empty"):
        uploads.sound(visit, empty, LIMITS)


@pytest.mark.parametrize(
    ("frames", "size", "words"),
    [(5, 64, None), (40, 64, "is 2 s long; wanted at most 1 s"), (5, 400, "has 400x400 pixels")],
)
def test_driving_videos_are_bounded_in_both(visits, visit, frames, size, words):
    path = visits.uploads / "driving.mp4"
    with VideoWriter(path, size, size) as writer:
        for _ in range(frames):
            writer.write(np.zeros((size, size, 3), np.uint8))
    if words is None:
        assert uploads.video(visit, path, LIMITS).name == "driving.mp4"
        return
    with pytest.raises(ValueError, match=words):
        uploads.video(visit, path, LIMITS)


@pytest.mark.parametrize(
    "options",
    [{"port": 70_000}, {"size": 77}, {"seconds": 1e6}, {"threads": -1}],
    ids=lambda o: next(iter(o)),
)
def test_options_of_the_page_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AppRun(**options)


@pytest.mark.parametrize("name", ["upload_mb", "megapixels", "seconds", "live_s", "idle_s", "rows", "visits"])
def test_limits_are_checked(name):
    with pytest.raises(ValueError, match=f"{name}=0"):
        LimitsConfig(**{name: 0})
