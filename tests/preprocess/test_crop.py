"""The crop rule: a head under any pose is framed as the renderer frames it, nothing is enlarged, margins are
filled.
"""

import numpy as np
import pytest
import torch

from vasa.data.synthetic.heads import make_identities, neutral_landmarks
from vasa.geometry import project
from vasa.preprocess.crop import MEAN_POINTS, Crop, centre_crop, crop_face, cut, five_points, picture_size

PHOTO_CENTRE, PHOTO_HALF = np.array([700.0, 500.0]), 180.0


def seen_points(yaw=0.0, pitch=0.0, roll=0.0):
    """The mean face in a photograph: head centre at PHOTO_CENTRE, half a frame PHOTO_HALF pixels."""
    pose = torch.tensor([yaw, pitch, roll, 0, 0, 0], dtype=torch.float64)
    return project(torch.from_numpy(MEAN_POINTS), pose).numpy() * PHOTO_HALF + PHOTO_CENTRE


@pytest.mark.parametrize("yaw", [-0.5, -0.2, 0.0, 0.3])
@pytest.mark.parametrize("pitch", [-0.15, 0.0, 0.15])
@pytest.mark.parametrize("roll", [0.0, 0.35])
def test_a_mean_head_in_any_pose_is_framed_as_the_renderer_frames_it(yaw, pitch, roll):
    crop = crop_face(seen_points(yaw, pitch, roll), 32, 4096)
    # Exact but for the prior on pose: of five points a nod is hard to tell from a short face.
    assert crop.side == pytest.approx(2 * PHOTO_HALF, rel=0.04)
    assert np.hypot(crop.centre_x - PHOTO_CENTRE[0], crop.centre_y - PHOTO_CENTRE[1]) < 0.06 * PHOTO_HALF
    assert np.abs(np.array([crop.yaw - yaw, crop.pitch - pitch, crop.roll - roll])).max() < 0.12


def test_a_level_mean_head_is_framed_exactly():
    crop = crop_face(seen_points(), 32, 4096)
    assert (crop.centre_x, crop.centre_y, crop.side) == pytest.approx(
        (*PHOTO_CENTRE, 2 * PHOTO_HALF), abs=0.05
    )
    assert crop.size == 360


def test_the_mean_points_are_those_of_the_procedural_heads():
    points = [five_points(landmarks) for landmarks in neutral_landmarks(make_identities(range(24))).numpy()]
    # Means of 24 people around the means of all: people spread by up to 0.035 head units.
    assert np.abs(np.mean(points, 0) - MEAN_POINTS).max() < 0.025


def test_crops_of_people_differ_little_from_the_renderers_framing():
    for landmarks in neutral_landmarks(make_identities(range(12))):
        pose = torch.zeros(6)
        crop = crop_face(five_points(project(landmarks, pose).numpy()) * 100, 32, 4096)
        assert crop.side == pytest.approx(200, rel=0.12)
        assert np.hypot(crop.centre_x, crop.centre_y) < 12


def test_points_go_to_the_photograph_and_back():
    crop = Crop(310.5, 222.25, 187.0, 128)
    points = np.random.default_rng(0).uniform(-2, 2, (7, 2))
    np.testing.assert_allclose(crop.to_crop(crop.to_photo(points)), points, atol=1e-12)


def test_a_cut_shows_what_its_coordinates_say():
    photo = np.zeros((200, 300, 3), np.uint8)
    photo[90:110, 140:160] = 255
    crop = Crop(140.0, 110.0, 80.0, 160)
    picture = cut(photo, crop)
    rows, columns = np.nonzero(picture[..., 0] > 127)
    middle = (np.array([columns.mean(), rows.mean()]) + 0.5) / 160 * 2 - 1
    np.testing.assert_allclose(crop.to_photo(middle), [150, 100], atol=0.3)


def test_at_the_photographs_own_scale_pixels_are_copied():
    photo = np.random.default_rng(0).integers(0, 255, (100, 120, 3), dtype=np.uint8)
    picture = cut(photo, Crop(60.0, 50.0, 40.0, 40))
    assert (picture == photo[30:70, 40:80]).all()


@pytest.mark.parametrize(("side", "wanted"), [(20, 128), (200.7, 200), (201.1, 202), (511, 512), (3000, 512)])
def test_resolution_is_the_photographs_between_the_bounds(side, wanted):
    assert picture_size(side, 128, 512) == wanted


def test_outside_the_photograph_its_border_goes_on_without_edges():
    photo = np.tile(np.linspace(40, 220, 64).astype(np.uint8)[:, None, None], (1, 64, 3))
    picture = cut(photo, Crop(32.0, 32.0, 128.0, 128)).astype(int)
    assert (picture[32:96, 32:96] == photo).mean() > 0.99  # the photograph itself is untouched
    assert np.abs(np.diff(picture, axis=0)).max() < 12  # and no black frame around it
    assert picture[0].mean() == pytest.approx(40, abs=6)
    assert picture[-1].mean() == pytest.approx(220, abs=6)


def test_a_crop_far_outside_still_has_a_picture():
    photo = np.full((50, 50, 3), 77, np.uint8)
    assert (cut(photo, Crop(-200.0, 25.0, 60.0, 32)) == 77).all()


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.zeros((5, 2)), "0.0 pixels apart"),
        (np.full((5, 2), np.nan), "finite"),
        (np.zeros((68, 2)), r"\(68, 2\)"),
    ],
)
def test_points_that_are_no_face_are_refused(points, words):
    with pytest.raises(ValueError, match=words):
        crop_face(points, 32, 512)


@pytest.mark.parametrize(("height", "width"), [(100, 300), (300, 100), (64, 64)])
def test_the_centre_crop_lies_inside(height, width):
    crop = centre_crop(height, width, 32, 512)
    assert crop.side == min(height, width)
    assert crop.centre_y - crop.side / 2 >= 0
    assert crop.centre_y + crop.side / 2 <= height
    assert crop.centre_x == width / 2
