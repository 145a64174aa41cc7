"""Video in and out: what is written is read back frame for frame, in sync, upright, and never half."""

import hashlib
import os
import signal
import subprocess
from importlib.util import find_spec

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from vasa.video import (
    SYNTHETIC_NOTE,
    VideoReader,
    VideoWriter,
    check_video_path,
    frame_count,
    resample_indices,
    spread,
    write_contact_sheet,
)

decord = pytest.mark.skipif(find_spec("decord") is None, reason="decord has no wheel for this machine")
BACKENDS = ["pyav", pytest.param("decord", marks=decord)]


def numbered_frame(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A frame that says its number: 8 grey bars, bright where a bit of the number is set."""
    bits = [(number >> bit) & 1 for bit in range(8)]
    return np.repeat(np.repeat(np.array(bits, np.uint8)[None, :] * 200 + 20, width // 8, 1), height, 0)[
        ..., None
    ].repeat(3, 2)


def number_of(frame: np.ndarray) -> int:
    bars = frame[:, :, 0].mean(0).reshape(8, -1).mean(1)
    return int(sum(1 << bit for bit, level in enumerate(bars) if level > 120))


def write_numbered(path, count, **options):
    with VideoWriter(path, 48, 64, **options) as writer:
        for number in range(count):
            writer.write(numbered_frame(number))


def ffmpeg(*arguments):
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], check=True)


def click(at_s: float, seconds: float, rate_hz: int) -> np.ndarray:
    sound = np.zeros(round(seconds * rate_hz), np.float32)
    sound[round(at_s * rate_hz) :][: rate_hz // 100] = 0.9
    return sound


@pytest.mark.parametrize(
    ("seconds", "count"), [(0.001, 1), (0.0199, 1), (0.06, 2), (1.0, 25), (10.019, 250), (10.02, 251)]
)
def test_frame_count_rounds_half_up_and_is_at_least_one(seconds, count):
    assert frame_count(seconds) == count


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_written_frame_is_read_back_in_order(tmp_path, backend):
    write_numbered(tmp_path / "a.mp4", 73)
    reader = VideoReader(tmp_path / "a.mp4", backend)
    assert len(reader) == 73
    assert [number_of(frame) for frame in reader] == list(range(73))
    assert reader.duration_s == pytest.approx(2.92)
    np.testing.assert_allclose(reader.times_s, np.arange(73) / 25, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_reading_from_the_middle_gives_the_same_frames(tmp_path, backend):
    write_numbered(tmp_path / "a.mp4", 60)
    frames = VideoReader(tmp_path / "a.mp4", backend).resampled(start=37, stop=43)
    assert [number_of(frame) for frame in frames] == list(range(37, 43))


def test_colours_survive_the_round_trip(tmp_path):
    frame = np.full((48, 64, 3), (200, 150, 120), np.uint8)
    with VideoWriter(tmp_path / "a.mp4", 48, 64) as writer:
        writer.write(frame)
    # 8-bit limited-range YUV cannot be exact; a wrong colour matrix would be off by 8 and more
    assert np.abs(next(iter(VideoReader(tmp_path / "a.mp4"))).astype(int) - frame).max() <= 3


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 12_345])
def test_sound_is_whole_and_in_sync(tmp_path, rate_hz):
    path, seconds, count = tmp_path / "a.mp4", 2.93, 73
    write_numbered(path, count, audio=click(1.0, seconds, rate_hz), audio_hz=rate_hz)
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        assert track.codec_context.name == "aac"
        decoded = [(frame.time, frame.to_ndarray().mean(0)) for frame in container.decode(track)]
        rate = track.rate
    sound = np.concatenate([samples for _, samples in decoded])
    first_loud = decoded[0][0] + np.argmax(np.abs(sound) > 0.4) / rate
    assert first_loud == pytest.approx(1.0, abs=0.003)
    assert len(sound) / rate >= seconds - 1 / rate  # nothing cut off; aac rounds up to its own blocks
    assert len(sound) / rate < seconds + 0.08
    assert len(VideoReader(path)) == count


def test_short_sound_is_continued_by_silence_to_the_end_of_the_picture(tmp_path):
    write_numbered(tmp_path / "a.mp4", 50, audio=click(0.1, 0.5, 16_000), audio_hz=16_000)
    with av.open(str(tmp_path / "a.mp4")) as container:
        track = container.streams.audio[0]
        assert float(track.duration * track.time_base) >= 2.0 - 1e-3


def test_same_input_gives_the_same_bytes(tmp_path):
    digests = set()
    for name in ("a.mp4", "b.mp4"):
        write_numbered(tmp_path / name, 20, audio=click(0.2, 0.8, 16_000), audio_hz=16_000)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_file_says_that_it_is_synthetic(tmp_path):
    write_numbered(tmp_path / "a.mp4", 2, audio=click(0, 0.1, 16_000), audio_hz=16_000)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.metadata["comment"] == SYNTHETIC_NOTE


@pytest.mark.parametrize("name", ["-dash.mp4", "a:b%03d.mp4", "photo (1) 'q' é фото.mp4", "x=1,y;z.mp4"])
def test_any_file_name_works(tmp_path, name):
    write_numbered(tmp_path / name, 3, audio=click(0, 0.1, 16_000), audio_hz=16_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    assert len(VideoReader(tmp_path / name)) == 3


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_display_rotation_is_applied(tmp_path, backend, degrees):
    corner = np.zeros((64, 96, 3), np.uint8)
    corner[32:, :40] = 255
    with VideoWriter(tmp_path / "a.mp4", 64, 96) as writer:
        for _ in range(3):
            writer.write(corner)
    ffmpeg("-display_rotation", degrees, "-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "turned.mp4")
    frame = next(iter(VideoReader(tmp_path / "turned.mp4", backend)))
    wanted = np.rot90(corner, degrees // 90)
    assert frame.shape == wanted.shape
    assert np.abs(frame.astype(int) - wanted).mean() < 4


@decord
def test_turned_frames_that_decord_misreads_are_refused(tmp_path):
    write_numbered(tmp_path / "a.mp4", 3)
    ffmpeg("-display_rotation", 90, "-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "turned.mp4")
    with pytest.raises(ValueError, match="use 'pyav'"):
        VideoReader(tmp_path / "turned.mp4", "decord")


def test_resampling_takes_the_nearest_frame_in_time():
    times = np.array([0.0, 0.05, 0.06, 0.20])  # a variable rate
    assert resample_indices(times, 0.24).tolist() == [0, 1, 2, 2, 3, 3]


def test_steady_rate_from_30_and_from_variable_fps(tmp_path):
    write_numbered(tmp_path / "a.mp4", 90, fps=30)
    reader = VideoReader(tmp_path / "a.mp4")
    numbers = [number_of(frame) for frame in reader.resampled()]
    assert len(numbers) == frame_count(3.0)
    assert max(abs(number / 30 - k / 25) for k, number in enumerate(numbers)) <= 0.5 / 30 + 1e-6
    ffmpeg(
        "-i",
        tmp_path / "a.mp4",
        "-vf",
        "select='not(between(n,30,59)*mod(n,3))'",
        "-fps_mode",
        "vfr",
        tmp_path / "v.mp4",
    )
    variable = VideoReader(tmp_path / "v.mp4")
    assert len(variable) == 70
    assert variable.duration_s == pytest.approx(3.0, abs=0.04)
    numbers = [number_of(frame) for frame in variable.resampled()]
    assert max(abs(number / 30 - k / 25) for k, number in enumerate(numbers)) <= 1.5 / 30 + 1e-6


def test_damaged_tail_repeats_the_last_good_frame(tmp_path, caplog):
    write_numbered(tmp_path / "a.mp4", 50)
    ffmpeg("-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "a.ts")
    data = bytearray((tmp_path / "a.ts").read_bytes())
    (tmp_path / "cut.ts").write_bytes(data[: len(data) * 3 // 4])
    reader = VideoReader(tmp_path / "cut.ts")
    frames = list(reader)
    assert 10 < len(frames) == len(reader) <= 50
    assert number_of(frames[5]) == 5


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda d: d / "none.mp4", FileNotFoundError, "does not exist"),
        (lambda d: (d / "text.mp4").write_text("hello") and d / "text.mp4", ValueError, "cannot be opened"),
        (
            lambda d: (ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", d / "s.m4a"), d / "s.m4a")[1],
            ValueError,
            "no picture track",
        ),
    ],
)
def test_what_is_not_a_video_is_refused_in_one_sentence(tmp_path, make, error, words):
    with pytest.raises(error, match=words):
        VideoReader(make(tmp_path))


def test_unknown_backend_is_refused(tmp_path):
    with pytest.raises(ValueError, match="pyav, decord"):
        VideoReader(tmp_path, "opencv")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.avi", "ending in .mp4"),
        ("a", "ending in .mp4"),
        ("file.txt/a.mp4", "not a folder"),
        ("folder.mp4", "is a folder"),
    ],
)
def test_unusable_output_names_are_refused_before_work(tmp_path, name, words):
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ValueError, match=words):
        check_video_path(tmp_path / name)


def test_odd_sizes_and_wrong_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match="even width and height"):
        VideoWriter(tmp_path / "a.mp4", 47, 64)
    with pytest.raises(ValueError, match="wanted uint8"), VideoWriter(tmp_path / "a.mp4", 48, 64) as writer:
        writer.write(np.zeros((48, 64, 3), np.float32))
    assert sorted(path.name for path in tmp_path.iterdir()) == []


def test_an_exception_leaves_no_file_and_keeps_the_old_one(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="stop"), VideoWriter(tmp_path / "a.mp4", 48, 64) as writer:
        writer.write(numbered_frame(0))
        raise RuntimeError("stop")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"old"


def test_a_killed_encoder_is_reported_and_leaves_no_file(tmp_path):
    big = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    with (
        pytest.raises(OSError, match="encoder was killed by signal 9"),
        VideoWriter(tmp_path / "a.mp4", 480, 640) as writer,
    ):
        os.kill(writer._encoder._process.pid, signal.SIGKILL)
        for _ in range(20):
            writer.write(big)
    assert sorted(path.name for path in tmp_path.iterdir()) == []


def test_a_machine_without_encoder_is_told_so(tmp_path, monkeypatch):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with (
        pytest.raises(OSError, match="no video encoder .* install ffmpeg"),
        VideoWriter(tmp_path / "a.mp4", 48, 64),
    ):
        pass
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_no_frames_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no frame"), VideoWriter(tmp_path / "a.mp4", 48, 64):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == []


def test_contact_sheet_holds_every_picture(tmp_path):
    pictures = [np.full((40 + 10 * i, 50, 3), 60 + 40 * i, np.uint8) for i in range(4)]
    write_contact_sheet(tmp_path / "sheet.png", pictures, columns=3, cell_px=64)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (2 * 68 + 4, 3 * 68 + 4, 3)
    assert [int(sheet[4 + 68 * (i // 3) + 20, 4 + 68 * (i % 3) + 20, 0]) for i in range(4)] == [
        60,
        100,
        140,
        180,
    ]


@pytest.mark.parametrize(
    ("frames", "count", "wanted"), [(1, 5, [0]), (3, 5, [0, 1, 2]), (100, 3, [0, 50, 99])]
)
def test_spread_includes_both_ends(frames, count, wanted):
    assert spread(frames, count) == wanted
