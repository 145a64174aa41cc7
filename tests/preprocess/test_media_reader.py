"""Reading a recording once: any rate becomes 25 per second by the timestamps; sound stays where it was."""

import tracemalloc

import av
import numpy as np
import pytest
from recordings import clicks, ffmpeg, hum, number_of, numbered, record, record_sound

from vasa.preprocess.container import UnusableInputError
from vasa.preprocess.media import MediaReader
from vasa.preprocess.picture import Picture
from vasa.video import VideoReader, resample_indices


def read(path, sound=None, need_audio=False):
    with MediaReader(path, sound, need_audio) as reader:
        pictures = [(tick, number_of(picture.luma)) for tick, picture in reader.pictures()]
        return pictures, reader


@pytest.mark.parametrize("fps", [12.5, 24000 / 1001, 30000 / 1001, 30.0, 50.0])
def test_any_steady_rate_becomes_25_by_the_nearest_frame(tmp_path, fps):
    count = round(2 * fps)
    path = record(tmp_path / "a.mp4", numbered(count), fps=fps)
    pictures, reader = read(path)
    stored = VideoReader(path)
    assert [tick for tick, _ in pictures] == list(range(50))
    assert [n for _, n in pictures] == resample_indices(stored.times_s, stored.duration_s).tolist()
    assert reader.facts.fps == pytest.approx(fps, rel=0.002)
    assert (reader.facts.width, reader.facts.height, reader.facts.seconds) == (64, 48, 2.0)


def test_a_variable_rate_is_read_by_its_timestamps(tmp_path):
    times = np.cumsum(np.random.default_rng(3).uniform(0.01, 0.12, 60))
    path = record(tmp_path / "a.mkv", numbered(60), times=times - times[0], fps=30)
    pictures, _ = read(path)
    stored = np.array([n for _, n in pictures])
    wanted = np.abs((times - times[0])[None] - np.arange(len(stored))[:, None] / 25).argmin(1)
    near = np.abs((times - times[0])[stored] - np.arange(len(stored)) / 25)
    assert (np.abs(stored - wanted) <= 1).all() and near.max() <= 0.06 + 1e-3
    assert (stored == wanted).mean() > 0.95, "but for what milliseconds of the container round"


def test_a_gap_is_left_out_of_the_numbers_and_not_filled(tmp_path):
    times = np.concatenate([np.arange(20) / 25, 5 + np.arange(20) / 25])
    pictures, _ = read(record(tmp_path / "a.mkv", numbered(40), times=times))
    ticks = [tick for tick, _ in pictures]
    assert ticks == [*range(20), *range(125, 145)]
    assert [n for _, n in pictures] == list(range(40))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_sound_stays_with_its_picture(tmp_path, suffix, rate):
    at = [0.4, 1.0, 1.72]
    path = record(tmp_path / f"a{suffix}", numbered(50), sound=clicks(at, 2.0, rate), sound_hz=rate)
    with MediaReader(path) as reader:
        assert len(list(reader.pictures())) == 50
        sound = reader.sound.cut(0, 50 * 640)
    loud = np.flatnonzero(np.abs(sound) > 0.3)
    for time in at:
        begin = loud[loud > (time - 0.02) * 16_000][0] / 16_000
        assert abs(begin - time) < 0.002
    assert np.abs(sound[: round(0.39 * 16_000)]).max() < 0.05


@pytest.mark.parametrize("start", [-0.3, 0.7])
def test_tracks_that_start_apart_are_lined_up_by_the_files_clock(tmp_path, start):
    """A click at 1.2 s of the sound is heard at 1.2 s + start of the pictures."""
    times = np.arange(50) / 25 + max(0.0, -start)
    sound = clicks([1.2], 2.4)
    path = record(tmp_path / "a.mkv", numbered(50), times=times, sound=sound, sound_start=max(0.0, start))
    with MediaReader(path) as reader:
        ticks = [tick for tick, _ in reader.pictures()]
        heard = reader.sound.cut(0, 50 * 640)
    begin = np.flatnonzero(np.abs(heard) > 0.3)[0] / 16_000
    assert begin == pytest.approx(1.2 + start, abs=0.002)
    assert ticks[0] == (0 if start < 0 else 17), "pictures before the sound are not used"
    assert ("begins" in " ".join(reader.facts.notes)) == (start > 0)


def test_a_sound_file_of_its_own_is_taken(tmp_path):
    video = record(tmp_path / "a.mp4", numbered(50), sound=hum(2.0))
    other = record_sound(tmp_path / "b.m4a", clicks([1.0], 2.0))
    with MediaReader(video, other) as reader:
        assert len(list(reader.pictures())) == 50
        sound = reader.sound.cut(0, 50 * 640)
    assert np.abs(sound[:15_000]).max() < 0.05
    assert abs(np.flatnonzero(np.abs(sound) > 0.3)[0] - 16_000) < 32


def test_the_video_ends_with_its_sound(tmp_path):
    path = record(tmp_path / "a.mkv", numbered(50), sound=hum(1.2))
    pictures, reader = read(path, need_audio=True)
    assert len(pictures) == 30
    assert any("sound ends after 1.20 s" in note for note in reader.facts.notes)
    silent, reader = read(path, need_audio=False)
    assert len(silent) == 50
    assert np.abs(reader.sound.cut(35 * 640, 640)).max() == 0


def test_a_video_without_sound_is_refused_unless_it_need_not_have_any(tmp_path):
    path = record(tmp_path / "a.mp4", numbered(10))
    with pytest.raises(UnusableInputError, match="no sound track") as raised:
        MediaReader(path)
    assert raised.value.status == "no_audio"
    assert len(read(path)[0]) == 10


