"""Trials make the frames that the table measures, from the parts of the pipeline, with any face space."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vasa.data.config import TrialsConfig
from vasa.data.trials import asked_values
from vasa.inference.trials import Trials
from vasa.pretrained.config import LandmarkNetConfig
from vasa.pretrained.landmarks import LandmarkNet
from vasa.records import AUDIO_HZ
from vasa.video import VideoWriter

QUICK = TrialsConfig(
    size=32,
    quality="draft",
    pairs=2,
    clips=2,
    clip_seconds=1.0,
    true_clips=2,
    asked_clips=2,
    asked_frames=2,
    recording_seconds=1.0,
    real_frames=2,
    photo_size=48,
    photo_seconds=1.0,
    yaw_steps=3,
)


@pytest.fixture
def points() -> LandmarkNet:
    return LandmarkNet(LandmarkNetConfig(size=32, widths=[8, 8, 8, 8, 8], decoder_width=8)).eval()


@pytest.fixture
def folder(tmp_path: Path, picture: np.ndarray) -> Path:
    """A recording, a video and two pictures, one of them black: no face in it."""
    for kind in ("audio", "video", "image"):
        (tmp_path / kind).mkdir()
    with wave.open(str(tmp_path / "audio" / "hum.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(AUDIO_HZ)
        file.writeframes((np.sin(np.arange(2 * AUDIO_HZ) / 20) * 9000).astype(np.int16).tobytes())
    with VideoWriter(tmp_path / "video" / "moving.mp4", 48, 48) as writer:
        for shift in range(8):
            writer.write(np.roll(np.pad(picture, ((0, 0), (4, 4), (0, 0))), shift, 1))
    Image.fromarray(picture).save(tmp_path / "image" / "one.png")
    Image.fromarray(np.zeros_like(picture)).save(tmp_path / "image" / "black.png")
    return tmp_path


def test_all_trials_of_a_face(talking_face, points: LandmarkNet, folder: Path) -> None:
    out = Trials(talking_face, QUICK, points, folder).run()
    assert out.reenactment is not None and out.reenactment.made_swap.shape == (2, 3, 32, 32)
    assert [clip.made.shape for clip in out.spoken] == [(25, 3, 32, 32)] * 2
    assert all(
        clip.track.shape == (25, 3) and clip.seconds > 0 and clip.true is not None for clip in out.spoken
    )
    assert [clip.made.shape[0] for clip in (*out.asked, *out.asked_true)] == [2] * 4
    assert len(out.recordings[0].made) == 50  # a second of sound and one of silence
    assert out.real_clips[0].warped is None  # the painted face has nothing learned to leave out
    assert out.real_clips[0].true.shape == (2, 3, 32, 32)
    assert [photo.name for photo in out.photographs] == ["one"]
    assert out.photographs[0].made.shape == (25, 3, 40, 40)
    assert "black.png" in out.skipped


def test_without_real_media_the_reason_is_kept(talking_face, points: LandmarkNet, tmp_path: Path) -> None:
    out = Trials(talking_face, QUICK, points, tmp_path / "nothing").run()
    assert not out.recordings and "real media" in out.skipped["real"]


def test_commanded_yaw_is_added_to_the_portraits_own(talking_face, points, folder: Path) -> None:
    """The painted face draws its yaw as the red of its first rows: three commands, three equal steps."""
    photo = next(Trials(talking_face, QUICK, points, folder).photograph({}))
    red = photo.turned[:, 0, :8].float().mean((1, 2)) / 127.5 - 1
    assert torch.allclose(red, photo.commanded_yaw, atol=0.02)


def test_what_is_asked_for_varies_over_clips_and_reaches_the_motion_model(talking_face, points) -> None:
    values = asked_values(TrialsConfig(asked_clips=30))
    assert all(float(emotion.sum()) == pytest.approx(1.0) for _, _, emotion in values)
    gaze, distance = (torch.stack([v[i] for v in values]) for i in (0, 1))
    assert float(gaze.std()) > 0.08 and float(distance.std()) > 0.06
    list(Trials(talking_face, QUICK, points, None).ask())
    assert torch.equal(talking_face.motion.seen["conditions"].gaze[0], asked_values(QUICK)[1][0])
