"""Saved motion: the same video again, on another portrait its own pose, refused where it means nothing."""

import csv
import math

import numpy as np
import pytest
import torch

from vasa.checkpoint import CheckpointError
from vasa.inference import performance
from vasa.inference.config import InferRun
from vasa.inference.motion_files import MotionRecorder, SavedMotion, write_table
from vasa.inference.retarget import Retargeter
from vasa.records import CONTROL_INDEX, CONTROL_NAMES


@pytest.fixture
def performed(talking_face, picture):
    """A second of speech: (frames, what was saved of it, the portrait)."""
    talking_face.checkpoint["encoders_sha256"] = "a" * 64
    talking_face.face.rest[0, 0] = 0.13
    portrait, recorder = talking_face.prepare(picture), MotionRecorder()
    tone = np.sin(np.arange(16_000) / 9).astype(np.float32)
    frames = np.stack(list(talking_face.generate(portrait, tone, 16_000, seed=3, edits=[recorder])))
    saved = SavedMotion(recorder.values, portrait.motion, talking_face.face_hash, seed=3)
    return frames, saved, portrait


def replayed(saved, face, portrait):
    retarget = Retargeter(face.face, portrait.motion, reference=saved.portrait)
    return np.stack(list(face.perform(portrait, saved.chunks(), len(saved.values), [retarget])))


def test_a_replay_on_the_same_portrait_is_the_same_to_the_bit(performed, talking_face, tmp_path):
    frames, saved, portrait = performed
    saved.save(tmp_path / "o.motion.safetensors")
    loaded = SavedMotion.load(tmp_path / "o.motion.safetensors", "a" * 64, saved.values.shape[1])
    assert torch.equal(loaded.values, saved.values) and loaded.seed == 3
    assert np.array_equal(replayed(loaded, talking_face, portrait), frames)


def test_a_replay_on_another_portrait_keeps_that_ones_pose(performed, talking_face):
    _, saved, portrait = performed
    portrait.motion = portrait.motion.clone()
    portrait.motion[0, 0] = -0.4
    retarget = Retargeter(talking_face.face, portrait.motion, reference=saved.portrait)
    shown = retarget(saved.values, 0)
    torch.testing.assert_close(shown[:, 0] + 0.4, saved.values[:, 0] - 0.13)
    assert torch.equal(shown[:, 1:], saved.values[:, 1:])


def test_motion_of_other_encoders_is_refused(performed, tmp_path):
    _, saved, _ = performed
    path, width = tmp_path / "o.motion.safetensors", saved.values.shape[1]
    saved.save(path)
    with pytest.raises(CheckpointError, match="saved with motion encoders aaaaaaaaaaaa, but this checkpoint"):
        SavedMotion.load(path, "b" * 64, width)
    with pytest.raises(CheckpointError, match="wanted \\(T, 9\\)"):
        SavedMotion.load(path, "a" * 64, 9)
    with pytest.raises(FileNotFoundError, match="made by save_motion=true"):
        SavedMotion.load(tmp_path / "none.motion.safetensors", "a" * 64, width)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="damaged"):
        SavedMotion.load(path, "a" * 64, width)


def test_a_table_of_motion_is_in_seconds_and_degrees(talking_face, tmp_path):
    face = talking_face.face
    motion = torch.zeros(3, face.layout.width)
    motion[2, 0], motion[2, 5] = math.radians(10), math.log(1.5)
    motion[2, 6 + CONTROL_INDEX["gaze_pitch"]] = math.radians(-4)
    motion[2, 6 + CONTROL_INDEX["jaw"]] = 0.5
    write_table(tmp_path / "o.csv", motion, face, talking_face.device)
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:7] == ["time", "yaw", "pitch", "roll", "translation_x", "translation_y", "scale"]
    assert tuple(list(rows[0])[7:]) == CONTROL_NAMES
    last = {name: float(value) for name, value in rows[2].items()}
    assert (last["time"], last["scale"], last["jaw"]) == pytest.approx((0.08, 1.5, 0.5), abs=1e-4)
    assert (last["yaw"], last["gaze_pitch"]) == pytest.approx((10, -4), abs=1e-3)


def test_saved_motion_is_known_by_its_option_not_by_its_name(performed, talking_face, tmp_path):
    _, saved, portrait = performed
    renamed, video = tmp_path / "nods.safetensors", tmp_path / "nods.mp4"
    saved.save(renamed)
    options = InferRun(motion=renamed)
    _, length, _, seed = performance._from_file(renamed, options, talking_face, portrait, 1.0, {})
    assert (length, seed) == (len(saved.values), 3)
    video.write_bytes(b"a video")
    with pytest.raises(CheckpointError, match=r"nods\.mp4"):
        performance._from_file(video, InferRun(motion=video), talking_face, portrait, 1.0, {})
