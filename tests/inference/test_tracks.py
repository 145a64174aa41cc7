"""Controls that change with time: read exactly, refused in one sentence each."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from vasa.inference.tracks import read_tracks
from vasa.records import EMOTIONS

GOOD = "time,gaze_yaw,emotion,pitch\n0,0,neutral,0\n1,10,happy:0.5+sad:0.5,-5\n3,-10,happy,5\n"


def written(folder, content, name="track.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_values_go_in_straight_lines_and_stay_outside(tmp_path):
    track = read_tracks(written(tmp_path, GOOD))
    yaw = track.at("gaze_yaw", np.array([-10, 0, 12.5, 25, 50, 75, 500])).mul(180 / math.pi)
    torch.testing.assert_close(yaw, torch.tensor([0.0, 0, 5, 10, 0, -10, -10]), atol=1e-4, rtol=0)
    happy = track.at("emotion", np.array([0, 12.5, 25, 75]))[:, EMOTIONS.index("happy")]
    torch.testing.assert_close(happy, torch.tensor([0.0, 0.25, 0.5, 1.0]))
    torch.testing.assert_close(track.at("emotion", np.arange(100.0)).sum(1), torch.ones(100))
    assert "head_pitch" in track and "head_yaw" not in track


def test_every_way_of_writing_a_track_says_the_same(tmp_path):
    frames = np.arange(0, 90.0, 7)
    weights = "time,gaze_yaw,happy,sad,head_pitch\n0,0,0,0,0\n1,10,.5,.5,-5\n3,-10,1,0,5\n"
    columns = {
        "time": [0, 1, 3],
        "gaze_yaw": [0, 10, -10],
        "emotion": ["neutral", {"happy": 0.5, "sad": 0.5}, "happy"],
        "pitch": [0, -5, 5],
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    ways = {
        "weights.csv": weights,
        "bom.csv": b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(),
        "columns.json": json.dumps(columns),
        "rows.json": json.dumps(rows),
    }
    wanted = read_tracks(written(tmp_path, GOOD))
    for name, content in ways.items():
        found = read_tracks(written(tmp_path, content, name))
        for control in ("gaze_yaw", "emotion", "head_pitch"):
            torch.testing.assert_close(found.at(control, frames), wanted.at(control, frames))


BAD = [
    ("t.csv", "time,gaze_yaw\n0,1\n2,3\n1,2\n", "row 3 has time 1 after 2; wanted rising"),
    ("t.csv", "time,gaze_yaw\n0,1\n0,3\n", "row 2 has time 0 after 0"),
    ("t.csv", "time,gaze_yaw\n0,nan\n", "row 1 has gaze_yaw 'nan'; wanted a finite number"),
    ("t.csv", "time,gaze_yaw\ninf,1\n", "row 1 has time 'inf'"),
    ("t.csv", "time,gaze_yaw\n0,\n", "row 1 has gaze_yaw ''"),
    ("t.csv", "gaze_yaw,distance\n0,1\n", "no column time"),
    ("t.csv", "time,gaze\n0,1\n", "column 'gaze' is unknown; wanted some of time"),
    ("t.csv", "time\n0\n", "no column but time"),
    ("t.csv", "time,gaze_yaw\n0,60\n", "row 1: gaze_yaw is 60 degrees .* wanted -28 to 28 degrees"),
    ("t.csv", "time,distance\n0,1\n1,5\n", "row 2: distance is 5; wanted 0.7 to 1.4"),
    ("t.csv", "time,blink_rate\n0,-1\n", "row 1: blink_rate is -1; wanted 0 to 60"),
    ("t.csv", "time,emotion\n0,joyful\n", "row 1: emotion is 'joyful'; wanted one of neutral"),
    ("t.csv", "time,happy,sad\n0,0.7,0.7\n", "row 1: emotion weights sum to 1.4"),
    ("t.csv", "time,happy,emotion\n0,0.7,sad\n", "both a column emotion and weights of happy"),
    ("t.csv", "time,guidance.audio\n0,1\n1,-1\n", "row 2: guidance.audio is -1; wanted a number from 0 on"),
    ("t.csv", "time,guidance.gaze\n0,nan\n", "row 1 has guidance.gaze 'nan'; wanted a finite number"),
    ("t.csv", "time,guidance.pose\n0,1\n", "column 'guidance.pose' is unknown; wanted .*guidance.audio"),
    ("t.csv", "time,seed\n0,1\n1,1.5\n", "row 2 has seed '1.5'; wanted a whole number from 0 to 92233"),
    ("t.csv", "time,seed\n0,-1\n", "row 1 has seed '-1'; wanted a whole number"),
    ("t.csv", f"time,seed\n0,{2**63}\n", f"row 1 has seed '{2**63}'; wanted a whole number"),
    ("t.csv", "time,seed\n0,nan\n", "row 1 has seed 'nan'; wanted a whole number"),
    ("t.csv", "time,seed\n0,inf\n", "row 1 has seed 'inf'; wanted a whole number"),
    ("t.json", '{"time": [0], "seed": [true]}', "row 1 has seed True; wanted a whole number"),
    ("t.json", '{"time": [0], "seed": [null]}', "row 1 has seed None; wanted a whole number"),
    ("t.csv", "time,yaw,head_yaw\n0,1,1\n", "a column twice"),
    ("t.csv", "time,yaw,yaw\n0,1,1\n", "a column twice"),
    ("t.csv", "", "is empty"),
    ("t.csv", "time,gaze_yaw\n", "no row"),
    ("t.csv", "time;gaze_yaw\n0;1\n", "semicolons; wanted commas"),
    ("t.csv", "time,gaze_yaw\n0,1,2\n", "row 1 has 3 cells; wanted 2"),
    ("t.csv", "time,gaze_yaw\n0,1\xe9\n".encode("latin-1"), "is not UTF-8"),
    ("t.json", "{", "is no JSON"),
    ("t.json", "3", "neither an object of lists nor a list"),
    ("t.json", '{"time": [0, 1], "gaze_yaw": [1]}', "unequal length"),
    ("t.json", '[{"time": 0, "distance": 1}, {"time": 1}]', "row 2 has time; wanted time, distance"),
    ("t.json", '{"time": [0], "gaze_yaw": [true]}', "gaze_yaw True"),
    ("t.json", '{"time": [0], "emotion": [3]}', "emotion 3; wanted a name"),
    ("t.json", "[]", "no column time"),
    ("t.txt", GOOD, "wanted .csv or .json"),
]


@pytest.mark.parametrize(("name", "content", "said"), BAD, ids=[said for *_, said in BAD])
def test_a_bad_track_is_refused_in_one_sentence(tmp_path, name, content, said):
    path = written(tmp_path, content, name)
    with pytest.raises(ValueError, match=said) as caught:
        read_tracks(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_track_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist"):
        read_tracks(tmp_path / "none.csv")


def test_a_quote_that_never_ends_and_an_endless_number_are_one_sentence(tmp_path):
    (tmp_path / "t.csv").write_text('time,gaze_yaw\n"0,1\n' + "1,2\n" * 60_000)
    with pytest.raises(ValueError, match="a quote that never ends"):
        read_tracks(tmp_path / "t.csv")
    (tmp_path / "t.json").write_text('{"time": [0], "gaze_yaw": [1' + "0" * 400 + "]}")
    with pytest.raises(ValueError, match="wanted a finite number"):
        read_tracks(tmp_path / "t.json")


def test_a_seed_stays_between_rows_and_is_exact(tmp_path):
    content = f"time,seed\n0.5,{2**63 - 1}\n2,{2**63 - 2}\n4,7.0\n"
    track = read_tracks(written(tmp_path, content))
    # a window has the seed of the last row whose time lies in it: 2 s is the moment when frame 50 begins
    for stop, seed in (
        (1, 2**63 - 1),
        (50, 2**63 - 1),
        (51, 2**63 - 2),
        (100, 2**63 - 2),
        (101, 7),
        (900, 7),
    ):
        assert track.last("seed", stop) == seed
    rows = [{"time": 0.5, "seed": 2**63 - 1}, {"time": 2, "seed": 2**63 - 2}, {"time": 4, "seed": 7.0}]
    same = read_tracks(written(tmp_path, json.dumps(rows), "t.json"))
    assert same.values["seed"].tolist() == track.values["seed"].tolist()


def test_a_windows_guidance_is_its_mean_and_a_constant_one_exactly_itself(tmp_path):
    track = read_tracks(written(tmp_path, "time,guidance.audio,guidance.gaze\n0,0,0.3\n2,4,0.3\n"))
    assert track.mean("guidance.audio", 0, 50) == pytest.approx(2 * 24.5 / 25)
    assert track.mean("guidance.audio", 60, 80) == 4
    assert [track.mean("guidance.gaze", first, first + 37) for first in range(0, 99, 11)] == [0.3] * 9
