"""From files to files: the video beside its report and sheet, whole or not at all, and one sentence for every
mistake.
"""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from vasa.audio import read_audio
from vasa.config import load
from vasa.inference.animate import animate, output_files
from vasa.inference.config import InferRun
from vasa.video import VideoReader, VideoWriter


@pytest.fixture
def files(tmp_path, picture) -> Path:
    """A folder with image.png and audio.wav (0.5 s at 22.05 kHz)."""
    Image.fromarray(picture).save(tmp_path / "image.png")
    tone = 0.3 * np.sin(np.arange(11_025) / 9).astype(np.float32)
    soundfile.write(tmp_path / "audio.wav", tone, 22_050)
    return tmp_path


def run(folder: Path, **options) -> InferRun:
    given = {"image": folder / "image.png", "audio": folder / "audio.wav", "output": folder / "out" / "o.mp4"}
    return InferRun(**{**given, **options})


def test_a_video_with_its_sound_a_report_and_a_sheet(files, talking_face):
    made = animate(run(files, seed=5, emotion="happy"), talking_face)
    reader = VideoReader(made.video)
    assert len(reader) == 13
    with av.open(str(made.video)) as container:
        track = container.streams.audio[0]
        assert (track.codec_context.name, track.rate) == ("aac", 22_050)
        assert float(track.duration * track.time_base) == pytest.approx(0.52, abs=0.005)
        assert container.streams.video[0].codec_context.name == "h264"
        assert "Synthetic" in container.metadata["comment"]
    report = json.loads(made.provenance.read_text())
    assert (report["frames"], report["fps"], report["seed"], report["size"]) == (13, 25, 5, 40)
    assert [len(report["inputs"][name]["sha256"]) for name in ("image", "audio")] == [64, 64]
    assert report["inputs"]["audio"]["name"] == "audio.wav"
    assert str(files) not in made.provenance.read_text()
    assert report["face"]["found_by"] == "whole"
    assert report["config"]["emotion"] == "happy"
    assert report["checkpoint"] == {"folder": "stand-in"}
    assert report["timings"]["frames_per_s"] > 0
    assert Image.open(made.sheet).size[0] > 1000
    assert sorted(path.name for path in made.video.parent.iterdir()) == [
        "INTENDED_USE.md",
        "o.mp4",
        "o.provenance.json",
        "o.sheet.png",
    ]


def test_the_same_run_gives_the_same_bytes(files, talking_face):
    first = animate(run(files, output=files / "1.mp4"), talking_face).video.read_bytes()
    assert animate(run(files, output=files / "2.mp4"), talking_face).video.read_bytes() == first


def test_sound_from_a_video_file_works(files, talking_face):
    with VideoWriter(files / "v.mp4", 32, 32, audio=np.zeros(16_000, np.float32), audio_hz=16_000) as writer:
        for _ in range(25):
            writer.write(np.zeros((32, 32, 3), np.uint8))
    assert len(VideoReader(animate(run(files, audio=files / "v.mp4"), talking_face).video)) >= 25


def sounds(folder: Path, kind: str) -> tuple[np.ndarray, int]:
    """Half a second as a telephone, a shouting recorder and a film mix have it."""
    tone = np.sin(np.arange(24_000) / 30).astype(np.float32)
    if kind == "8 kHz":
        return tone[:4_000] * 0.3, 8_000
    if kind == "clipped":
        return (tone * 5).clip(-1, 1), 48_000
    if kind == "over full scale":
        return tone * 3, 48_000
    silent = np.zeros_like(tone)
    return np.stack([silent, silent, tone * 0.5, tone, silent, silent], 1), 48_000  # 5.1: voice, and rumble


