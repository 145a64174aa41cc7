"""A video that gets other lips: all else stays, for as long as somebody speaks."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from vasa.inference.source_frames import is_video, swinging, swung
from vasa.inference.source_video import SourceVideo, dub
from vasa.preprocess.align import FoundFace
from vasa.preprocess.crop import Crop
from vasa.records import CONTROL_INDEX
from vasa.video import VideoWriter

POINTS = np.array([[30, 30], [50, 30], [40, 40], [32, 50], [48, 50]], float)


class Middle:
    """Finds a face in the middle of bright pictures, with points."""

    def find(self, photo, min_size, max_size, allow_centre_crop=False, last=None):
        if photo.max() < 60:
            raise ValueError("no face was found in the picture.")
        return FoundFace(Crop(40.0, 40.0, 64.0, 32), "middle", 1, 1.0, POINTS)

    def points_of(self, photo, crop):
        return POINTS


def film(path, levels):
    with VideoWriter(path, 80, 90, crf=1) as writer:
        for level in levels:
            writer.write(np.full((80, 90, 3), level, np.uint8))
    return path


@pytest.fixture
def source(talking_face, tmp_path):
    talking_face.aligner = Middle()
    return SourceVideo.open(film(tmp_path / "v.mp4", [100 + 4 * i for i in range(10)]), talking_face, 64)


def speech(face, length, jaw=0.6, brow=0.9, yaw=0.5):
    motion = torch.zeros(length, face.face.layout.width)
    motion[:, 0] = yaw
    motion[:, 6 + CONTROL_INDEX["jaw"]] = jaw
    motion[:, 6 + CONTROL_INDEX["brow_raise"]] = brow
    return iter(motion.split(7))


def shown(face, source, **options):
    seen = []
    record = lambda motion, first: seen.append(motion) or motion  # noqa: E731
    frames = list(dub(face, source, speech(face, 8), 8, recorder=record, **options))
    return frames, torch.cat(seen)


def test_a_video_is_gone_through_back_and_forth(source):
    steps = list(swinging(source.video, 40))
    numbers = [number for number, _ in steps]
    assert numbers == [*range(10), *range(8, 0, -1), *range(10), *range(8, 0, -1), *range(4)]
    levels = [int(frame.mean().round()) for _, frame in steps]
    assert np.abs(np.array(levels) - [100 + 4 * n for n in numbers]).max() <= 2
    assert [n for n, _ in swinging(source.video, 13)] == [*range(10), 8, 7, 6]
    assert swung(10, 40).tolist() == numbers and swung(1, 3).tolist() == [0, 0, 0]


def test_head_eyes_and_brows_stay_and_the_lips_speak(talking_face, source):
    talking_face.face.rest[0, 0] = 0.21
    _, motion = shown(talking_face, source)
    assert motion[:, 0].tolist() == pytest.approx([0.21] * 8)
    assert motion[:, 6 + CONTROL_INDEX["jaw"]].tolist() == pytest.approx([0.6] * 8)
    assert motion[:, 6 + CONTROL_INDEX["brow_raise"]].abs().max() == 0


def test_what_is_not_kept_follows_the_sound(talking_face, source):
    _, motion = shown(talking_face, source, keep=())
    assert motion[:, 0].tolist() == pytest.approx([0.5] * 8)
    assert motion[:, 6 + CONTROL_INDEX["brow_raise"]].tolist() == pytest.approx([0.9] * 8)


def test_all_but_the_lower_face_is_the_frame_itself(talking_face, source, monkeypatch):
    monkeypatch.setattr(talking_face.face, "render", lambda appearance, motion: torch.ones_like(appearance))
    frames, _ = shown(talking_face, source)
    for (_, frame), made in zip(swinging(source.video, 8), frames, strict=True):
        changed = (made != frame).any(-1)
        assert not changed[:30].any() and not changed[:, :10].any() and not changed[:, 72:].any()
        assert (made[50, 40] == 255).all()


def test_a_face_that_is_lost_leaves_the_frame_as_it_is(talking_face, tmp_path, monkeypatch):
    talking_face.aligner = Middle()
    levels = [120] * 20 + [20] * 20 + [120] * 20
    source = SourceVideo.open(film(tmp_path / "w.mp4", levels), talking_face, 64)
    monkeypatch.setattr(talking_face.face, "render", lambda appearance, motion: torch.ones_like(appearance))
    made = list(dub(talking_face, source, speech(talking_face, 60), 60))
    mouth = np.array([frame[50, 40, 0] for frame in made], int)
    assert mouth[0] == mouth[-1] == 255 and mouth[22] < 30 and mouth[37] < 30
    gone = np.flatnonzero(~source.video.seen)
    assert len(gone) and (mouth[gone] < 130).all()


def test_the_mouths_rest_is_what_the_video_shows(talking_face, tmp_path):
    talking_face.aligner = Middle()
    talking_face.face.rest[0, 6 + CONTROL_INDEX["smile"]] = 0.3
    talking_face.face.rest[0, 6 + CONTROL_INDEX["jaw"]] = 0.9
    source = SourceVideo.open(film(tmp_path / "w.mp4", [120] * 6), talking_face, 64)
    assert float(source.rest[0, CONTROL_INDEX["smile"]]) == pytest.approx(0.3)
    assert float(source.rest[0, CONTROL_INDEX["jaw"]]) == pytest.approx(0.15)  # never an open mouth


def test_a_video_is_known_by_its_content(source, tmp_path):
    shutil.copy(source.video.path, tmp_path / "v.jpg")
    assert is_video(tmp_path / "v.jpg")
    Image.new("RGB", (30, 30)).save(tmp_path / "p.png")
    shutil.copy(tmp_path / "p.png", tmp_path / "p.mp4")
    (tmp_path / "t.mp4").write_text("no video")
    assert not any(is_video(tmp_path / name) for name in ("p.png", "p.mp4", "t.mp4", "none.mp4"))