def test_sound_that_was_forgotten_is_gone_and_numbers_stay(tmp_path):
    path = record(tmp_path / "a.mkv", numbered(200), sound=clicks([1.0, 7.0], 8.0))
    with MediaReader(path) as reader:
        for tick, _ in reader.pictures():
            reader.sound.forget((tick - 25) * 640)
        held = sum(map(len, reader.sound._held))
        sound = reader.sound.cut(172 * 640, 10 * 640)
    assert held < 4 * 16_000
    assert abs(np.flatnonzero(np.abs(sound) > 0.3)[0] - (7 * 16_000 - 172 * 640)) < 32


def test_memory_is_flat_over_a_recording(tmp_path):
    """Nobody holds pictures: 20 s of them would be 14 MB here."""
    frames = np.random.default_rng(0).integers(0, 255, (1, 120, 160, 3), np.uint8).repeat(500, 0)
    path = record(tmp_path / "a.mkv", frames, sound=hum(20.0))
    tracemalloc.start()
    with MediaReader(path) as reader:
        for tick, _ in reader.pictures():
            reader.sound.forget((tick - 25) * 640)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_pictures_are_upright(tmp_path, degrees):
    frames = np.zeros((5, 48, 80, 3), np.uint8)
    frames[:, :24, :40] = 220
    ffmpeg(
        "-display_rotation",
        degrees,
        "-i",
        record(tmp_path / "a.mp4", frames),
        "-c",
        "copy",
        tmp_path / "b.mp4",
    )
    wanted = next(iter(VideoReader(tmp_path / "b.mp4")))
    with MediaReader(tmp_path / "b.mp4", None, False) as reader:
        _, picture = next(reader.pictures())
        assert (picture.rgb() == wanted).all()
        assert picture.rgb().shape == ((80, 48, 3) if degrees != 180 else (48, 80, 3))


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv444p", "yuv422p"])
def test_other_formats_of_pixels_are_brought_to_one(tmp_path, pixels):
    frames = numbered(12)
    path = record(tmp_path / "a.mkv", frames, pixels=pixels)
    pictures, _ = read(path)
    assert [n for _, n in pictures] == list(range(12))


def test_pixels_that_are_not_square_become_so(tmp_path):
    path = record(tmp_path / "a.mp4", numbered(5))
    ffmpeg("-i", path, "-c", "copy", "-aspect", "8:3", tmp_path / "wide.mp4")
    with MediaReader(tmp_path / "wide.mp4", None, False) as reader:
        _, picture = next(reader.pictures())
    assert (picture.width, picture.height) == (128, 48)


def test_planes_become_the_same_rgb_as_the_whole_frame(tmp_path):
    """Of a part, too, and whatever the matrix and range of the colours."""
    frames = np.random.default_rng(1).integers(0, 255, (1, 6, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    path = record(tmp_path / "a.mp4", frames)
    ffmpeg("-i", path, "-vf", "scale=out_color_matrix=bt709:out_range=full", "-colorspace", "bt709",
           "-color_range", "pc", tmp_path / "b.mp4")  # fmt: skip
    for name in ("a.mp4", "b.mp4"):
        with av.open(str(tmp_path / name)) as container:
            frame = next(container.decode(video=0))
            whole = frame.to_ndarray(format="rgb24")
            picture = Picture.of(frame)
        assert (picture.rgb() == whole).all()
        assert (picture.part(8, 16, 40, 48).rgb() == whole[16:48, 8:40]).all()
        assert np.abs(whole.astype(int) - frames[0]).mean() < 25


def test_damage_leaves_what_was_before_it_and_what_comes_after(tmp_path):
    path = record(tmp_path / "a.mp4", numbered(100), gop=10)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        place = packets[45].pos
        size = packets[45].size
    data[place + 5 : place + size] = bytes(255 - b for b in data[place + 5 : place + size])
    (tmp_path / "b.mp4").write_bytes(data)
    pictures, reader = read(tmp_path / "b.mp4")
    assert [n for tick, n in pictures if tick < 45] == list(range(45))
    assert [n for tick, n in pictures if tick >= 51] == list(range(51, 100))
    ticks = np.array([tick for tick, _ in pictures])
    assert (np.diff(ticks) > 1).sum() == 1, "one break"
    assert any("damaged" in note for note in reader.facts.notes)


def test_a_file_that_ends_early_is_read_up_to_there(tmp_path):
    path = record(tmp_path / "a.mp4", numbered(100), gop=10)
    ffmpeg("-i", path, "-c", "copy", "-movflags", "+faststart", tmp_path / "fast.mp4")
    whole = (tmp_path / "fast.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    pictures, reader = read(tmp_path / "cut.mp4")
    assert 25 < len(pictures) < 90 and [n for _, n in pictures] == list(range(len(pictures)))
    assert any("of the 4.0 s it claims to last" in note for note in reader.facts.notes)


def test_a_playlist_opens_nothing(tmp_path):
    """A text file that names others is no video, whatever they hold."""
    record(tmp_path / "real.mp4", numbered(10))
    for text in (f"ffconcat version 1.0\nfile '{tmp_path}/real.mp4'\n", "#EXTM3U\n#EXTINF:1,\nreal.mp4\n"):
        (tmp_path / "list.mp4").write_text(text)
        with (
            pytest.raises(UnusableInputError) as raised,
            MediaReader(tmp_path / "list.mp4", None, False) as r,
        ):
            list(r.pictures())
        assert raised.value.status == "unreadable"
