"""Lists of videos as files: whatever a spreadsheet writes is read, and what is wrong is one sentence with its
cure: of the file, or of a row.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from vasa.inference import jobs
from vasa.inference.batch import plan
from vasa.inference.config import InferRun, VideoOptions
from vasa.inference.jobs import Job, job_of, read_rows, write_jobs
from vasa.inference.list_report import Outcome, add_parts, part_file, remove_stale_parts, write_part
from vasa.options import options

TABLE = "image,audio,gaze_yaw,guidance.audio,seed\na.png,b.wav,3.5,,7\na.png,c.wav,,0.8,\n"


def rows_of(path: Path) -> list:
    return [row for _, row in read_rows(path)]


def written(folder: Path, text: str | bytes, name: str = "jobs.csv") -> Path:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


def test_every_option_of_one_video_is_a_column_and_those_of_the_run_are_not():
    columns = list(options(VideoOptions))
    names = {option.name for option in columns}
    assert {"image", "audio", "output", "gaze_yaw", "emotion", "distance", "seed", "guidance.audio", "steps",
            "size"} <= names  # fmt: skip
    for option in columns:
        given = job_of({option.name: "true" if option.hint is bool else "1"})
        assert set(given.options) == {option.name}
    for name in ("checkpoint", "workers", "list", "device", "detector.scrfd"):
        with pytest.raises(ValueError, match=f"column '{name}' does not exist"):
            job_of({name: "1"})


def test_an_option_that_is_added_is_a_column_at_once(monkeypatch):
    @dataclass(kw_only=True, slots=True)
    class More(VideoOptions):
        singing: float | None = None
        track: Path | None = None

    monkeypatch.setattr(jobs, "VideoOptions", More)
    assert job_of({"singing": "0.5", "track": "t.csv"}).options == {"singing": 0.5, "track": "t.csv"}


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        "\ufeff" + TABLE,
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("image,audio", ' Image ," AUDIO "') + "\n,,,,\n",
    ],
    ids=["comma", "byte order mark", "semicolon", "tab", "windows", "spaces"],
)
def test_what_spreadsheets_write_is_read(tmp_path, text):
    first, second = rows_of(written(tmp_path, text))
    assert first.options == {"image": "a.png", "audio": "b.wav", "gaze_yaw": 3.5, "seed": 7}
    assert second.options == {"image": "a.png", "audio": "c.wav", "guidance.audio": 0.8}
    assert (str(first.place), str(second.place)) == ("a_b.mp4", "a_c.mp4")


def test_json_lines_hold_the_same_and_come_back_as_they_were(tmp_path):
    made = [
        job_of({"name": "one", "image": "a.png", "guidance.audio": 0.8, "truth": {"index": 3}}),
        job_of(row="vasa", output="deep/er/two", learned=False),
    ]
    write_jobs(tmp_path / "jobs.jsonl", made)
    assert rows_of(tmp_path / "jobs.jsonl") == made
    assert [str(job.place) for job in made] == ["one.mp4", "deep/er/two.mp4"]


def test_a_row_takes_what_is_given_beside_the_list_where_it_says_nothing(tmp_path):
    for name in ("a.png", "b.wav", "c.wav"):
        (tmp_path / name).touch()
    config = InferRun(list=written(tmp_path, "audio,seed,guidance.audio\nb.wav,,\nc.wav,4,0.3\n"), seed=9)
    config.image, config.guidance.gaze = tmp_path / "a.png", 2.0
    one, two = (task.run for task in plan(config))
    assert (one.image, one.seed, one.output) == (tmp_path / "a.png", 9, tmp_path / "b.mp4")
    assert (two.seed, two.guidance.audio, two.guidance.gaze) == (4, 0.3, 2.0)
    assert one.guidance.audio is None and config.guidance.audio is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no row; wanted a row for each video"),
        ("image,audio\n", "holds no row"),
        ("image,audoi\na.png,b.wav\n", "column 'audoi' does not exist; did you mean audio?"),
        ("image,audio,image\na.png,b.wav,a.png\n", "column 'image' is there twice"),
        (TABLE.encode("utf-16"), "is not UTF-8 .*; save it as CSV UTF-8"),
        ("image,audio\nJos\u00e9.png,b.wav\n".encode("latin-1"), "is not UTF-8 .byte 0xe9 at 15"),
        ("image,audio\na.png,b.wav\na.png,b.wav\n", "lines 2 and 3 would both become a_b; give each row"),
    ],
)
def test_what_is_no_list_is_refused_as_a_whole(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=said) as caught:
        read_rows(path)
    assert str(caught.value).startswith(f"list={path}") and "\n" not in str(caught.value)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.csv does not exist; give a CSV file"):
        read_rows(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"gaze_yaw": "0,7"}, "gaze_yaw is '0,7'; wanted a number."),
        ({"gaze_yaw": "nan"}, "gaze_yaw is nan degrees"),
        ({"gaze_yaw": "60"}, "gaze_yaw is 60 degrees .* wanted -28 to 28 degrees"),
        ({"distance": "9"}, "distance is 9; wanted 0.7 to 1.4"),
        ({"emotion": "hapy"}, "emotion is 'hapy'; wanted one of neutral"),
        ({"seed": "1.5"}, "seed is '1.5'; wanted a whole number."),
        ({"allow_centre_crop": "maybe"}, "allow_centre_crop is 'maybe'; wanted true or false."),
        ({"size": "77"}, "size is 77; wanted an even number"),
        ({"image": "nobody.png"}, "image 'nobody.png' does not exist in "),
        ({"audio": ""}, "the row has no audio; name one in a column audio or beside the list."),
        ({"name": "a/b"}, "name is 'a/b', which cannot name a file"),
        ({"output": "../x.mp4"}, "output is '../x.mp4', outside the folder of all videos"),
        ({"output": "x.gif"}, "ending in .mp4"),
        ({"driven_by": "other.wav"}, "driven_by 'other.wav' does not exist in "),
        (
            "one cell too many",
            "the row has 3 cells; wanted 2, as the first line names: put a cell that holds ','",
        ),
    ],
)
def test_what_is_wrong_with_a_row_is_its_own_and_the_others_stay(tmp_path, row, said):
    for name in ("a.png", "b.wav"):
        (tmp_path / name).touch()
    if isinstance(row, str):
        text = "image,audio\na.png,b.wav,b.wav\na.png,b.wav\n"
    else:
        columns = {"image": "a.png", "audio": "b.wav", "name": "bad"} | row
        quoted = ",".join(f'"{value}"' for value in columns.values())
        good = ",".join(
            {"image": "a.png", "audio": "b.wav", "name": "good"}.get(name, "") for name in columns
        )
        text = f"{','.join(columns)}\n{quoted}\n{good}\n"
    bad, fine = plan(InferRun(list=written(tmp_path, text)))
    assert bad.run is None and fine.run is not None and (bad.line, fine.line) == (2, 3)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(bad.reason)
    assert "\n" not in bad.reason


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "the line is no JSON"),
        ("[1]", "wanted one JSON object a line"),
        ('{"gaze": 3}', "column 'gaze' does not exist; did you mean"),
        ('{"gaze_yaw": "much"}', "gaze_yaw is 'much'; wanted a number"),
        ('{"gaze_yaw": true}', "gaze_yaw is true; wanted a number"),
        ('{"image": 5}', "image is 5; wanted a file name"),
    ],
)
def test_a_line_that_is_no_row_is_said_to_be_none(tmp_path, line, said):
    good = json.dumps({"image": "a.png", "audio": "b.wav"})
    bad, fine = rows_of(written(tmp_path, f"{line}\n\n{good}\n", "jobs.jsonl"))
    assert isinstance(fine, Job)
    with pytest.raises(ValueError, match=said):
        raise bad


def test_what_write_jobs_writes_is_read_back_whatever_its_letters(tmp_path):
    job = job_of(name="a\u2028b\x85c", image="m.png", audio="a.wav")
    write_jobs(tmp_path / "l.jsonl", [job])
    assert [row for _, row in read_rows(tmp_path / "l.jsonl")] == [job]


def test_a_list_refuses_two_videos_whose_sidecars_would_be_one(tmp_path):
    path = tmp_path / "l.csv"
    path.write_text("image,output\na.png,x.mp4\nb.png,x.mov\n")
    with pytest.raises(ValueError, match="lines 2 and 3 would both become x;"):
        read_rows(path)
    path.write_text("image,output\na.png,v1.0\nb.png,v1.5\n")
    assert [row.place.name for row in rows_of(path)] == ["v1.0", "v1.5"]  # each is refused for itself


def test_what_an_earlier_run_told_is_not_taken_for_this_ones(tmp_path):
    for rank in range(3):
        write_part(tmp_path, rank, Outcome(made=9))
    os.utime(part_file(tmp_path, 1), (1.0, 1.0))
    remove_stale_parts(tmp_path, 0, since_s=100.0)
    assert [part_file(tmp_path, rank).exists() for rank in range(3)] == [False, False, True]
    write_part(tmp_path, 1, Outcome(made=2))
    total = Outcome(made=1)
    add_parts(total, tmp_path, 3)
    assert (total.made, total.processes) == (12, 3) and not list(tmp_path.iterdir())
