"""Lists of jobs: checked as a whole, made once, resumed, and honest about what was asked."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vasa.config import load
from vasa.inference.batch import run_list
from vasa.inference.bundle import bundle
from vasa.inference.config import BundleRun, InferRun, MakeJobsRun
from vasa.inference.face_video import FaceVideo
from vasa.inference.job_lists import make_list
from vasa.inference.jobs import Job, job_of, read_rows, write_jobs
from vasa.inference.performance import reenactment
from vasa.inference.pipeline import TalkingFace
from vasa.metrics.sources import find_rows, read_clip
from vasa.metrics.truth import true_clip, true_pose
from vasa.video import VideoReader, VideoWriter


@pytest.fixture(scope="module")
def small_bundle(tiny_runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    bundle(BundleRun(face=tiny_runs, motion=tiny_runs, output=folder))
    return folder


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """A list of two synthetic clips of a second."""
    folder = tmp_path_factory.mktemp("list")
    run = MakeJobsRun(output=folder, num_clips=2, seconds=1.0, samples=1, sweeps=1, size=64)
    return make_list(run), run


def read_jobs(path) -> list[Job]:
    rows = [row for _, row in read_rows(path)]
    assert all(isinstance(row, Job) for row in rows), rows
    return rows


def test_a_list_holds_true_videos_baselines_and_jobs(listed):
    path, run = listed
    rows = {folder.name for folder in path.parent.iterdir() if folder.is_dir()}
    assert rows == {"real", "portraits", "audio", "still_portrait", "other_motion"} | {
        "true_frames",
        "true_controls",
    }
    jobs = read_jobs(path)
    assert [job.row for job in jobs[:3]] == ["vasa", "untrained_warp", "shuffled_audio"]
    assert jobs[2].driven_by == "audio/clip001.wav" and jobs[2].options["audio"] == "audio/clip000.wav"
    assert {job.options.get("emotion") for job in jobs if job.row == "controls"} >= {None, "happy"}
    assert jobs[0].truth["split"] == "test"
    still = np.stack([f.copy() for f in VideoReader(path.parent / "still_portrait" / "clip000.mp4")])
    assert len(still) == 25 and np.abs(still.astype(int) - still[0]).max() < 12
    before = {p: p.stat().st_mtime_ns for p in path.parent.rglob("*.mp4")}
    make_list(run)
    assert {p: p.stat().st_mtime_ns for p in path.parent.rglob("*.mp4")} == before


def test_variants_are_rows_of_the_same_clips_under_other_options(listed, tmp_path):
    """Into the folder of the rendered clips, so that nothing is rendered again."""
    _, run = listed
    plain = replace(run, sweeps=0, reenactments=0, baselines=False)
    path = make_list(replace(plain, variants={"quick": ["steps=2", "guidance.audio=0"]}))
    jobs = read_jobs(path)
    assert [(job.row, job.name) for job in jobs] == [
        ("vasa", "clip000_0"),
        ("quick", "clip000_0"),
        ("vasa", "clip001_0"),
        ("quick", "clip001_0"),
    ]
    assert "steps" not in jobs[0].options
    assert jobs[1].options["steps"] == 2 and jobs[1].options["guidance.audio"] == 0
    for wrong, message in (("steps", "name=value"), ("stepps=2", "stepps")):
        with pytest.raises(ValueError, match=message):
            make_list(replace(plain, variants={"quick": [wrong]}))
    make_list(run)


def test_jobs_are_made_once_and_measured_with_what_was_asked(listed, tmp_path, small_bundle):
    path, _ = listed
    face = TalkingFace.from_pretrained(small_bundle, "cpu")
    some = [job for job in read_jobs(path) if job.row in ("vasa", "untrained_warp", "shuffled_audio")][:3]
    some += [job for job in read_jobs(path) if job.options.get("gaze_yaw") == 20.0]
    for name in ("portraits", "audio", "real"):
        (tmp_path / name).symlink_to(path.parent / name)
    write_jobs(tmp_path / "jobs.jsonl", some)
    config = InferRun(list=tmp_path / "jobs.jsonl", size=64, steps=2, allow_centre_crop=True)
    made = run_list(config, face)
    assert [len(VideoReader(video)) for video in made] == [25] * 4
    assert isinstance(face.face.config.size, int)  # the learned face space is back in its place
    before = [video.stat().st_mtime_ns for video in made]
    run_list(config, face)
    assert [video.stat().st_mtime_ns for video in made] == before
    sidecar = made[1].with_name("clip000.job.json")
    sidecar.write_text(sidecar.read_text().replace('"seed": 0', '"seed": 9'))
    run_list(config, face)
    assert made[1].stat().st_mtime_ns != before[1] and made[0].stat().st_mtime_ns == before[0]
    rows = find_rows(tmp_path)
    assert list(rows)[0] == "real"
    clip = read_clip(rows["vasa"][0])
    assert clip.reference is not None and clip.portrait is not None and clip.asked["group"] == "clip000"
    assert read_clip(rows["controls"][0]).asked["gaze_yaw"] == 20.0


def test_a_job_that_fails_is_named_and_the_others_are_done(listed, tmp_path, small_bundle):
    path, _ = listed
    for name in ("portraits", "audio"):
        (tmp_path / name).symlink_to(path.parent / name)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    jobs = read_jobs(path)[:1]
    write_jobs(
        tmp_path / "jobs.jsonl",
        [job_of(name="bad", row="vasa", image="broken.png", audio=jobs[0].options["audio"]), *jobs],
    )
    config = InferRun(list=tmp_path / "jobs.jsonl", size=64, steps=2, allow_centre_crop=True)
    face = TalkingFace.from_pretrained(small_bundle, "cpu")
    with pytest.raises(ValueError, match="1 of 2 rows failed, as .*failed.csv says"):
        run_list(config, face)
    assert "bad" not in {path.stem for path in (tmp_path / "vasa").iterdir()}
    assert (tmp_path / "vasa" / f"{jobs[0].name}.mp4").is_file()
    assert "1,broken.png + audio/" in (tmp_path / "failed.csv").read_text()


def test_an_output_of_one_video_is_none_of_a_list():
    with pytest.raises(ValueError, match="name the videos' folder by out="):
        load("infer", ["list=a.jsonl", "output=b.mp4"])
    with pytest.raises(ValueError, match="comes without a list"):
        load("infer", ["out=folder"])
    assert load("make_jobs", ["num_clips=3"]).num_clips == 3


def test_real_clips_are_drawn_by_seed_and_their_failures_named(tmp_path, caplog):
    people = tmp_path / "clips"
    for person in ("a", "b", "c"):
        for clip in range(3):
            _write_clip(people / person / f"{clip}.mp4", frames=30 if clip else 10)
    (people / "a" / "broken.mp4").write_bytes(b"no video")
    run = MakeJobsRun(
        output=tmp_path / "list",
        clips_from=people,
        num_people=2,
        num_clips=2,
        min_seconds=1.0,
        samples=1,
        sweeps=0,
    )
    names = {job.group for job in read_jobs(make_list(run))}
    assert len(names) == 4 and {name[2:] for name in names} == {"1", "2"}
    assert names == {job.group for job in read_jobs(make_list(replace(run, output=tmp_path / "again")))}
    with pytest.raises(ValueError, match="holds 3 folders; wanted 9"):
        make_list(replace(run, num_people=9))
    with pytest.raises(FileNotFoundError, match="is no folder"):
        make_list(replace(run, clips_from=tmp_path / "nowhere"))


def _write_clip(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = np.sin(np.arange(frames * 640) / 7).astype(np.float32) * 0.1
    with VideoWriter(path, 32, 32, 25, sound, 16000) as writer:
        for n in range(frames):
            writer.write(np.full((32, 32, 3), 5 * n % 250, np.uint8))


def test_reenactment_follows_the_driver_and_keeps_apart_head_and_face(listed, tmp_path, small_bundle):
    path, _ = listed
    by_row = {job.row: job for job in read_jobs(path) if job.name == "clip000"}
    cross, swapped = by_row["cross_reenactment"], by_row["expression_swapped"]
    assert cross.truth["pose_index"] == cross.truth["index"] == 1
    assert (swapped.truth["pose_index"], swapped.truth["index"]) == (0, 1)
    assert (swapped.pose_from, swapped.expression_from) == ("real/clip000.mp4", "real/clip001.mp4")
    assert np.array_equal(true_pose({"truth": swapped.truth}), _animation(swapped, 0).pose)
    face = TalkingFace.from_pretrained(small_bundle, "cpu")
    portrait = face.prepare(np.zeros((64, 64, 3), np.uint8), 64, allow_centre_crop=True, keep_expression=0.0)
    files = [path.parent / f"real/clip00{n}.mp4" for n in (0, 1)]
    one, two = (frames_of(file)[:3] for file in files)
    layout, seen = face.face.layout, []
    render = face.face.render
    face.face.render = lambda appearance, motion: seen.append(motion) or render(appearance, motion)
    head, expression = (FaceVideo(file, face.aligner, framed=True, most=3) for file in files)
    frames = list(reenactment(face, portrait, head, expression))
    assert len(frames) == 3 and frames[0].shape == (64, 64, 3)
    heads, faces = (face.face.motion(torch.from_numpy(d).permute(0, 3, 1, 2) / 127.5 - 1) for d in (one, two))
    torch.testing.assert_close(seen[0][:3, layout.pose], heads[:, layout.pose])
    torch.testing.assert_close(seen[0][:3, layout.dynamics], faces[:, layout.dynamics])


def frames_of(path):
    return np.stack([frame.copy() for frame in VideoReader(path)])


def _animation(job, index):
    return true_clip({"truth": {**job.truth, "index": index}}).truth.animation
