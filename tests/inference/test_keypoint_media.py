"""Real pictures, speech and drivers through the keypoint systems as a user sends them: a list, killed and
resumed. Weights are made up, of the published files' form and narrow, so pictures are not looked at.
"""

import csv
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from math import ceil

import av
import pytest
import soundfile
from safetensors.torch import load_file
from test_published_systems import run_of, write_files

from vasa.inference.published import bundle_published
from vasa.pretrained.systems import parts_of
from vasa.video import VideoReader, VideoWriter

pytestmark = [pytest.mark.full, pytest.mark.media, pytest.mark.timeout(1500)]

PEOPLE = {"person": "people_0.png", "painting": "s9.jpg"}
ANIMALS = {"dog": "s30.jpg", "cat": "s39.jpg"}
BOXES = {"cat": "150,60,640"}
SPEECH = {"chinese": "bus_chinese.wav", "japanese": "japanese.wav", "english": "RD_Radio31_000.wav"}
LEFT_OUT = {("painting", "english"), ("cat", "chinese")}
SECONDS, SPOKEN = 2.0, 50
"""Of each sound that is said, and how many frames that is at 25 a second."""
DRIVEN, TEMPLATE = 20, 13
"""Frames of the driving clip, and of the template d1.pkl at 25 frames a second."""


@pytest.fixture(scope="module")
def cut(tmp_path_factory, media):
    """A folder with the first SECONDS of each sound and a clip of a face with a sound of its own."""
    folder = tmp_path_factory.mktemp("cut")
    for name, file in SPEECH.items():
        samples, rate_hz = soundfile.read(media / "audio" / file)
        soundfile.write(folder / f"{name}.wav", samples[: round(SECONDS * rate_hz)], rate_hz)
    heard, rate_hz = soundfile.read(folder / "english.wav", dtype="float32")
    with VideoWriter(folder / "clip.mp4", 512, 512, 25, heard[: DRIVEN * rate_hz // 25], rate_hz) as writer:
        for frame, _ in zip(VideoReader(media / "video" / "d0.mp4"), range(DRIVEN), strict=False):
            writer.write(frame)
    return folder


@pytest.fixture(scope="module", params=["human", "animal"])
def listed(request, tmp_path_factory, cut, media):
    """A list of a species as arguments of infer.py, its folder, and how many frames each video shall have."""
    folder = tmp_path_factory.mktemp(request.param)
    files = write_files(folder / "files", "joyvasa", request.param)
    run = run_of(files, folder / "checkpoint", species=request.param)
    bundle_published(run, parts_of("joyvasa", request.param), files)
    shown = PEOPLE if request.param == "human" else ANIMALS
    rows, frames = [], {}
    drivers = {name: ({"audio": cut / f"{name}.wav"}, SPOKEN) for name in SPEECH}
    drivers["clip"] = {"driving": cut / "clip.mp4", "paste": "true"}, DRIVEN
    drivers["template"] = {"driving": media / "motion" / "d1.pkl"}, TEMPLATE
    for who, image in shown.items():
        common = {"image": media / "image" / image, "face_box": BOXES.get(who, "")}
        for name, (given, count) in drivers.items():
            if (who, name) in LEFT_OUT:
                continue
            rows.append({"name": f"{who}_{name}", **common, **given})
            frames[f"{who}_{name}"] = count
    with (folder / "jobs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("name", "image", "face_box", "audio", "driving", "paste"))
        writer.writeheader()
        writer.writerows(rows)
    given = [
        f"checkpoint={run.output}",
        f"list={folder / 'jobs.csv'}",
        f"out={folder / 'out'}",
        "save_motion=true",
    ]
    return given, folder / "out", frames


def start(root, given):
    command = [sys.executable, str(root / "scripts" / "infer.py"), *given]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.DEVNULL)


def test_a_list_of_real_pictures_is_killed_and_carries_on(listed, root, capsys):
    given, out, frames = listed
    process, until = start(root, given), time.monotonic() + 600
    while len(list(out.glob("*.provenance.json"))) < 2 and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = {path: path.stat().st_mtime_ns for path in out.glob("*.mp4")}
    assert 2 <= len(there) < len(frames)
    runpy.run_path(str(root / "scripts" / "infer.py"))["run"](given)
    whole = {path for path, written in there.items() if path.stat().st_mtime_ns == written}
    assert len(whole) >= 2 and len(whole) >= len(there) - 1
    assert {path.stem for path in out.glob("*.mp4")} == set(frames)
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    for name, count in frames.items():
        check_video(out / f"{name}.mp4", count, root, capsys)


def check_video(path, count, root, capsys):
    """Frames, sound, movement and origin of one video."""
    assert sum(1 for _ in VideoReader(path)) == count, path.name
    motion = load_file(path.with_suffix(".motion.safetensors"))["values"]
    assert motion.shape == (count, 69) and motion.std(0).max() > 1e-3, path.name
    with av.open(str(path)) as container:
        sounds, rate = container.streams.audio, container.streams.video[0].average_rate
        assert rate == 25 and len(sounds) == (0 if path.stem.endswith("template") else 1)
        for sound in sounds:
            seconds = float(sound.duration * sound.time_base)
            assert ceil(seconds * 25 - 1e-6) == pytest.approx(count, abs=1), path.name
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(root / "scripts" / "verify.py"))["run"]([f"video={path}"])
    assert stop.value.code == 0 and "to the byte" in capsys.readouterr().out
    said = json.loads(path.with_suffix(".provenance.json").read_text())
    assert said["frames"] == count and said["checkpoint"]["system"] == "joyvasa"
    driver = "audio" if said["request"]["inputs"].get("audio") else "driving"
    assert {"image", driver} <= set(said["request"]["inputs"])
    found = {"cat": "face_box", "dog": "centre"}.get(path.stem.split("_")[0], "5 points")
    assert found in said["face"]["found_by"]
