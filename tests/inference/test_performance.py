"""From options to motion: every way of moving a face, through the same door as speech."""

import csv
import json

import numpy as np
import pytest
import soundfile
from PIL import Image

from vasa.audio import read_audio
from vasa.inference.animate import animate
from vasa.inference.batch import run_list
from vasa.inference.config import InferRun, RegionFiles
from vasa.video import VideoReader, VideoWriter


@pytest.fixture
def files(tmp_path, picture):
    """A folder with image.png, audio.wav (1 s) and film.mp4 (20 frames with another sound)."""
    Image.fromarray(picture).save(tmp_path / "image.png")
    tone = 0.3 * np.sin(np.arange(16_000) / 9).astype(np.float32)
    soundfile.write(tmp_path / "audio.wav", tone, 16_000)
    with VideoWriter(tmp_path / "film.mp4", 60, 80, audio=tone[:12_800], audio_hz=16_000) as writer:
        for number in range(20):
            writer.write(np.full((60, 80, 3), 60 + 5 * number, np.uint8))
    return tmp_path


def run(folder, name="o.mp4", **options):
    given = {
        "image": folder / "image.png",
        "audio": folder / "audio.wav",
        "output": folder / name,
        "size": 64,
    }
    return InferRun(**{**given, **options})


def frames_of(path):
    return np.stack([frame.copy() for frame in VideoReader(path)])


def sound_of(path):
    return read_audio(path)[0]


def test_a_replayed_motion_is_the_same_video_and_silent_without_sound(files, talking_face):
    first = animate(run(files, seed=4, save_motion=True, head_yaw=5), talking_face)
    saved = files / "o.motion.safetensors"
    again = animate(run(files, "again.mp4", audio=None, motion=saved), talking_face)
    assert np.array_equal(frames_of(again.video), frames_of(first.video))
    with pytest.raises(ValueError, match="no sound"):
        sound_of(again.video)
    heard = animate(run(files, "heard.mp4", motion=saved), talking_face)
    assert len(sound_of(heard.video)) == pytest.approx(16_000, abs=1100)


def test_a_driven_video_has_the_drivers_length_and_sound(files, talking_face):
    made = animate(run(files, audio=None, driving=files / "film.mp4"), talking_face)
    assert len(VideoReader(made.video)) == 20
    assert len(sound_of(made.video)) == pytest.approx(12_800, abs=1100)
    other = animate(run(files, "p.mp4", driving=files / "film.mp4"), talking_face)  # audio is only heard
    assert len(VideoReader(other.video)) == 20
    assert np.array_equal(frames_of(other.video), frames_of(made.video))


def test_a_region_of_a_saved_motion_replaces_that_of_speech(files, talking_face):
    animate(run(files, "still.mp4", audio=None, driving=files / "film.mp4", save_motion=True), talking_face)
    still = files / "still.motion.safetensors"
    spoken = animate(run(files, seed=4), talking_face)
    nodding = animate(run(files, "n.mp4", seed=4, regions=RegionFiles(lips=still)), talking_face)
    jaw, held = (frames_of(video)[:, :8, :, 1] for video in (spoken.video, nodding.video))
    assert jaw.max() > 150 and held.max() < 20
    head = animate(run(files, "h.mp4", seed=4, regions=RegionFiles(head=still)), talking_face)
    yaw = frames_of(head.video)[:, :8, :, 0].mean((1, 2))
    assert np.ptp(yaw) < 2


def test_the_face_alone_under_a_turning_head(files, talking_face):
    """only=dynamics composes with a track of the head: what turns is the track alone."""
    with (files / "spin.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["time", "head_yaw"], [0, -20], [1, 20]])
    made = animate(run(files, only="dynamics", controls=files / "spin.csv", motion_csv=True), talking_face)
    with (files / "o.motion.csv").open(newline="") as file:
        yaw = np.array([float(row["yaw"]) for row in csv.DictReader(file)])
    np.testing.assert_allclose(np.diff(yaw), 1.6, atol=0.05)
    assert frames_of(made.video)[:, :8, :, 1].max() > 150


def test_a_video_as_image_keeps_its_size_and_lasts_as_long_as_the_sound(files, talking_face):
    made = animate(run(files, image=files / "film.mp4"), talking_face)
    assert frames_of(made.video).shape == (25, 60, 80, 3)
    with pytest.raises(ValueError, match="picture stay; the option only goes with"):
        animate(run(files, image=files / "film.mp4", only="pose"), talking_face)


def test_editing_options_are_columns_of_a_list(files, talking_face):
    (files / "list.csv").write_text(
        "name,image,audio,driving,paste,regions.head\n"
        "a,image.png,audio.wav,,true,film.mp4\n"
        "b,image.png,,film.mp4,,\n"
    )
    made = run_list(InferRun(list=files / "list.csv", size=64), talking_face)
    assert [len(VideoReader(video)) for video in made] == [25, 20]
    assert frames_of(made[0]).shape[1:] == (48, 40, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"only": "lips"}, "only is 'lips'; wanted one of all, pose, dynamics"),
        ({"keep": "head+ears"}, "keep names ears; wanted some of head"),
        ({"driving": "a.mp4", "motion": "b"}, "give one, and regions of the other"),
    ],
)
def test_options_that_mean_nothing_are_one_sentence(files, options, words):
    with pytest.raises(ValueError, match=words):
        run(files, **options)


@pytest.mark.parametrize(
    ("output", "options"),
    [
        ("film.mp4", {"driving": "film.mp4"}),
        ("film.mp4", {"image": "film.mp4"}),
        ("o.mp4", {"motion": "o.motion.safetensors", "save_motion": True}),
    ],
)
def test_no_output_replaces_a_file_that_goes_in(files, talking_face, output, options):
    animate(run(files, save_motion=True), talking_face)
    before = {path: path.read_bytes() for path in files.iterdir()}
    named = {name: files / value if isinstance(value, str) else value for name, value in options.items()}
    with pytest.raises(ValueError, match="would replace"):
        animate(run(files, output, **named), talking_face)
    rows = [{"name": output.removesuffix(".mp4"), "audio": "audio.wav", "image": "image.png", **options}]
    (files / "l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match="1 of 1 rows failed"):
        run_list(InferRun(list=files / "l.jsonl", size=64), talking_face)
    assert "would replace" in (files / "failed.csv").read_text()
    assert {path: path.read_bytes() for path in before} == before


def test_a_video_refuses_in_any_company_what_goes_with_a_photograph(files, talking_face):
    """Neighbours in a list share what was made ready; a refusal must not depend on that."""
    common = {"image": "film.mp4", "audio": "audio.wav"}
    rows = [{}, {"driving": "film.mp4"}, {"only": "pose"}, {"pose_from": "film.mp4"}]
    lines = [json.dumps({"name": f"row{n}", **common, **row}) + "\n" for n, row in enumerate(rows)]
    (files / "l.jsonl").write_text("".join(lines))
    with pytest.raises(ValueError, match="3 of 4 rows failed"):
        run_list(InferRun(list=files / "l.jsonl", size=64), talking_face)
    assert (files / "failed.csv").read_text().count("photograph") == 3
