"""Waveforms: every file that people have, at any rate, or one sentence why not."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from vasa import audio
from vasa.audio import (
    align_features,
    check_waveform,
    fit_length,
    frames_for,
    read_audio,
    read_blocks,
    resample,
)
from vasa.records import AUDIO_HZ


def tone(seconds: float, rate_hz: int, hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def write_container(
    path: Path, sound: np.ndarray, rate_hz: int, codec: str, with_picture: bool = False
) -> Path:
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=rate_hz, layout="mono")
        if with_picture:
            picture = container.add_stream("libx264", rate=25)
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
            for _ in range(10):
                frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
        for start in range(0, len(sound), 1024):
            frame = av.AudioFrame.from_ndarray(
                sound[None, start : start + 1024], format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = rate_hz, start
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "la voix (1) ' é=b.wav"])
def test_files_that_soundfile_knows(tmp_path: Path, name: str) -> None:
    sound = tone(0.5, 22_050)
    soundfile.write(tmp_path / name, np.stack([sound, sound], 1), 22_050)
    read, rate = read_audio(tmp_path / name)
    assert rate == 22_050
    assert read.dtype == np.float32
    assert read.ndim == 1
    # Lossy formats pad with up to about 0.1 s.
    assert len(sound) <= len(read) <= len(sound) + 2500
    spectrum = np.abs(np.fft.rfft(read))
    assert np.fft.rfftfreq(len(read), 1 / rate)[spectrum.argmax()] == pytest.approx(440, abs=4)


@pytest.mark.parametrize(
    ("name", "codec", "picture"),
    [("a.m4a", "aac", False), ("b.mp4", "aac", True), ("c.mkv", "libopus", False)],
)
def test_containers_through_pyav(tmp_path: Path, name: str, codec: str, picture: bool) -> None:
    sound = tone(1.0, 48_000)
    read, rate = read_audio(write_container(tmp_path / name, sound, 48_000, codec, picture))
    assert rate == 48_000
    assert abs(len(read) - len(sound)) < 4_800
    assert np.sqrt((read**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE"])
def test_every_sample_format_reads_alike(tmp_path: Path, subtype: str) -> None:
    sound = tone(0.1, 16_000)
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype=subtype)
    read, _ = read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(read, sound, atol=0.01 if subtype == "PCM_U8" else 1e-4)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(0.2, 16_000), tone(0.2, 16_000, 1000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav")[0], (left + right) / 2, atol=1e-6)


def test_a_long_file_is_read_in_blocks_that_join_to_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "BLOCK_SECONDS", 0.25)
    sound = np.random.default_rng(0).uniform(-1, 1, 12_345).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 8_000, subtype="FLOAT")
    blocks = [block for block, _ in read_blocks(tmp_path / "a.wav")]
    assert max(map(len, blocks)) == 2000
    np.testing.assert_array_equal(np.concatenate(blocks), sound)


def test_hours_of_sound_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, tone(8.0, 8000), 8000, subtype="FLOAT")
    whole, _ = read_audio(path)
    monkeypatch.setattr(audio, "BLOCK_SECONDS", 0.5)
    monkeypatch.setattr(audio, "IN_MEMORY", 10_000)
    mapped, rate = read_audio(path)
    assert isinstance(mapped, np.memmap) and not isinstance(whole, np.memmap) and rate == 8000
    assert np.array_equal(mapped, whole)
    assert np.array_equal(audio.check_waveform(mapped, rate), whole)


def test_what_is_not_sound_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.wav does not exist"):
        read_audio(tmp_path / "nothing.wav")
    with pytest.raises(ValueError, match="is a folder"):
        read_audio(tmp_path)
    (tmp_path / "empty.wav").touch()
    with pytest.raises(ValueError, match="is empty"):
        read_audio(tmp_path / "empty.wav")
    (tmp_path / "text.mp3").write_text("not a song " * 200)
    with pytest.raises(ValueError, match="not audio"):
        read_audio(tmp_path / "text.mp3")
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 16_000)
    with pytest.raises(ValueError, match="holds no samples"):
        read_audio(tmp_path / "none.wav")
    sound = tone(0.1, 16_000)
    sound[7] = np.nan
    soundfile.write(tmp_path / "nan.wav", sound, 16_000, subtype="FLOAT")
    with pytest.raises(ValueError, match="NaN"):
        read_audio(tmp_path / "nan.wav")


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        picture = container.add_stream("libx264", rate=25)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        container.mux(
            picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24"))
        )
        container.mux(picture.encode(None))
    with pytest.raises(ValueError, match="no sound track"):
        read_audio(tmp_path / "mute.mp4")


def test_waveforms_of_callers_are_checked_and_scaled() -> None:
    np.testing.assert_allclose(check_waveform(np.array([-32768, 0, 16384], np.int16), 16_000), [-1, 0, 0.5])
    np.testing.assert_allclose(check_waveform(np.array([0, 128, 192], np.uint8), 16_000), [-1, 0, 0.5])
    np.testing.assert_allclose(
        check_waveform(torch.tensor([[0.2, 0.4], [0.4, 0.0]]).repeat(1, 8), 8_000)[:2], [0.3, 0.2]
    )
    for wrong, what in (
        (np.zeros(0), "empty"),
        (np.array([np.inf]), "NaN or infinite"),
        (np.zeros((20, 20)), "shape"),
        (np.array(["a"]), "type"),
    ):
        with pytest.raises(ValueError, match=what):
            check_waveform(wrong, 16_000)
    with pytest.raises(ValueError, match="sample rate is 0"):
        check_waveform(np.zeros(5), 0)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 44_056, 48_000, 96_000, 192_000])
def test_resampling_keeps_a_tone_and_its_time(rate_hz: int) -> None:
    sound = resample(tone(1.0, rate_hz), rate_hz)
    assert sound.dtype == np.float32
    assert abs(len(sound) - AUDIO_HZ) <= 1
    expected = tone(1.0, AUDIO_HZ)
    middle = slice(2000, 14_000)
    np.testing.assert_allclose(sound[middle], expected[middle], atol=5e-3)


def test_resampling_without_torchaudio_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    sound = resample(tone(0.5, 44_100, 1500), 44_100)
    monkeypatch.setitem(sys.modules, "torchaudio.functional", None)
    other = resample(tone(0.5, 44_100, 1500), 44_100)
    assert len(other) == len(sound)
    np.testing.assert_allclose(other[500:-500], sound[500:-500], atol=5e-3)


def test_resampling_removes_what_the_lower_rate_cannot_hold() -> None:
    assert np.abs(resample(tone(0.5, 48_000, 12_000), 48_000)[500:-500]).max() < 0.02


def test_frames_are_counted_to_the_nearest_and_at_least_one() -> None:
    assert frames_for(1, 48_000) == 1
    assert frames_for(16_000 * 10, 16_000) == 250
    assert frames_for(13_119, 16_000) == 20  # 20.498 frames
    assert frames_for(13_120, 16_000) == 21  # 20.5 frames
    assert frames_for(44_100 * 3600, 44_100) == 90_000


def test_lengths_are_cut_or_filled_with_silence() -> None:
    np.testing.assert_array_equal(fit_length(np.arange(4.0), 2), [0, 1])
    np.testing.assert_array_equal(fit_length(np.ones(2), 4), [1, 1, 0, 0])


def test_features_are_aligned_end_on_end() -> None:
    ramp = torch.linspace(0, 1, 99)[:, None].repeat(1, 3)
    aligned = align_features(ramp, 50)
    assert aligned.shape == (50, 3)
    torch.testing.assert_close(aligned[:, 1], torch.linspace(0, 1, 50), atol=1e-5, rtol=0)
    assert align_features(ramp, 99) is ramp


@pytest.mark.media
def test_real_recordings_are_read(media: Path) -> None:
    for path in sorted((media / "audio").iterdir()):
        sound, rate = read_audio(path)
        assert len(sound) > rate
        assert np.abs(sound).max() > 0.01


@pytest.mark.parametrize(("channels", "voice"), [(6, 0.293), (8, 0.261)])
def test_surround_is_heard_by_its_centre_and_without_its_rumble(
    tmp_path: Path, channels: int, voice: float
) -> None:
    for loud, wanted in ((2, voice), (3, 0.0), (0, voice * 0.5**0.5)):
        sound = np.zeros((4800, channels), np.float32)
        sound[:, loud] = 1.0
        soundfile.write(tmp_path / "film.wav", sound, 48_000, subtype="FLOAT")
        mono, _ = read_audio(tmp_path / "film.wav")
        np.testing.assert_allclose(mono, wanted, atol=1e-3)
    soundfile.write(tmp_path / "film.wav", np.ones((4800, channels), np.float32), 48_000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "film.wav")[0], 1.0, atol=1e-6)
