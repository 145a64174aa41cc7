"""The runner of eval.py: coverage is counted, results are cached by content, a killed run goes on."""

import json
import math
import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from vasa.metrics.eval_table import EvalTable
from vasa.metrics.evaluation import Evaluation
from vasa.metrics.protocol import Unscored
from vasa.metrics.sources import find_rows, read_clip
from vasa.metrics.summary import ClipScore, interval, summarise
from vasa.video import VideoWriter


class Brightness:
    """Mean of the pixels; black clips cannot be scored. Counts its calls."""

    name = "brightness"
    label = "the mean of the pixels"

    def __init__(self, version=1):
        self.identity, self.calls = {"version": version}, 0

    def measure(self, clip):
        self.calls += 1
        if clip.frames.max() < 20:
            raise Unscored("black")
        return {"mean": clip.frames.mean(), "frames": len(clip.frames), "maybe": math.nan}


class Spread:
    """A set metric: distance of the mean brightness of two sets."""

    name = "spread"
    label = "a distance of means"
    identity = {"version": 1}  # noqa: RUF012
    calls = 0

    def features(self, clip):
        Spread.calls += 1
        if clip.frames.max() < 20:
            raise Unscored("black")
        return torch.tensor([[float(clip.frames.mean())]])

    def score(self, made, real):
        if not made or not real:
            return {"distance": math.nan}
        return {"distance": float((torch.cat(made).mean() - torch.cat(real).mean()).abs())}


def write(path, level, frames=6, fps=25, audio=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 32, 32, fps, audio, 16000 if audio is not None else None) as writer:
        for _ in range(frames):
            writer.write(np.full((32, 32, 3), level, np.uint8))


@pytest.fixture
def videos(tmp_path):
    for name, level in (("a", 200), ("b", 120), ("dark", 0)):
        write(tmp_path / "videos" / "ours" / f"{name}.mp4", level)
    write(tmp_path / "videos" / "real" / "a.mp4", 150)
    return tmp_path / "videos"


def test_real_comes_first_and_failures_are_counted_not_dropped(videos, tmp_path):
    rows = find_rows(videos)
    assert list(rows) == ["real", "ours"]
    metric = Brightness()
    real, ours = Evaluation([metric], [Spread()], tmp_path / "cache").run(rows)
    cell = ours.cells["brightness.mean"]
    assert (cell.scored, cell.total, cell.reasons) == (2, 3, {"black": 1})
    assert cell.mean == pytest.approx(160, abs=3)
    assert cell.low <= cell.mean <= cell.high
    assert ours.cells["brightness.maybe"].reasons == {"black": 1, "no number": 2}
    assert math.isnan(ours.cells["brightness.maybe"].mean)
    assert ours.cells["spread.distance"].mean == pytest.approx(10, abs=3)
    assert ours.cells["spread.distance"].scored == 2
    assert real.cells["spread.distance"].mean == 0


def test_a_second_run_measures_nothing_and_says_the_same(videos, tmp_path):
    first = Evaluation([Brightness()], [Spread()], tmp_path / "cache").run(find_rows(videos))
    again, calls = Brightness(), Spread.calls
    second = Evaluation([again], [Spread()], tmp_path / "cache").run(find_rows(videos))
    assert again.calls == 0 and Spread.calls == calls
    for one, other in zip(first, second, strict=True):
        for name, cell in one.cells.items():
            found = other.cells[name]
            assert (found.scored, found.total, found.reasons) == (cell.scored, cell.total, cell.reasons)
            assert found.mean == cell.mean or (math.isnan(found.mean) and math.isnan(cell.mean))


def test_another_weight_file_or_another_video_is_measured_again(videos, tmp_path):
    Evaluation([Brightness()], [], tmp_path / "cache").run(find_rows(videos))
    changed = Brightness(version=2)
    Evaluation([changed], [], tmp_path / "cache").run(find_rows(videos))
    assert changed.calls == 4
    write(videos / "ours" / "b.mp4", 90)
    same = Brightness()
    Evaluation([same], [], tmp_path / "cache").run(find_rows(videos))
    assert same.calls == 1


def test_a_damaged_cache_entry_is_measured_again(videos, tmp_path):
    Evaluation([Brightness()], [Spread()], tmp_path / "cache").run(find_rows(videos))
    for path in (tmp_path / "cache").rglob("*.*"):
        path.write_bytes(path.read_bytes()[:5])
    metric = Brightness()
    rows = Evaluation([metric], [Spread()], tmp_path / "cache").run(find_rows(videos))
    assert metric.calls == 4
    assert rows[1].cells["brightness.mean"].scored == 2


def test_a_broken_video_is_a_failure_of_every_metric(videos, tmp_path):
    (videos / "ours" / "c.mp4").write_bytes(b"no video at all")
    (_, ours) = Evaluation([Brightness()], [Spread()], tmp_path / "cache").run(find_rows(videos))
    for name in ("brightness.mean", "spread.distance"):
        cell = ours.cells[name]
        assert (cell.scored, cell.total) == (2, 4)
        assert any("cannot be read" in reason for reason in cell.reasons)


