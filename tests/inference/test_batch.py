"""Many videos: a row that fails stops nobody, what is there stays, a row is the same video in any company."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from vasa.config import ROOT
from vasa.inference.batch import plan, run_list
from vasa.inference.bundle import bundle
from vasa.inference.config import BundleRun, InferRun
from vasa.inference.pipeline import TalkingFace
from vasa.inference.rendering import full_batches
from vasa.pretrained.config import DetectorConfig
from vasa.video import VideoReader

ROWS = 5


@pytest.fixture
def material(tmp_path, picture) -> Path:
    """Five sounds of different lengths, two portraits, and a list of a row for each sound."""
    return listed(tmp_path, picture)


def listed(folder: Path, picture: np.ndarray, rows: int = ROWS, seconds: float = 0.2) -> Path:
    for number in range(2):
        Image.fromarray(np.roll(picture, 7 * number, 2)).save(folder / f"face{number}.png")
    lines = ["image,audio,gaze_yaw,seed"]
    for number in range(rows):
        tone = 0.3 * np.sin(np.arange(round(16_000 * (seconds + 0.08 * number))) / (7 + number))
        soundfile.write(folder / f"s{number}.wav", tone, 16_000)
        lines.append(f"face{number // 2 % 2}.png,s{number}.wav,{number},{number}")
    (folder / "jobs.csv").write_text("\n".join(lines) + "\n")
    return folder


def run(folder: Path, **options) -> InferRun:
    return InferRun(**{"list": folder / "jobs.csv", "out": folder / "out", **options})


def videos(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(folder.rglob("*.mp4"))}


def times(folder: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_mtime_ns for path in sorted(folder.rglob("*.mp4"))}


def failures(out: Path) -> list[dict[str, str]]:
    with (out / "failed.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_damaged_sound_in_row_3_of_5_leaves_the_other_four(material, talking_face):
    good = (material / "s2.wav").read_bytes()
    (material / "s2.wav").write_bytes(b"RIFF no sound at all")
    with pytest.raises(ValueError, match="1 of 5 rows failed, as .*failed.csv says"):
        run_list(run(material), talking_face)
    assert sorted(videos(material)) == ["face0_s0", "face0_s1", "face0_s4", "face1_s3"]
    (failed,) = failures(material / "out")
    assert (failed["row"], failed["input"]) == (
        "4",
        "face1.png + s2.wav",
    )  # of the file, whose first is names
    assert "s2.wav is not audio" in failed["reason"]
    before = times(material)
    (material / "s2.wav").write_bytes(good)
    assert len(run_list(run(material), talking_face)) == 5
    after = times(material)
    assert {name: after[name] for name in before} == before and len(after) == 5
    assert not (material / "out" / "failed.csv").exists()


def test_a_file_that_cannot_be_read_is_its_own_rows_failure(material, talking_face, monkeypatch):
    from vasa.inference import provenance

    hashed = provenance.file_hash

    def refuse(path):
        if path.name == "s2.wav":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return hashed(path)

    monkeypatch.setattr(provenance, "file_hash", refuse)
    with pytest.raises(ValueError, match="1 of 5 rows failed"):
        run_list(run(material), talking_face)
    assert len(videos(material)) == 4
    assert "Permission denied" in failures(material / "out")[0]["reason"]


def test_a_row_wants_no_image_where_the_checkpoint_is_a_persons(material):
    (material / "jobs.csv").write_text("audio\ns0.wav\n")
    (task,) = plan(run(material, checkpoint=material))
    assert task.run is None and "the row has no image" in task.reason
    (material / "person.safetensors").write_bytes(b"")
    (task,) = plan(run(material, checkpoint=material))
    assert task.run is not None and task.video.name == "s0.mp4"


def test_only_what_changed_is_made_again(material, talking_face):
    run_list(run(material), talking_face)
    before = times(material)

    def made_again(config: InferRun | None = None) -> list[str]:
        nonlocal before
        run_list(config or run(material), talking_face)
        after = times(material)
        changed, before = [name for name in after if after[name] != before.get(name)], after
        return changed

    assert made_again() == []
    text = (material / "jobs.csv").read_text()
    (material / "jobs.csv").write_text(text.replace("s1.wav,1,", "s1.wav,9,"))
    assert made_again() == ["face0_s1"]
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(material / "face1.png")
    assert made_again() == ["face1_s2", "face1_s3"]
    (material / "out" / "face0_s0.mp4").write_bytes(b"cut off")
    (material / "out" / "face0_s4.provenance.json").unlink()
    assert made_again() == ["face0_s0", "face0_s4"]
    assert made_again(run(material, batch_frames=3, workers=1)) == []
    assert len(made_again(run(material, emotion="happy"))) == 5
    assert len(made_again(run(material, save_motion=True))) == 5
    (material / "out" / "face0_s1.motion.safetensors").unlink()
    assert made_again(run(material, save_motion=True)) == ["face0_s1"]


def test_the_report_says_where_the_time_went(material, talking_face):
    run_list(run(material), talking_face)
    report = json.loads((material / "out" / "report.json").read_text())
    assert (report["rows"], report["made"], report["there_already"], report["failed"]) == (5, 5, 0, [])
    assert report["frames"] == sum(len(VideoReader(path)) for path in material.rglob("*.mp4"))
    assert set(report["time"]) == {"load", "portrait", "motion", "render", "waiting", "rest"}
    assert sum(one["share"] for one in report["time"].values()) == pytest.approx(1, abs=1e-3)
    spent = sum(one["seconds"] for one in report["time"].values())
    assert 0 < spent <= report["wall_s"] + 0.05 and report["frames_per_s"] > 0
    assert report["encoding_beside_s"] > 0
    assert (material / "out" / "INTENDED_USE.md").is_file()


def test_neighbours_share_a_portrait(material, talking_face, monkeypatch):
    prepared, prepare = [], talking_face.prepare

    def counted(*args, **options):
        prepared.append(1)
        return prepare(*args, **options)

    monkeypatch.setattr(talking_face, "prepare", counted)
    run_list(run(material), talking_face)
    assert len(prepared) == 3  # two rows of one, two of the other, one of the first again


def test_a_full_disk_stops_the_list_and_leaves_what_is_finished(material, talking_face, monkeypatch):
    written = []

    def fill(*args):
        written.append(1)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(*args)

    from vasa.video import writer

    write = writer._write_wav
    monkeypatch.setattr(writer, "_write_wav", fill)
    with pytest.raises(OSError, match="no space left") as caught:
        run_list(run(material), talking_face)
    assert caught.value.errno == errno.ENOSPC
    assert len(written) == 3  # the fourth and the fifth were not tried
    assert sorted(videos(material)) == ["face0_s0", "face0_s1"]
    assert not list((material / "out").glob(".vasa-*"))
    assert "no space is left on the disk" in failures(material / "out")[0]["reason"]
    before = times(material)
    run_list(run(material), talking_face)
    assert len(videos(material)) == 5 and before.items() <= times(material).items()


def test_a_full_file_system_is_named_in_one_sentence(tmp_path, talking_face, picture):
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", disk], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    try:
        folder = listed(tmp_path, np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8))
        with pytest.raises(OSError) as caught:
            run_list(run(folder, out=disk), talking_face)
        assert caught.value.errno == errno.ENOSPC
        assert not list(disk.glob(".vasa-*"))
        for path in disk.glob("*.mp4"):
            assert len(list(VideoReader(path))) > 0
    finally:
        subprocess.run(["umount", disk], check=True)


def test_batches_are_always_full_and_frames_keep_their_order():
    motion = torch.arange(31.0)[:, None].repeat(1, 3)
    batches = list(full_batches(iter(motion.split([5, 1, 20, 5])), 8))
    assert [len(batch) for batch, _ in batches] == [8, 8, 8, 8]
    assert torch.equal(torch.cat([batch[:count] for batch, count in batches]), motion)
    assert [count for _, count in full_batches(iter([motion[:2]]), 8)] == [2]
    assert list(full_batches(iter([]), 8)) == []


# Real networks and real processes


@pytest.fixture(scope="module")
def checkpoint(tiny_runs, tmp_path_factory) -> Path:
    return bundle(
        BundleRun(face=tiny_runs, motion=tiny_runs, output=tmp_path_factory.mktemp("tiny") / "demo")
    )


def tiny(folder: Path, checkpoint: Path, **options) -> InferRun:
    settings = {"checkpoint": checkpoint, "size": 64, "steps": 2, "allow_centre_crop": True, "device": "cpu"}
    return run(folder, **{**settings, "detector": DetectorConfig(landmarks=None), **options})


def start(folder: Path, checkpoint: Path, **environment: str) -> subprocess.Popen:
    given = [f"list={folder / 'jobs.csv'}", f"out={folder / 'out'}", f"checkpoint={checkpoint}", "size=64"]
    given += ["steps=2", "allow_centre_crop=true", "device=cpu", "detector.landmarks=null"]
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "infer.py"), *given],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_frame_does_not_depend_on_how_many_come_after_it(checkpoint, drawn_face):
    face = TalkingFace.from_pretrained(checkpoint, "cpu", DetectorConfig(landmarks=None))
    portrait = face.prepare(drawn_face, 64, allow_centre_crop=True)
    noise = torch.randn(19, face.face.layout.width, generator=torch.Generator().manual_seed(0))
    motion = portrait.motion + 0.1 * noise

    def frames(batch_frames: int, count: int = 19) -> np.ndarray:
        chunks = iter(motion[:count].split(7))
        return np.stack(list(face.perform(portrait, chunks, count, batch_frames=batch_frames))).astype(int)

    whole = frames(8)
    assert np.abs(np.diff(whole, axis=0)).max() > 3  # the frames do differ
    assert all(np.array_equal(frames(8, count), whole[:count]) for count in (1, 11))
    assert max(np.abs(frames(n) - whole).max() for n in (1, 3, 32)) <= 1


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory, checkpoint) -> tuple[Path, dict[str, bytes]]:
    """Four rows, and what one process makes of them."""
    noise = np.random.default_rng(1).integers(0, 255, (96, 96, 3), np.uint8)
    folder = listed(tmp_path_factory.mktemp("rows"), noise, rows=4)
    run_list(tiny(folder, checkpoint))
    return folder, videos(folder / "out")


def copied(one_by_one: tuple[Path, dict[str, bytes]], to: Path, *lines: int) -> Path:
    """The list with some of its rows, in that order."""
    folder = shutil.copytree(one_by_one[0], to / "copy", ignore=shutil.ignore_patterns("out"))
    header, *rows = (folder / "jobs.csv").read_text().splitlines()
    (folder / "jobs.csv").write_text("\n".join([header, *(rows[n] for n in lines)]))
    return folder


@pytest.mark.parametrize("lines", [(2,), (3, 0, 2, 1)])
def test_a_row_is_the_same_video_alone_and_in_any_order(one_by_one, tmp_path, checkpoint, lines):
    folder = copied(one_by_one, tmp_path, *lines)
    run_list(tiny(folder, checkpoint))
    made = videos(folder / "out")
    assert len(made) == len(lines) and made.items() <= one_by_one[1].items()


@pytest.mark.timeout(900)
def test_a_row_is_the_same_video_by_one_of_several_workers(one_by_one, tmp_path, checkpoint):
    folder = copied(one_by_one, tmp_path, 0, 1, 2, 3)
    run_list(tiny(folder, checkpoint, workers=2))
    assert videos(folder / "out") == one_by_one[1]


@pytest.mark.timeout(900)
def test_a_row_is_the_same_video_by_one_of_torchruns_processes(one_by_one, tmp_path, checkpoint):
    folder = copied(one_by_one, tmp_path, 0, 1, 2, 3)
    (folder / "s1.wav").write_bytes(b"RIFF no sound at all")
    (folder / "s3.wav").write_bytes(b"")
    ranks = [start(folder, checkpoint, RANK=str(n), LOCAL_RANK=str(n), WORLD_SIZE="2") for n in range(2)]
    said = [rank.communicate(timeout=800)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [1, 0], said  # the first one tells; the other stops nobody
    assert "error: 2 of 4 rows failed" in said[0] and not any("Traceback" in text for text in said)
    assert [one["row"] for one in failures(folder / "out")] == ["3", "5"]
    made = videos(folder / "out")
    assert len(made) == 2 and made.items() <= one_by_one[1].items()
    report = json.loads((folder / "out" / "report.json").read_text())
    assert (report["made"], report["processes"]) == (2, 2)
    assert not list((folder / "out").glob(".part-*"))


@pytest.mark.timeout(900)
def test_after_ctrl_c_what_is_finished_stays_and_the_same_command_carries_on(
    tmp_path, drawn_face, checkpoint
):
    folder = listed(tmp_path, drawn_face, rows=6, seconds=2.0)
    out, process = folder / "out", start(folder, checkpoint)
    waited_until = time.monotonic() + 600
    while not list(out.glob("*.provenance.json")) or not list(out.glob(".vasa-*")):
        assert process.poll() is None and time.monotonic() < waited_until, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in said
    assert said.strip().splitlines()[-1].endswith("the same command carries on.")
    finished = times(out)
    assert 1 <= len(finished) < 6
    assert all(len(list(VideoReader(path))) >= 50 for path in out.glob("*.mp4"))
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    run_list(tiny(folder, checkpoint))
    assert len(times(out)) == 6 and finished.items() <= times(out).items()


def test_what_a_killed_process_left_half_written_is_taken_away(material, talking_face):
    out = material / "out"
    out.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = {n: f".vasa-{os.uname().nodename}-{n}-abc" for n in (ended.pid, os.getppid())}
    for name in names.values():
        (out / name).mkdir()
        (out / name / "silent.mp4").write_bytes(b"half")
    run_list(run(material), talking_face)
    assert not (out / names[ended.pid]).exists()
    assert (out / names[os.getppid()]).exists()  # somebody is still at it
    shutil.rmtree(out / names[os.getppid()])
