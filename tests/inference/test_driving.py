"""A portrait that follows a video: its change since the first frame, wherever the face wanders and when it is
gone for a while.
"""

import logging
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vasa.inference.driving import EASE, motion_of, soundtrack
from vasa.inference.face_video import FaceVideo
from vasa.inference.retarget import FREE, MOST, DriverRetargeter
from vasa.preprocess.align import FoundFace
from vasa.preprocess.crop import Crop
from vasa.records import CONTROL_INDEX, NUM_CONTROLS
from vasa.video import VideoReader, VideoWriter

SIDE = 40
"""Of the square that the finder below sees around a bright patch of half the size."""


class PatchFinder:
    """Finds a face where the picture is bright: the middle of what is, in a square of SIDE at 200 px."""

    def find(self, photo, min_size, max_size, allow_centre_crop=False, last=None):
        y, x = np.nonzero(photo[..., 0] > 100)
        if not len(x):
            raise ValueError("no face was found in the picture.")
        side = 2 * np.sqrt(len(x))
        return FoundFace(Crop(x.mean() + 0.5, y.mean() + 0.5, float(side), 32), "patch", 1, 1.0)


def patches(path, centres, size=20, shape=(120, 200), level=200):
    """A video of a bright square at each of the centres (None: no square)."""
    with VideoWriter(path, *shape, crf=1) as writer:
        for centre in centres:
            frame = np.zeros((*shape, 3), np.uint8)
            if centre is not None:
                x, y = (round(c - size / 2) for c in centre)
                frame[y : y + size, x : x + size] = level
            writer.write(frame)
    return path


@pytest.fixture
def seeing(talking_face):
    """A face space whose translation is where the bright patch is in the crop, whose jaw is how bright."""
    face = talking_face.face

    def motion(images):
        light = (images[:, 0] + 1) / 2
        grid = (torch.arange(32) + 0.5) / 16 - 1
        weight = light.sum((1, 2)).clamp(min=1e-3)
        found = torch.zeros(len(images), face.layout.width)
        found[:, 3] = (light.sum(1) * grid).sum(1) / weight
        found[:, 4] = -(light.sum(2) * grid).sum(1) / weight
        found[:, face.layout.dynamics.start + CONTROL_INDEX["jaw"]] = light.amax((1, 2))
        return found

    face.motion = motion
    talking_face.aligner = PatchFinder()
    return talking_face


def followed(path, face, **options):
    video = FaceVideo(path, face.aligner, **options)
    return video, torch.cat(list(motion_of(video, face.face, face.device)))


def test_a_face_that_stays_about_its_place_keeps_the_first_square(tmp_path, seeing):
    video, motion = followed(patches(tmp_path / "v.mp4", [(100 + i / 10, 60) for i in range(30)]), seeing)
    assert np.ptp(video.crops, 0).max() == 0
    assert motion[-1, 3] - motion[0, 3] == pytest.approx(3 / (SIDE / 2), abs=0.05)


def test_a_face_that_wanders_is_followed_and_its_way_is_kept(tmp_path, seeing):
    places = [(50 + 2 * i, 60 - i / 2) for i in range(51)]
    video, motion = followed(patches(tmp_path / "v.mp4", places), seeing)
    assert video.crops[-1, 0] - video.crops[0, 0] > 80
    np.testing.assert_allclose(np.abs(np.diff(video.crops[:, 0])), 2, atol=2.1)  # it glides
    way = (torch.tensor(places) - torch.tensor(places[0])) / (video.crops[0, 2] / 2)
    shown = motion[:, 3:5] - motion[:1, 3:5]
    torch.testing.assert_close(shown, way * torch.tensor([1.0, -1.0]), atol=0.06, rtol=0)


def test_a_face_that_comes_nearer_is_so_much_larger(tmp_path, seeing):
    video = FaceVideo(patches(tmp_path / "v.mp4", [(100, 60)] * 3), seeing.aligner)
    video.crops = np.array([[100, 60, 40], [100, 60, 80], [110, 60, 40.0]])
    layout = seeing.face.layout
    moved = video.in_first_square(torch.zeros(3, layout.width), 0, layout)
    assert moved[:, 5].exp().tolist() == pytest.approx([1, 2, 1])
    assert moved[:, 3].tolist() == pytest.approx([0, 0, 0.5])


def test_motion_is_held_while_the_face_is_away_and_eases_back(tmp_path, seeing):
    there, back = [(100, 60)] * 20, [(103, 60)] * 30
    video, motion = followed(patches(tmp_path / "v.mp4", [*there, *[None] * 30, *back]), seeing)
    gone = np.flatnonzero(~video.seen)
    assert 11 <= gone[0] <= 20 and 49 <= gone[-1] <= 54
    place = motion[:, 3].numpy()
    assert np.ptp(place[gone]) == 0 and place[gone[0]] == place[gone[0] - 1]
    assert place[-1] - place[0] == pytest.approx(0.15, abs=0.05)
    assert np.abs(np.diff(place)).max() < 0.15 / EASE * 2