def test_files_of_one_name_belong_together(tmp_path):
    import soundfile

    folders = {name: tmp_path / name for name in ("videos", "audio", "reference", "portraits")}
    write(folders["videos"] / "a.mp4", 100, audio=np.zeros(3840, np.float32))
    write(folders["videos"] / "b.mp4", 100)
    write(folders["reference"] / "a.mp4", 90)
    for name in ("audio", "portraits"):
        folders[name].mkdir()
    soundfile.write(folders["audio"] / "b.wav", np.full(8000, 0.5, np.float32), 8000)
    Image.new("RGB", (8, 8)).save(folders["portraits"] / "b.png")
    asked = {"gaze_yaw": 5.0, "group": "g", "portrait": "../portraits/b.png"}
    (folders["videos"] / "a.job.json").write_text(json.dumps(asked))
    (rows,) = find_rows(**folders).values()
    a, b = (read_clip(files) for files in rows)
    assert a.reference is not None and a.reference.mean() == pytest.approx(90, abs=3)
    assert a.asked == asked and a.portrait is not None and a.portrait.shape == (8, 8, 3)
    assert a.audio is not None and abs(a.audio).max() == 0  # the video's own track
    assert b.reference is None and b.asked == {}
    assert b.audio is not None and len(b.audio) == 16000  # resampled


def test_thirty_frames_a_second_are_brought_to_twenty_five(tmp_path):
    write(tmp_path / "videos" / "a.mp4", 100, frames=30, fps=30)
    (rows,) = find_rows(tmp_path / "videos").values()
    clip = read_clip(rows[0])
    assert len(clip.frames) == 25 and clip.source_fps == pytest.approx(30, rel=0.02)


def test_folders_without_videos_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no video"):
        find_rows(tmp_path)
    with pytest.raises(FileNotFoundError, match="audio=.*is no folder"):
        find_rows(tmp_path, audio=tmp_path / "nowhere")


def test_samples_of_one_job_count_once():
    scores = [
        ClipScore(clip=f"{group}{n}", group=group, values={"x": value})
        for group, values in (("a", (1.0, 2.0, 3.0)), ("b", (10.0,)))
        for n, value in enumerate(values)
    ]
    cell = summarise(scores, "x", seed=0)
    assert cell.mean == 6.0  # (2 + 10) / 2, not 4
    assert cell.scored == 4


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        low, high = interval(rng.normal(3, 2, 40), seed, resamples=300)
        covered += low <= 3 <= high
    assert 0.88 <= covered / 200 <= 0.99
    assert all(math.isnan(x) for x in interval(np.array([1.0]), 0))


def test_the_table_counts_failures_and_shows_videos_side_by_side(videos, tmp_path):
    rows = Evaluation([Brightness()], [Spread()], tmp_path / "cache").run(find_rows(videos))
    table = EvalTable(rows, {"brightness": "mean <of> pixels"}, {"seed": 0})
    written = {path.name: path.read_text() for path in table.write(tmp_path / "out")}
    assert "- ours, brightness (mean, frames): 1 of 3 clips not scored (1 black)" in written["table.md"]
    assert "(2/3)" in written["table.md"] and "Published: VASA-1" in written["table.md"]
    cells = json.loads(written["table.json"])["rows"]["ours"]
    assert cells["brightness.mean"]["total"] == 3 and cells["brightness.maybe"]["mean"] is None
    assert "mean &lt;of&gt; pixels" in written["table.html"]
    assert written["table.html"].count("<video") == 4
    lines = [json.loads(line) for line in written["clips.jsonl"].splitlines()]
    assert {line["clip"] for line in lines if line["unscored"] == "black"} == {"dark"}


def test_eval_measures_a_folder_with_the_shipped_judges(videos, tmp_path, capsys, request):
    run = runpy.run_path(str(request.config.rootpath / "scripts" / "eval.py"))["run"]
    run([f"videos={videos}", f"out={tmp_path / 'out'}", "metrics=[pose,truth]", "device=cpu"])
    printed = capsys.readouterr().out
    assert "no face in" in printed and "no synthetic truth" in printed
    assert (tmp_path / "out" / "table.html").is_file()


def test_two_processes_measure_what_one_does(videos, tmp_path, capsys, request):
    """The script as it is called, so that its functions can be sent to other processes."""
    script = request.config.rootpath / "scripts" / "eval.py"
    arguments = [f"videos={videos}", "metrics=[truth]", "device=cpu"]
    command = [sys.executable, str(script), *arguments, f"out={tmp_path / 'two'}", "workers=2"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    runpy.run_path(str(script))["run"]([*arguments, f"out={tmp_path / 'one'}"])
    one, two = ((tmp_path / n / "clips.jsonl").read_text() for n in ("one", "two"))
    assert one == two and "no synthetic truth" in one and capsys.readouterr().out
