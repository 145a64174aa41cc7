"""Raw videos into shards: every input gets its row, whatever happens on the way the same files come of it."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import ray
import soundfile
from recordings import hum, record, record_sound

import vasa.preprocess.input_maker as steps
import vasa.preprocess.pipeline as module
from vasa.config import ROOT
from vasa.data.clip_pairs import ClipPairs
from vasa.data.clip_store import ClipStore
from vasa.data.config import ClipPairsConfig, SplitConfig, SpokenConfig
from vasa.data.manifest import KEPT, MANIFEST, read_about, read_rows
from vasa.data.synthetic.clips import SyntheticClips
from vasa.preprocess.config import PreprocessRun, QualityConfig, ReportDataRun, SegmentConfig, SourceConfig
from vasa.preprocess.input_maker import InputMaker
from vasa.preprocess.masks import masks_of
from vasa.preprocess.pipeline import STEPS, preprocess, with_whole_paths
from vasa.preprocess.report import report_data
from vasa.preprocess.shard_work import SETTINGS, Job, hold_settings, plan_shards
from vasa.preprocess.signals_config import SignalsConfig
from vasa.preprocess.sources import find_inputs
from vasa.pretrained.config import DetectorConfig, MatteConfig
from vasa.pretrained.matte import build_matte
from vasa.records import SAMPLES_PER_FRAME
from vasa.supervised import Failure

pytestmark = pytest.mark.timeout(900)  # half a minute on an idle core; others may keep it busy
SIZE, HEIGHT, WIDTH = 96, 150, 200
INPUTS = {
    "id00001-aaaaaaaaaaa-00001": KEPT,
    "id00001-aaaaaaaaaaa-00002": "no_face",
    "id00002-bbbbbbbbbbb-00001": KEPT,
    "id00003-ccccccccccc-00001": "unreadable",
    "id00004-ddddddddddd-00001": KEPT,
}


def framed(frames, where):
    """Frames (T, S, S, 3) in larger grey pictures, from x, y on."""
    pictures = np.full((len(frames), HEIGHT, WIDTH, 3), 120, np.uint8)
    x, y = where
    pictures[:, y : y + SIZE, x : x + SIZE] = frames
    return pictures


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """VoxCeleb2's own tree: three people who talk, a wall and a broken file, their sound beside them."""
    root = tmp_path_factory.mktemp("voxceleb2")
    spoken = SpokenConfig(espeak_share=0.0, singing_share=0.0, silent_share=0.0)
    clips = SyntheticClips("test", num_clips=3, seconds=1.2, size=SIZE, spoken=spoken)
    wall = np.full((30, HEIGHT, WIDTH, 3), 120, np.uint8)
    pictures = [framed(clips[0].frames, (40, 20)), wall, framed(clips[1].frames, (70, 30))]
    sounds = [clips[0].audio, hum(1.2), clips[1].audio]
    places = ["dev/{}/id00001/aaaaaaaaaaa/00001", "dev/{}/id00001/aaaaaaaaaaa/00002"]
    places += ["dev/{}/id00002/bbbbbbbbbbb/00001"]
    for place, shown, sound in zip(places, pictures, sounds, strict=True):
        record(root / f"{place.format('mp4')}.mp4", shown)
        record_sound(root / f"{place.format('aac')}.m4a", sound)
    broken = root / "dev/mp4/id00003/ccccccccccc/00001.mp4"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(np.random.default_rng(0).bytes(3000))
    record(root / "test/mp4/id00004/ddddddddddd/00001.mp4", framed(clips[2].frames, (60, 10)))
    record_sound(root / "test/aac/id00004/ddddddddddd/00001.m4a", clips[2].audio)
    return root