@pytest.mark.parametrize("kind", ["8 kHz", "clipped", "over full scale", "5.1"])
def test_sound_of_any_kind_is_spoken_and_heard(files, talking_face, kind):
    samples, rate_hz = sounds(files, kind)
    soundfile.write(files / "any.wav", samples, rate_hz, subtype="FLOAT")
    video = animate(run(files, audio=files / "any.wav"), talking_face).video
    assert len(VideoReader(video)) in (12, 13)
    heard, heard_hz = read_audio(video)
    assert heard_hz == rate_hz
    spoken = np.abs(np.fft.rfft(heard[: rate_hz // 4]))
    assert np.argmax(spoken) * 4 == pytest.approx(rate_hz / (2 * np.pi * 30), abs=6)
    assert 0.1 < np.abs(heard).max() < 1.2


@pytest.mark.parametrize("kind", ["RGBA", "CMYK", "16 bit", "turned", "gif", "12,000 px"])
def test_a_picture_of_any_kind_speaks(files, talking_face, picture, kind):
    path, image = files / "any.png", Image.fromarray(picture)
    if kind == "RGBA":
        image.putalpha(image.convert("L"))
        image.save(path)
    elif kind == "CMYK":
        image.convert("CMYK").save(path := files / "any.jpg")
    elif kind == "16 bit":
        Image.fromarray(picture[..., 0].astype(np.uint16) * 257).save(path)
    elif kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    elif kind == "gif":
        image.save(path := files / "any.gif", save_all=True, append_images=[image.rotate(90)])
    else:
        image.resize((12_000, 800)).save(path := files / "any.jpg")
    video = animate(run(files, image=path, size=64), talking_face).video
    assert next(iter(VideoReader(video))).shape[:2] in ((40, 40), (64, 64))


@pytest.mark.parametrize(
    "name", ["café.jpg", "photo (1).jpg", "a=b.jpg", "l'ami.png", "a,b.jpg", "фото.jpg", "Frau [2].png"]
)
def test_names_that_break_command_lines(files, talking_face, picture, name):
    Image.fromarray(picture).save(files / name)
    cfg = load(
        "infer", [f"image={files / name}", f"audio={files / 'audio.wav'}", f"output={files / name}.mp4"]
    )
    assert animate(cfg, talking_face).video == files / f"{name}.mp4"


def test_provenance_never_takes_the_name_of_the_users_picture(files):
    made = output_files(run(files, output=files / "image.mp4"))
    assert files / "image.png" not in (made.provenance, made.sheet)


def write_nan(folder: Path) -> Path:
    soundfile.write(folder / "nan.wav", np.full(800, np.nan, np.float32), 16_000, subtype="FLOAT")
    return folder / "nan.wav"


MISTAKES = [
    ({"image": lambda d: d / "none.jpg"}, FileNotFoundError, "none.jpg' does not exist"),
    ({"image": lambda d: d / "audio.wav"}, ValueError, "audio.wav' is not a picture"),
    ({"audio": lambda d: d / "none.wav"}, FileNotFoundError, "none.wav does not exist"),
    ({"audio": lambda d: d / "image.png"}, ValueError, "image.png .*(no sound track|not audio)"),
    ({"audio": lambda d: (d / "e.wav").touch() or d / "e.wav"}, ValueError, "e.wav is empty"),
    ({"audio": write_nan}, ValueError, "nan.wav contains NaN"),
    ({"output": lambda d: d / "o.gif"}, ValueError, "ending in .mp4"),
    ({"output": lambda d: d / "audio.wav" / "o.mp4"}, ValueError, "not a folder"),
    ({"emotion": lambda d: "joyful"}, ValueError, "emotion is 'joyful'; wanted one of neutral"),
    ({"gaze_yaw": lambda d: 60.0}, ValueError, "gaze_yaw is 60 degrees .* wanted -28 to 28 degrees"),
    ({"distance": lambda d: 9.0}, ValueError, "distance is 9; wanted 0.7 to 1.4"),
]


@pytest.mark.parametrize(("options", "error", "words"), MISTAKES, ids=[words for _, _, words in MISTAKES])
def test_every_mistake_is_one_sentence_and_leaves_nothing(files, talking_face, options, error, words):
    cfg = run(files, **{name: value(files) for name, value in options.items()})
    before = sorted(files.rglob("*"))
    with pytest.raises(error, match=words) as caught:
        animate(cfg, talking_face)
    assert "\n" not in str(caught.value)
    assert sorted(files.rglob("*")) == before


def test_no_face_leaves_nothing(files, talking_face):
    Image.new("RGB", (64, 64)).save(files / "black.png")
    with pytest.raises(ValueError, match="black.png': no face"):
        animate(run(files, image=files / "black.png"), talking_face)
    assert not (files / "out").exists()


def test_a_missing_checkpoint_is_named(files):
    with pytest.raises(FileNotFoundError, match="nowhere.*has no bundle.json"):
        animate(run(files, checkpoint=files / "nowhere"))


def test_a_failure_in_the_middle_leaves_no_video(files, talking_face, monkeypatch):
    def fail(appearance, motion):
        raise FloatingPointError("a frame is not finite")

    monkeypatch.setattr(talking_face.face, "render", fail)
    with pytest.raises(FloatingPointError):
        animate(run(files), talking_face)
    assert [path for path in files.rglob("*") if path.is_file() and path.suffix in (".mp4", ".json")] == []
