"""Sweeps: one control at several values for anybody's portrait, and as a perfect model would make them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import soundfile
from PIL import Image

from vasa.config import load
from vasa.data.config import ClipsConfig, SpokenConfig
from vasa.data.synthetic.clips import SyntheticClips
from vasa.data.synthetic.dynamics import main_direction
from vasa.inference.batch import run_list
from vasa.inference.config import SWEEPS, MakeJobsRun
from vasa.inference.list_files import Material
from vasa.inference.sweeps import steps, sweep_list
from vasa.inference.true_sweeps import TRUE_ROW, resting, swept, true_sweep
from vasa.metrics.controls import emotion_weights, summarise_controls
from vasa.metrics.sources import find_rows, read_clip
from vasa.records import EMOTIONS


def test_a_sweep_is_a_folder_of_videos_that_say_what_was_asked(tmp_path, picture, talking_face):
    Image.fromarray(picture).save(tmp_path / "me.png")
    soundfile.write(tmp_path / "a.wav", 0.3 * np.sin(np.arange(8000) / 9), 16_000)
    cfg = load(
        "infer",
        [
            "sweep=head_yaw",
            f"image={tmp_path / 'me.png'}",
            f"audio={tmp_path / 'a.wav'}",
            f"out={tmp_path / 'o'}",
        ],
    )
    made = run_list(sweep_list(cfg), talking_face)
    assert len(made) == 5
    clips = [read_clip(files) for files in find_rows(tmp_path / "o")["controls"]]
    assert sorted(clip.asked["head_yaw"] for clip in clips) == [-15, -7, 0, 7, 15]
    assert all(clip.portrait is not None and len(clip.frames) == 13 for clip in clips)


def test_a_sweep_into_a_folder_behind_a_link_finds_its_picture(tmp_path, picture, talking_face):
    (tmp_path / "far" / "away" / "o").mkdir(parents=True)
    (tmp_path / "here").symlink_to(tmp_path / "far" / "away")
    Image.fromarray(picture).save(tmp_path / "me.png")
    soundfile.write(tmp_path / "a.wav", 0.3 * np.sin(np.arange(4000) / 9), 16_000)
    words = ["sweep=head_roll", f"out={tmp_path / 'here' / 'o'}", f"image={tmp_path / 'me.png'}"]
    with pytest.raises(ValueError, match="sweep=head_roll comes without audio; add audio=FILE"):
        sweep_list(load("infer", words))
    made = run_list(sweep_list(load("infer", [*words, f"audio={tmp_path / 'a.wav'}"])), talking_face)
    assert len(made) == 3


def test_a_word_sweeps_its_angles_in_one_folder_from_one_start(tmp_path, picture, talking_face):
    Image.fromarray(picture).save(tmp_path / "me.png")
    soundfile.write(tmp_path / "a.wav", 0.3 * np.sin(np.arange(8000) / 9), 16_000)
    files = [
        f"{name}={tmp_path / file}" for name, file in (("image", "me.png"), ("audio", "a.wav"), ("out", "o"))
    ]
    made = run_list(sweep_list(load("infer", ["sweep=gaze", *files])), talking_face)
    assert len(made) == 9 and len({video.stem for video in made}) == 9
    asked = [read_clip(clip).asked for clip in find_rows(tmp_path / "o")["controls"]]
    pairs = [(one["gaze_yaw"], one["gaze_pitch"]) for one in asked]
    assert sorted(pairs) == sorted(
        [(0, 0), *((yaw, 0) for yaw in (-20, -10, 10, 20)), *((0, pitch) for pitch in (-12, -6, 6, 12))]
    )
    # what an evaluation makes of them: each angle has a sweep of its own
    seen = {**dict.fromkeys(("head_yaw", "head_pitch", "head_roll"), 0.0), "distance": 1.0}
    seen |= dict.fromkeys(EMOTIONS, 0.0)
    columns = [
        {f"{name}_seen": value for name, value in {**seen, "gaze_yaw": yaw, "gaze_pitch": -pitch}.items()}
        for yaw, pitch in pairs
    ]
    found = summarise_controls(asked, columns)
    assert (found["gaze_yaw_monotony"], found["gaze_pitch_monotony"]) == pytest.approx((1, -1))
    assert found["gaze_yaw_leak"] == pytest.approx(0, abs=1e-9) and "head_yaw_monotony" not in found


def test_the_head_is_swept_about_each_axis():
    asked = [values for _, values in steps("head")]
    assert [set(values) for values in asked] == [
        set(),
        *[{"head_yaw"}] * 4,
        *[{"head_pitch"}] * 2,
        *[{"head_roll"}] * 2,
    ]


def test_every_judged_control_is_swept_once_with_a_start_in_common():
    labels = [label for label, _ in steps()]
    assert len(set(labels)) == len(labels) and labels[0] == "as_it_is"
    assert {"gaze_yaw_-20", "distance_1.3", "emotion_fear", "head_roll_+10"} <= set(labels)
    assert not any("blink" in label for label in labels)
    assert [asked for _, asked in steps("blink_rate")] == [{}, *({"blink_rate": v} for v in (0, 6, 15, 30))]


@pytest.mark.parametrize(
    "arguments", [["sweep=glance", "out=o"], ["sweep=gaze"], ["sweep=gaze_yaw", "out=o", "list=a.csv"]]
)
def test_a_sweep_needs_a_known_control_and_a_folder(arguments):
    with pytest.raises(ValueError, match="sweep"):
        load("infer", arguments)


ASKED = [{}, {"gaze_yaw": 20.0}, {"gaze_pitch": -12.0}, {"distance": 1.3}, {"head_yaw": 15.0}]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_a_true_sweep_is_exactly_what_is_asked(asked):
    clips = SyntheticClips(
        "test", ClipsConfig(num_clips=1, seconds=3.0, spoken=SpokenConfig(espeak_share=0, silent_share=0))
    )
    made, home = true_sweep(clips, 0, asked), resting(clips, 0)
    yaw, pitch = np.degrees(main_direction(made.controls[:, :2].numpy()))
    assert yaw == pytest.approx(asked.get("gaze_yaw", 0), abs=0.5)
    assert pitch == pytest.approx(asked.get("gaze_pitch", 0), abs=0.5)
    turn = math.degrees(float((made.pose - home.pose)[:, 0].mean()))
    assert turn == pytest.approx(asked.get("head_yaw", 0), abs=0.01)
    distance = float(made.pose[:, 5].neg().exp().mean() / home.pose[0, 5].neg().exp())
    assert distance == pytest.approx(asked.get("distance", 1), abs=1e-3)


def test_what_a_true_sweep_says_of_itself_can_be_measured(tmp_path):
    """Where no mood is asked for, none is named: defaults such as auto are no mood."""
    run = MakeJobsRun(output=tmp_path, num_clips=1, seconds=1.0, size=64)
    jobs = swept(run, Material("clip000", {"index": 0}))
    said = [json.loads(path.read_text()) for path in sorted((tmp_path / TRUE_ROW).glob("*.job.json"))]
    assert len(said) == len(jobs) == len(steps())
    assert sorted(one["emotion"] for one in said if "emotion" in one) == sorted(SWEEPS["emotion"])
    assert all(emotion_weights(one.get("emotion") or {}).sum() == pytest.approx(1) for one in said)
    assert all(one["gaze_yaw"] == 0 for one in said if "gaze_yaw" not in one["name"])


def test_a_mood_changes_the_face_and_nothing_else():
    clips = SyntheticClips(
        "test", ClipsConfig(num_clips=1, seconds=2.0, spoken=SpokenConfig(espeak_share=0, silent_share=0))
    )
    calm, glad = (true_sweep(clips, 0, asked) for asked in ({}, {"emotion": "happy"}))
    assert float((glad.pose - calm.pose).abs().max()) < 1e-5
    assert float((glad.controls - calm.controls)[:, 10].mean()) > 0.7  # smile