def options(root: Path, out: Path, **more) -> PreprocessRun:
    values = {
        "data": SourceConfig(root=root, layout="voxceleb2"),
        "size": SIZE,
        "segments": SegmentConfig(min_seconds=0.8, max_seconds=4.0),
        "quality": QualityConfig(max_enlarge=3.0),
        "splits": SplitConfig(validation_share=0.0),
        "inputs_per_shard": 2,
        "workers": 0,
    }
    return PreprocessRun(out=out, **{**values, **more})


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("made")
    preprocess(options(root, out))
    return out


def contents(out: Path) -> dict[str, bytes]:
    """All that is promised to be the same whoever made it."""
    kept = [*out.glob("shards/*"), *out.glob("splits/*"), out / MANIFEST]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in kept}


def test_inputs_are_kept_or_rejected_and_the_manifest_says_why(made, root):
    rows = read_rows(made / MANIFEST)
    inputs = {row.id: row for row in rows if row.kind == "input"}
    clips = [row for row in rows if row.kind == "clip" and row.status == KEPT]
    assert {name: row.status for name, row in inputs.items()} == INPUTS
    assert all(bool(row.reason) == (row.status != KEPT) for row in rows)
    assert [row.id.rsplit("-", 1)[0] for row in clips] == [
        n for n, status in INPUTS.items() if status == KEPT
    ]
    assert {row.speaker: row.split for row in clips} == {
        "id00001": "train",
        "id00002": "train",
        "id00004": "test",
    }
    assert all(row.frames >= 20 and row.size == SIZE and row.side_px > 60 for row in clips)
    assert all(np.isfinite([row.gaze_yaw, row.distance, row.yaw_range, *row.emotion]).all() for row in clips)
    about = read_about(made / MANIFEST)
    assert about["steps"] == list(STEPS) and len(about["networks"]["landmarks"]) == 64
    assert str(root).encode() not in b"".join(contents(made).values())
    assert (made / "splits/test.txt").read_text() == "id00004\n"
    assert not list(made.rglob("*.tmp*")) and not list((made / "work").iterdir())