def test_one_missed_look_is_no_absence(tmp_path, seeing):
    places = [(100, 60)] * 30
    places[10] = None
    video, _ = followed(patches(tmp_path / "v.mp4", places), seeing)
    assert video.seen.all()


def test_before_the_face_is_first_seen_it_is_as_then(tmp_path, seeing):
    video, motion = followed(patches(tmp_path / "v.mp4", [*[None] * 40, *[(100, 60)] * 20]), seeing)
    assert not video.seen[:36].any() and len(motion) == 60
    torch.testing.assert_close(motion[:40], motion[video.first].expand(40, -1), atol=1e-3, rtol=0)


def test_no_face_at_all_is_one_sentence(tmp_path, seeing):
    with pytest.raises(ValueError, match="no face was found in driving .*v.mp4' .* give a video of a face"):
        FaceVideo(patches(tmp_path / "v.mp4", [None] * 8), seeing.aligner)


def test_any_rate_is_brought_to_25_a_second(tmp_path, seeing):
    with VideoWriter(tmp_path / "v.mp4", 120, 200, fps=10) as writer:
        for _ in range(20):
            frame = np.zeros((120, 200, 3), np.uint8)
            frame[50:70, 90:110] = 200
            writer.write(frame)
    assert len(FaceVideo(tmp_path / "v.mp4", seeing.aligner)) == 50


def test_pixels_that_are_wider_than_high_become_square(tmp_path):
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8))))
        container.mux(stream.encode())
    assert {frame.shape for frame in VideoReader(tmp_path / "v.mp4")} == {(64, 192, 3)}


def test_frames_are_encoded_as_they_are_asked_for(tmp_path, seeing):
    video = FaceVideo(patches(tmp_path / "v.mp4", [(100, 60)] * 100), seeing.aligner)
    calls, motion = [], seeing.face.motion
    seeing.face.motion = lambda images: calls.append(len(images)) or motion(images)
    chunks = motion_of(video, seeing.face, seeing.device)
    next(chunks)
    assert calls == [32]
    assert [len(chunk) for chunk in chunks] == [32, 32, 4]


def controls_of(**values):
    controls = torch.zeros(NUM_CONTROLS)
    for name, value in values.items():
        controls[CONTROL_INDEX[name]] = value
    return controls


def test_relative_following_starts_at_the_portrait_and_adds_the_change(talking_face):
    face = talking_face.face
    own, driver = torch.zeros(1, face.layout.width), torch.zeros(3, face.layout.width)
    own[:, :6] = torch.tensor([0.2, 0.1, 0, 0.05, 0, 0.1])
    driver[:, :6] = torch.tensor([-0.3, 0.2, 0.1, 0.2, 0.1, -0.4])
    driver[1, 0] += 0.25
    driver[2, 3] += 5
    driver[:, 6:] = controls_of(smile=0.4, jaw=0.1)
    driver[1, 6:] = controls_of(smile=0.9, jaw=0.6)
    shown = DriverRetargeter(face, own)(driver, 0)
    torch.testing.assert_close(shown[0], own[0])
    assert shown[1, 0] == pytest.approx(0.45)
    torch.testing.assert_close(shown[1, 6:], controls_of(smile=0.5, jaw=0.5))
    assert FREE < shown[2, 3] - own[0, 3] <= MOST  # it stays in the picture


def test_a_mouth_that_begins_open_can_still_close(talking_face):
    face = talking_face.face
    driver = torch.zeros(2, face.layout.width)
    driver[0, 6:] = controls_of(jaw=0.7, blink_left=0.9)
    driver[1, 6:] = controls_of(jaw=0.0)
    shown = DriverRetargeter(face, torch.zeros(1, face.layout.width))(driver, 0)
    torch.testing.assert_close(shown[0, 6:], controls_of(jaw=0.55, blink_left=0.65))
    assert shown[1, 6:][CONTROL_INDEX["jaw"]] == 0


def test_absolute_following_is_the_drivers_own_motion(talking_face):
    driver = torch.rand(4, talking_face.face.layout.width)
    own = torch.rand(1, talking_face.face.layout.width)
    shown = DriverRetargeter(talking_face.face, own, "absolute", keep_expression=0.0)(driver, 0)
    assert torch.equal(shown, driver)


def test_a_videos_sound_begins_with_its_first_frame(tmp_path, caplog):
    tone = np.linspace(-0.5, 0.5, 16_000).astype(np.float32)
    with VideoWriter(tmp_path / "v.mp4", 32, 32, audio=tone, audio_hz=16_000) as writer:
        for _ in range(25):
            writer.write(np.zeros((32, 32, 3), np.uint8))
    sound, rate = soundtrack(tmp_path / "v.mp4")
    assert rate == 16_000 and len(sound) == pytest.approx(16_000, abs=1100)  # aac's blocks
    with caplog.at_level(logging.INFO):
        assert soundtrack(patches(tmp_path / "silent.mp4", [(100, 60)]))[0] is None
    assert "no sound" in caplog.text
