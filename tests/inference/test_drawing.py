"""Guidance and seed as tracks: a constant one is the option itself to the bit, a change is heard from its
window on and not before, and columns that would mean nothing are refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from vasa.inference.animate import animate, check
from vasa.inference.asked import asked_of
from vasa.inference.batch import run_list
from vasa.inference.config import GuidanceOverride, InferRun
from vasa.inference.jobs import job_of
from vasa.inference.motion_files import SavedMotion
from vasa.motion.config import GUIDED, GuidanceConfig, MotionConfig, SamplerConfig, TransformerConfig
from vasa.motion.diffusion import MotionDiffusion
from vasa.motion.windows import MotionGenerator
from vasa.records import NUM_CONTROLS, MotionLayout
from vasa.video import VideoReader, VideoWriter

W, HOP = 10, 8
"""Frames of a window and those that it gives out: windows begin at 0, 0.32, 0.64 and 0.96 s."""


@pytest.fixture
def drawing_face(talking_face):
    """The stand-in face under a real motion model, untrained, that hears sound, gaze and mood."""
    torch.manual_seed(0)
    config = MotionConfig(
        window_frames=W,
        history_frames=2,
        transformer=TransformerConfig(width=16, num_layers=1, num_heads=2, feedforward=16),
        sampler=SamplerConfig(
            steps=2,
            lookahead_frames=W - HOP,
            neutral=True,
            guidance=GuidanceConfig(audio=0.7, gaze=0.4, distance=0.2, emotion=0.5),
        ),
    )
    model = MotionDiffusion(config, MotionLayout.volumetric(NUM_CONTROLS), audio_dim=1)
    torch.nn.init.normal_(model.transformer.motion_out.weight, std=0.2)
    talking_face.motion = MotionGenerator(model, {"name": "loudness"}, "")
    return talking_face


@pytest.fixture
def files(tmp_path, picture):
    """image.png, audio.wav (1 s) and film.mp4 (25 frames)."""
    Image.fromarray(picture).save(tmp_path / "image.png")
    soundfile.write(tmp_path / "audio.wav", 0.3 * np.sin(np.arange(16_000) / 9), 16_000)
    with VideoWriter(tmp_path / "film.mp4", 60, 80) as writer:
        for number in range(25):
            writer.write(np.full((60, 80, 3), 60 + 4 * number, np.uint8))
    return tmp_path


def motion_of(face, folder, track: str | None = None, name="o", **options) -> torch.Tensor:
    """Raw motion (25, E) that options and a track show; blinks are added, which a seed draws too."""
    if track is not None:
        (folder / "track.csv").write_text(track)
        options["controls"] = folder / "track.csv"
    given = {"image": folder / "image.png", "audio": folder / "audio.wav", "blink_rate": 60.0, "size": 64}
    run = InferRun(**{**given, "output": folder / f"{name}.mp4", "save_motion": True, **options})
    animate(run, face)
    return SavedMotion.load(folder / f"{name}.motion.safetensors", "", face.face.layout.width).values


@pytest.mark.parametrize(("condition", "value"), [("audio", 0.0), *((name, 1.3) for name in GUIDED)])
def test_a_constant_track_of_guidance_is_the_option_to_the_bit(drawing_face, files, condition, value):
    track = f"time,guidance.{condition}\n0,{value}\n0.5,{value}\n3,{value}\n"
    as_option = motion_of(drawing_face, files, guidance=GuidanceOverride(**{condition: value}))
    assert torch.equal(motion_of(drawing_face, files, track), as_option)
    assert not torch.equal(motion_of(drawing_face, files), as_option)


def test_a_track_of_guidance_stands_beside_options_of_others(drawing_face, files):
    given = {"guidance": GuidanceOverride(audio=9.0, emotion=1.5)}
    tracked = motion_of(drawing_face, files, "time,guidance.audio\n0,2\n", **given)
    wanted = motion_of(drawing_face, files, guidance=GuidanceOverride(audio=2.0, emotion=1.5))
    assert torch.equal(tracked, wanted)


def test_guidance_changes_with_its_window_and_not_before(drawing_face, files):
    one = motion_of(drawing_face, files, "time,guidance.audio\n0,1\n0.64,1\n0.68,1\n")
    other = motion_of(drawing_face, files, "time,guidance.audio\n0,1\n0.64,1\n0.68,3\n")
    assert torch.equal(one[: 2 * HOP], other[: 2 * HOP])
    assert not torch.equal(one[2 * HOP : 3 * HOP], other[2 * HOP : 3 * HOP])


def test_a_constant_seed_track_is_the_option_to_the_bit(drawing_face, files):
    seed = 2**63 - 1
    as_option = motion_of(drawing_face, files, seed=seed)
    assert torch.equal(motion_of(drawing_face, files, f"time,seed\n0,{seed}\n0.5,{seed}\n"), as_option)
    assert not torch.equal(motion_of(drawing_face, files), as_option)
    saved = SavedMotion.load(files / "o.motion.safetensors", "", drawing_face.face.layout.width)
    assert saved.seed == 0


@pytest.mark.parametrize("time", [0.33, 0.36, 0.6, 0.6399])
def test_a_seed_that_changes_is_heard_from_the_window_of_its_time_on(drawing_face, files, time):
    one = motion_of(drawing_face, files, f"time,seed\n0,5\n{time},6\n")
    other = motion_of(drawing_face, files, f"time,seed\n0,5\n{time},7\n")
    assert torch.equal(one[:HOP], other[:HOP])
    assert torch.equal(one[:HOP], motion_of(drawing_face, files, seed=5)[:HOP])
    assert not torch.allclose(one[HOP : 2 * HOP], other[HOP : 2 * HOP])


def test_a_video_with_other_lips_has_tracks_too(drawing_face, files):
    common = {"image": files / "film.mp4", "keep": "brows"}
    one, same, other = (
        motion_of(drawing_face, files, track, **common)
        for track in (None, "time,seed,guidance.audio\n0,0,0.7\n", "time,seed,guidance.audio\n0,0,5\n")
    )
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize(
    ("column", "options", "words"),
    [
        ("seed", {"driving": "film.mp4"}, "column seed, but the motion is that of driving=.*film.mp4"),
        ("guidance.gaze", {"driving": "film.mp4"}, "column guidance.gaze, .* none is generated"),
        ("seed", {"motion": "film.mp4"}, "column seed, but the motion is that of motion="),
        ("guidance.audio", {"fast": True}, "guidance.audio, but guidance is part .* leave out the column"),
    ],
)
def test_a_column_of_drawing_is_refused_where_nothing_is_drawn_so(files, column, options, words):
    (files / "track.csv").write_text(f"time,{column}\n0,1\n")
    options = {name: files / v if isinstance(v, str) else v for name, v in options.items()}
    run = InferRun(controls=files / "track.csv", output=files / "o.mp4", **options)
    with pytest.raises(ValueError, match=words) as caught:
        check(run)
    assert "\n" not in str(caught.value)


def test_the_student_takes_a_seed_track_and_its_checkpoint_refuses_guidance(drawing_face, files):
    assert asked_of(InferRun(fast=True, controls=_seeds(files))).seed(0, 1) == 4
    drawing_face.motion.config.sampler.baked = True
    with pytest.raises(ValueError, match="guidance=a track are asked of a motion model that learned"):
        motion_of(drawing_face, files, "time,guidance.audio\n0,1\n")


def _seeds(folder):
    (folder / "seeds.csv").write_text("time,seed\n0,4\n")
    return folder / "seeds.csv"


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64])
def test_a_seed_that_no_generator_takes_is_one_sentence(seed):
    wanted = f"seed is {seed}; wanted a whole number from 0 to 9223372036854775807"
    with pytest.raises(ValueError, match=wanted):
        InferRun(seed=seed)
    with pytest.raises(ValueError, match=wanted):
        job_of(name="a", seed=seed).run(InferRun(), Path(), Path())


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_guidance_below_nothing_is_one_sentence(value):
    with pytest.raises(ValueError, match=r"guidance.gaze is .*; wanted a number from 0 on"):
        GuidanceOverride(gaze=value)


def test_the_largest_seed_makes_a_person_and_words_too(drawing_face, tmp_path):
    run = InferRun(seed=2**63 - 1, seconds=0.4, output=tmp_path / "o.mp4", size=64)
    animate(run, drawing_face)
    assert len(VideoReader(tmp_path / "o.mp4")) == 10


def test_rows_of_a_list_have_seed_tracks_of_their_own(drawing_face, files):
    (files / "list.csv").write_text("name,controls,save_motion\na,a.csv,true\nb,b.csv,true\n")
    (files / "a.csv").write_text("time,seed\n0,5\n")
    (files / "b.csv").write_text("time,seed\n0,5\n0.7,6\n")
    shared = {"image": files / "image.png", "audio": files / "audio.wav", "size": 64}
    run_list(InferRun(list=files / "list.csv", **shared), drawing_face)
    width = drawing_face.face.layout.width
    a, b = (SavedMotion.load(files / f"{n}.motion.safetensors", "", width).values for n in "ab")
    assert torch.equal(a[: 2 * HOP], b[: 2 * HOP]) and not torch.equal(a[2 * HOP :], b[2 * HOP :])
