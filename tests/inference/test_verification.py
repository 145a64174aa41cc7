"""Where a video comes from: in the file, beside it, and whether that is still true of what is in it."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from PIL import Image

from vasa.inference.animate import animate
from vasa.inference.config import InferRun
from vasa.inference.provenance import CARD, read_sidecar, sidecar_of
from vasa.inference.verification import verify
from vasa.video import SYNTHETIC_NOTE, content_of

MODEL = {"folder": "models/mine", "face_sha256": "fa" * 32, "motion_sha256": "ce" * 32}


@pytest.fixture
def video(tmp_path, picture, talking_face) -> Path:
    Image.fromarray(picture).save(tmp_path / "aunt_mary.png")
    soundfile.write(tmp_path / "her_voice.wav", 0.3 * np.sin(np.arange(22_050) / 9), 22_050)
    talking_face.checkpoint = dict(MODEL)
    options = {"image": tmp_path / "aunt_mary.png", "audio": tmp_path / "her_voice.wav"}
    return animate(InferRun(**options, output=tmp_path / "made" / "v.mp4", seed=5), talking_face).video


def ffmpeg(source: Path, *arguments: str, to: str) -> Path:
    made = source.with_name(to)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(source), *arguments, str(made)]
    subprocess.run(command, check=True)
    return made


def alone(video: Path) -> Path:
    """The video in a folder without its sidecar."""
    folder = video.parent / "elsewhere"
    folder.mkdir()
    return shutil.copy(video, folder / video.name)


def test_the_file_itself_says_what_made_it_and_names_nobody(video):
    with av.open(str(video)) as container:
        tags = dict(container.metadata)
    assert tags["comment"] == SYNTHETIC_NOTE
    claim = json.loads(tags["description"])
    assert claim["ai_generated"] is True and claim["seed"] == 5 and claim["made_with"].startswith("vasa ")
    assert claim["model"] == {"name": "mine", "face_sha256": "fa" * 32, "motion_sha256": "ce" * 32}
    assert {len(digest) for digest in claim["inputs_sha256"].values()} == {64}
    assert claim["pictures_sha256"] == content_of(video).pictures_sha256
    assert claim["options"] == {"seed": 5}
    assert b"aunt_mary" not in video.read_bytes() and b"her_voice" not in video.read_bytes()


def test_the_sidecar_names_the_inputs_but_no_folder_of_the_machine(video):
    known = read_sidecar(sidecar_of(video))
    assert known is not None
    assert {name: one["name"] for name, one in known["inputs"].items()} == {
        "image": "aunt_mary.png",
        "audio": "her_voice.wav",
    }
    assert str(video.parent.parent) not in sidecar_of(video).read_text()
    assert "agreed to it" in (video.parent / CARD).read_text()


def test_a_card_that_is_there_stays(video, talking_face):
    (video.parent / CARD).write_text("ours")
    animate(InferRun(seconds=0.1, size=64, output=video.with_name("other.mp4")), talking_face)
    assert (video.parent / CARD).read_text() == "ours"


def test_an_untouched_video_is_the_file_that_was_made(video):
    verdict = verify(video)
    assert verdict.is_as_made and "\n" not in verdict.text
    for said in ("AI-generated, 25 frames", "checkpoint mine (fafa", "seed 5", "image aunt_mary.png",
                 "to the byte", "The text inside it agrees."):  # fmt: skip
        assert said in verdict.text


def test_without_its_sidecar_the_text_inside_is_enough(video):
    verdict = verify(alone(video))
    assert verdict.is_as_made
    assert "same pictures" in verdict.text and "the text inside it" in verdict.text
    assert "No sidecar was found" in verdict.text and "aunt_mary" not in verdict.text


@pytest.mark.parametrize("to", ["r.mp4", "r.mkv", "r.mov", "r.ts"])
def test_a_remux_shows_the_same_pictures(video, to):
    verdict = verify(ffmpeg(video, "-c", "copy", to=to))
    assert verdict.is_as_made, verdict.text
    assert (
        "the same pictures and has the same sound as the file that its sidecar v.provenance" in verdict.text
    )


@pytest.mark.parametrize("to", ["r.mp4", "r.mkv"])
def test_what_the_file_says_survives_a_remux(video, to):
    remuxed = ffmpeg(alone(video), "-c", "copy", to=to)
    assert verify(remuxed).is_as_made


def test_stripped_of_its_text_it_is_known_by_its_sidecar(video):
    stripped = ffmpeg(video, "-map_metadata", "-1", "-c", "copy", to="renamed.mp4")
    assert "description" not in content_of(stripped).tags
    verdict = verify(stripped)
    assert verdict.is_as_made and "The text inside it was taken away." in verdict.text
    away = alone(stripped)
    assert not verify(away).is_as_made
    assert verify(away, sidecars=video.parent).is_as_made


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("-c:a", "copy", "-vf", "drawbox=w=4:h=4:color=red:t=fill"), "its pictures are not what"),
        (("-c:v", "copy", "-af", "volume=0.5", "-c:a", "aac"), "its sound is not what"),
        (("-an", "-c:v", "copy"), "its sound is not what"),
        (("-frames:v", "20", "-c:v", "libx264", "-c:a", "aac"), "its pictures are and its sound is not what"),
    ],
)
@pytest.mark.parametrize("has_sidecar", [True, False])
def test_an_altered_video_is_said_to_be_altered(video, arguments, what, has_sidecar):
    source = video if has_sidecar else alone(video)
    altered = ffmpeg(source, *arguments, to="altered.mp4")
    altered.replace(source)
    verdict = verify(source)
    assert not verdict.is_as_made and "ALTERED" in verdict.text and what in verdict.text


def test_a_sidecar_of_another_video_is_not_believed(video, talking_face):
    other = animate(InferRun(seconds=0.2, size=64, output=video.with_name("other.mp4")), talking_face).video
    shutil.copy(sidecar_of(other), sidecar_of(video))
    verdict = verify(video)
    assert not verdict.is_as_made and "sidecar v.provenance.json" in verdict.text


@pytest.mark.parametrize(
    "text", ["[1]", "{}", '{"model": 3}', '{"model": {}, "pictures_sha256": 1, "inputs": 2}']
)
def test_a_video_of_unknown_origin_proves_nothing(video, text):
    strange = ffmpeg(alone(video), "-c", "copy", "-metadata", f"description={text}", to="strange.mp4")
    verdict = verify(strange)
    assert not verdict.is_as_made and "proves neither" in verdict.text


def test_the_script_answers_by_its_exit_code(root, video, capsys):
    run = runpy.run_path(str(root / "scripts" / "verify.py"))["run"]
    for file, code in ((video, 0), (ffmpeg(video, "-an", to="mute.mp4"), 1)):
        with pytest.raises(SystemExit) as stopped:
            run([f"video={file}"])
        assert stopped.value.code == code
    assert "AI-generated" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        run([f"video={video.parent / 'nowhere.mp4'}"])
    assert stopped.value.code == 1 and "does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run([f"video={sidecar_of(video)}"])
    assert "cannot be read as one" in capsys.readouterr().err
