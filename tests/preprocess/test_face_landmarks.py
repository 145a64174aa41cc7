"""Faces by the best landmarks that are there: framed, measured, followed."""

import logging

import numpy as np
import pytest
from landmark_files import write_landmarks

from vasa.preprocess.face_landmarks import FaceLandmarks, OpeningsFollower, agree
from vasa.preprocess.landmark_frame import LandmarkFrame, frame_of, typical_frame
from vasa.pretrained.dense_landmarks import Landmarks106, Landmarks203

FIVE = np.array([[180, 200], [260, 200], [220, 240], [190, 290], [250, 290]], float)


def photo(blue=0.5, bright=None):
    """A picture of one blue; or a black one, bright around a place."""
    made = np.zeros((480, 640, 3), np.uint8)
    made[..., 2] = round(255 * blue) if bright is None else 0
    if bright is not None:
        x, y = bright
        made[y - 4 : y + 5, x - 4 : x + 5, :2] = 255
    return made


@pytest.fixture
def networks(tmp_path):
    def made(*counts, follows=False):
        build = {203: Landmarks203, 106: Landmarks106}
        return {
            n: build[n](write_landmarks(tmp_path / f"{n}{follows}.onnx", n, follows, normalises=n == 106))
            for n in counts
        }

    return made


def test_without_networks_five_points_frame_and_tell_nothing():
    seen = FaceLandmarks({}).see(photo(), FIVE)
    assert seen.frame == typical_frame(FIVE) and seen.openings is None and seen.seen_by == "5"


@pytest.mark.parametrize(("counts", "by"), [((203,), "203"), ((106,), "106"), ((203, 106), "106+203")])
def test_networks_frame_and_measure(networks, counts, by):
    """Networks that see a face just where theirs should be come back to the frame they started from, upright
    but for 106's, whose view is level.
    """
    landmarks = FaceLandmarks(networks(*counts))
    seen = landmarks.see(photo(0.4), FIVE)
    assert seen.seen_by == by and landmarks.tells_openings
    rough = typical_frame(FIVE)
    assert agree(seen.frame, rough) and seen.frame.side == pytest.approx(rough.side, rel=0.02)
    np.testing.assert_allclose(seen.openings, 0.4, atol=0.01)


def test_points_are_of_the_photograph_however_the_face_is_turned(networks):
    """A bright spot is the middle of what is seen: its place in the photograph comes back."""
    for angle in (0.0, 0.5):
        rough = LandmarkFrame(300.0, 250.0, 120.0, angle)
        landmarks = FaceLandmarks(networks(203, follows=True))
        points = landmarks.points_at(photo(bright=(310, 240)), rough)
        found = frame_of(points)
        down = 0.1 * 1.5 * 120 * rough.axes[1]  # the points lie so far below the spot
        np.testing.assert_allclose([found.centre_x, found.centre_y], [310.5, 240.5] + down, atol=0.5)
        assert found.angle == pytest.approx(angle, abs=1e-3)


def test_landmarks_elsewhere_are_not_believed(networks, caplog):
    landmarks = FaceLandmarks(networks(106, follows=True))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):  # as of a video's frames: told once
            seen = landmarks.seen_near(photo(bright=(330, 380)), LandmarkFrame(300.0, 250.0, 160.0, 0.0))
    assert seen.frame.centre_y == 250 and caplog.text.count("106 landmarks lie elsewhere") == 1


def test_openings_are_followed_from_frame_to_frame(networks):
    """Each where the last one was; where the square that is told jumps, there anew."""
    landmarks = FaceLandmarks(networks(203))
    follow = OpeningsFollower(landmarks)
    rough = typical_frame(FIVE)
    for share in (0.1, 0.5, 0.3):
        np.testing.assert_allclose(follow(photo(share), rough), share, atol=0.01)
    far = LandmarkFrame(rough.centre_x + 300, rough.centre_y, rough.side, 0.0)
    np.testing.assert_allclose(follow(photo(0.2), far), 0.2, atol=0.01)
    assert follow._last is not None and agree(follow._last, far)