def test_a_clip_has_its_face_its_sound_its_signals_and_its_masks(made):
    store = ClipStore(made)
    for clip in range(len(store)):
        frames = store.frames(clip, range(store.num_frames[clip]))
        assert len(store.sound(clip)) == len(frames) * SAMPLES_PER_FRAME and store.sound(clip).std() > 0.01
        signals, masks = store.signals(clip), store.masks(clip, [0])
        assert {len(signals[name]) for name in ("pose", "landmarks", "gaze", "blink")} == {len(frames)}
        assert np.abs(signals["landmarks"]).max() < 1, "the face is inside its crop"
        middle = slice(SIZE // 3, 2 * SIZE // 3)
        assert masks[:, middle, middle].mean() > 220 > 30 > masks[:, :6, :6].mean()


def test_masks_of_a_clip_are_those_of_its_frames_fitted_to_its_middle(made):
    store, matte = ClipStore(made), build_matte(MatteConfig())
    frames = store.frames(0, range(18))
    alone = masks_of(frames[9:10], matte)[0].astype(int)
    masks = masks_of(frames, matte).astype(int)
    assert np.abs(masks[9] - alone).max() <= 1, "batches change nothing but rounding"
    sparse = masks_of(frames, matte, stride=4).astype(int)
    assert np.abs(sparse[[0, 4, 8, 12, 16, 17]] - masks[[0, 4, 8, 12, 16, 17]]).max() <= 1
    wanted = 0.75 * sparse[4] + 0.25 * sparse[8]
    assert np.abs(sparse[5] - wanted).max() <= 0.51 and np.abs(sparse[5] - masks[5]).mean() < 3


def test_stage_one_draws_pairs_of_what_was_made(made):
    batch = ClipPairs(ClipPairsConfig(root=made, size=64)).batch_at(0, 8)
    assert batch.source.shape == (8, 64, 64, 3) and batch.mask is not None
    assert (batch.source != batch.target).flatten(1).any(1).all()


def test_jobs_of_an_array_make_together_what_one_makes(root, made, tmp_path):
    assert preprocess(options(root, tmp_path, num_shards=2, shard_index=1)) is None
    assert not (tmp_path / MANIFEST).exists()
    counts = preprocess(options(root, tmp_path, num_shards=2, shard_index=0))
    assert counts == dict(Counter(INPUTS.values()))
    assert contents(tmp_path) == contents(made)


def test_every_shard_belongs_to_one_job_of_an_array(root, tmp_path):
    inputs = find_inputs(SourceConfig(root=root, layout="voxceleb2"))
    for count in (1, 2, 3, 7):
        plans = [plan_shards(tmp_path, inputs, 1, (index, count), SplitConfig()) for index in range(count)]
        dealt = [job.input.id for plan in plans for job in plan.todo()]
        assert sorted(dealt) == list(INPUTS), f"{count} jobs"


def test_a_stopped_run_carries_on_to_the_same_files(root, made, tmp_path, monkeypatch):
    """Stopped in its fourth input: the three before are not made again."""
    seen, make = [], module.InputMaker.__call__

    def make_few(self, job):
        seen.append(job.input.id)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return make(self, job)

    monkeypatch.setattr(module.InputMaker, "__call__", make_few)
    with pytest.raises(KeyboardInterrupt):
        preprocess(options(root, tmp_path))
    preprocess(options(root, tmp_path))
    assert seen == [*list(INPUTS)[:4], *list(INPUTS)[3:]]
    assert contents(tmp_path) == contents(made)
    (tmp_path / "shards/clips-000001.tar").unlink()
    preprocess(options(root, tmp_path))
    assert seen[-2:] == list(INPUTS)[2:4] and len(seen) == 8, "a lost shard is made again, and nothing else"
    assert contents(tmp_path) == contents(made)


def test_an_input_that_kills_its_process_gets_a_row(root, tmp_path, monkeypatch):
    """As ``supervise`` tells of it (tests/test_supervised.py)."""

    def supervise(prepare, args, items, *_):
        work = prepare(*args)
        for job in items:
            dies = job.input.id == "id00001-aaaaaaaaaaa-00001"
            yield job, Failure("crashed", "the process died") if dies else work(job)

    monkeypatch.setattr(module, "supervise", supervise)
    counts = preprocess(options(root, tmp_path))
    assert counts == {KEPT: 2, "no_face": 1, "unreadable": 1, "crashed": 1}
    row = next(row for row in read_rows(tmp_path / MANIFEST) if row.status == "crashed")
    assert (row.id, row.speaker, row.reason) == ("id00001-aaaaaaaaaaa-00001", "id00001", "the process died")


def test_a_fault_of_the_code_is_a_row_and_many_in_a_row_end_the_run(root, tmp_path, monkeypatch):
    cut = steps.InputCutter.cut

    def bad(self, item):
        if item.id == "id00002-bbbbbbbbbbb-00001":
            raise KeyError("what nobody foresaw")
        return cut(self, item)

    monkeypatch.setattr(steps.InputCutter, "cut", bad)
    counts = preprocess(options(root, tmp_path / "one"))
    assert counts == {KEPT: 2, "no_face": 1, "unreadable": 1, "failed": 1}
    (row,) = (row for row in read_rows(tmp_path / "one" / MANIFEST) if row.status == "failed")
    assert row.id == "id00002-bbbbbbbbbbb-00001" and "KeyError: 'what nobody foresaw'" in row.reason

    def full(self, item):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(steps.InputCutter, "cut", full)
    with pytest.raises(OSError, match=r"two: No space left on device\. All that is done is kept\. Make room"):
        preprocess(options(root, tmp_path / "two"))
    monkeypatch.setattr(steps.InputCutter, "cut", lambda self, item: {}["x"])
    monkeypatch.setattr("vasa.preprocess.shard_work.TOO_MANY", 3)
    with pytest.raises(ValueError, match="3 inputs one after the other ended as failed or crashed"):
        preprocess(options(root, tmp_path / "three"))


def test_shards_with_failed_inputs_are_made_again_when_asked(root, made, tmp_path, monkeypatch):
    def supervise(prepare, args, items, *_):
        work = prepare(*args)
        for job in items:
            dies = job.input.id == "id00002-bbbbbbbbbbb-00001"
            yield job, Failure("crashed", "the machine was taken away") if dies else work(job)

    with monkeypatch.context() as patch:
        patch.setattr(module, "supervise", supervise)
        assert preprocess(options(root, tmp_path))["crashed"] == 1
    first = (tmp_path / "shards/clips-000000.tar").stat().st_ino
    assert preprocess(options(root, tmp_path))["crashed"] == 1, "nothing is tried again unasked"
    preprocess(options(root, tmp_path, retry=["crashed", "timeout"]))
    assert contents(tmp_path) == contents(made)
    assert (tmp_path / "shards/clips-000000.tar").stat().st_ino == first, "others stay"


@pytest.mark.timeout(600)
def test_ray_makes_the_same_from_relative_paths(root, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("videos").symlink_to(root)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    try:
        ours = ROOT / "checkpoints/judges"
        run = options(
            Path("videos"),
            Path("out"),
            engine="ray",
            workers=1,
            detector=DetectorConfig(landmarks=ours / "landmarks.safetensors"),
            matte=MatteConfig(weights=ours / "matte.safetensors"),
            signals=SignalsConfig(judges=ours),
        )
        assert preprocess(run) == dict(Counter(INPUTS.values()))
    finally:
        ray.shutdown()
    assert contents(tmp_path / "out") == contents(made)


def test_paths_are_made_whole_and_standins_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fan.pth.tar").touch()
    run = options(Path("videos"), Path("out"), signals=SignalsConfig(landmarks="fan.pth.tar"))
    whole = with_whole_paths(run)
    assert (whole.out, whole.data.root) == (tmp_path / "out", tmp_path / "videos")
    assert whole.signals.landmarks == str(tmp_path / "fan.pth.tar") and whole.signals.gaze == "standin"
    assert whole.matte.modnet is None


def test_killed_joins_leave_nothing_behind(root, made, tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/.clips-000000.123-abc.tmp.tar").write_bytes(b"half")
    preprocess(options(root, tmp_path))
    assert contents(tmp_path) == contents(made)


def test_other_options_or_other_videos_in_the_same_folder_are_refused(root, made, tmp_path):
    before = contents(made)
    with pytest.raises(ValueError, match=r"another size: there size=96, now size=64"):
        preprocess(options(root, made, size=64))
    with pytest.raises(ValueError, match=r"another inputs: there inputs=5 files"):
        settings = json.loads((made / SETTINGS).read_text())
        del settings["inputs"]
        hold_settings(made, settings, find_inputs(SourceConfig(root=root, layout="voxceleb2"))[:2])
    assert contents(made) == before


def test_strict_ends_in_an_error_and_loses_nothing(root, made, tmp_path):
    run = options(root, made, strict=True, max_rejected_share=0.3)
    before = contents(made)
    with pytest.raises(ValueError, match=r"40\.0% of the inputs gave no clip; strict=true allows 30\.0%"):
        preprocess(run)
    assert contents(made) == before
    preprocess(options(root, made, strict=True, max_rejected_share=0.4))


@pytest.mark.parametrize("change", [{"max_yaw_range": 1e-3}, {"min_blur": 50.0}])
def test_a_clip_that_breaks_a_rule_is_a_row(root, tmp_path, change):
    run = options(root, tmp_path, quality=QualityConfig(max_enlarge=3.0, **change))
    counts = preprocess(run)
    status = "turned" if "max_yaw_range" in change else "blurred"
    assert counts is not None and counts[status] == 3 and KEPT not in counts
    rows = [row for row in read_rows(tmp_path / MANIFEST) if row.status == status]
    assert len(rows) == 6 and all("wanted at" in row.reason for row in rows)


def test_the_sound_is_moved_into_step_with_the_lips(root, tmp_path, monkeypatch):
    """A meter that always says the sound is 3 frames early: it is delayed by 3."""

    class Meter:
        def __call__(self, frames, landmarks, sound):
            return module_offset(3, 5.0)

    def module_offset(frames, confidence):
        from vasa.preprocess.sync import SyncOffset

        return SyncOffset(frames, confidence, 7.0, True)

    run = options(root / "dev", tmp_path / "moved", masks=False)
    preprocess(options(root / "dev", tmp_path / "plain", masks=False))
    monkeypatch.setattr(steps, "build_meter", lambda *_: (Meter(), ""))
    preprocess(run)
    plain, moved = (ClipStore(tmp_path / name) for name in ("plain", "moved"))
    shift = 3 * SAMPLES_PER_FRAME
    assert np.allclose(moved.sound(0)[shift:], plain.sound(0)[:-shift], atol=1e-4)
    rows = [row for row in read_rows(tmp_path / "moved" / MANIFEST) if row.kind == "clip" and row.frames]
    assert {(row.sync_offset_frames, row.sync_confidence) for row in rows} == {(3.0, 5.0)}


def test_the_page_shows_counts_and_pictures_of_kept_and_rejected(root, made, tmp_path):
    page = report_data(ReportDataRun(data=made, root=root, output=tmp_path / "page.html")).read_text()
    assert "5 inputs = 3 kept + 2 rejected" in page
    assert page.count("data:image/jpeg") >= 3 + 1, "three clips, and the wall"
    assert "unreadable" in page and "data:image/png" in page and "head distance" in page


@pytest.mark.full
def test_killed_three_times_it_comes_to_the_same_bytes(root, made, tmp_path):
    """kill -9 at three moments, of a run with two processes."""
    command = [
        sys.executable, str(ROOT / "scripts/preprocess.py"), "data=voxceleb2", f"data.root={root}",
        f"out={tmp_path}", f"size={SIZE}", "segments.min_seconds=0.8", "segments.max_seconds=4",
        "quality.max_enlarge=3", "splits.validation_share=0", "inputs_per_shard=2", "workers=2",
    ]  # fmt: skip
    rng, done = np.random.default_rng(5), {}
    for pause in rng.uniform(8, 25, 3):
        with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as process:
            time.sleep(pause)
            os.killpg(process.pid, signal.SIGKILL)
        found = {path: path.stat().st_ino for path in tmp_path.glob("shards/*.parquet")}
        assert all(path.stat().st_ino == number for path, number in done.items()), "nothing is done twice"
        done |= found
    subprocess.run(command, check=True)
    assert all(path.stat().st_ino == number for path, number in done.items())
    assert contents(tmp_path) == contents(made)


@pytest.mark.full
def test_memory_is_flat_over_a_thousand_clips(root, tmp_path):
    """One process, from the first videos on; what Python does not see, such as decoders, counts, too."""
    run = options(root, tmp_path)
    maker, (item, *_) = InputMaker(run), find_inputs(run.data)
    held = []
    for number in range(1000):
        done = maker(Job(item, "train", 0, tmp_path / f"{number % 2}.tar"))
        assert done.clips == 1
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        held.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
    assert np.mean(held[-100:]) - np.mean(held[100:200]) < 30, "MiB"


def test_a_shard_is_a_plain_tar_of_files_that_anything_reads(made):
    with tarfile.open(made / "shards/clips-000000.tar") as tar:
        members = {member.name.partition(".")[2]: member for member in tar}
        assert list(members) == ["json", "mp4", "mask.mp4", "flac", "signals.safetensors"]
        sound, rate = soundfile.read(io.BytesIO(tar.extractfile(members["flac"]).read()))
    assert rate == 16_000 and len(sound) % SAMPLES_PER_FRAME == 0
