"""LivePortrait's framing against its recorded crops, and turned squares there and back."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from vasa.preprocess.crop import MEAN_POINTS, Crop, cut, turn
from vasa.preprocess.landmark_frame import LandmarkFrame, frame_of, openings, typical_frame

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))

import make_weights  # noqa: E402


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "liveportrait_golden.npz")


@pytest.fixture(scope="module")
def photo():
    return make_weights.image_u8("crop_img", 480, 640)


def source_frame(golden):
    return frame_of(golden["crop/203/pts"]).widened(2.3, 0, -0.125)


def driving_frame(golden):
    return frame_of(golden["crop/203/pts"]).widened(2.2, 0, -0.1)


def matrix(frame, size=512):
    """Pixels of the picture to pixels of the crop, (2, 3)."""
    way = turn(frame.angle) * size / frame.side
    return np.column_stack([way, size / 2 - way @ [frame.centre_x, frame.centre_y]])


def half_a_pixel_on(frame, size=512):
    """A frame of OpenCV's pixels, whose middles have whole numbers here and in the crop, as one of ours."""
    x, y = (
        np.array([frame.centre_x, frame.centre_y])
        + 0.5
        - 0.5 * frame.side / size * (turn(frame.angle).sum(0))
    )
    return LandmarkFrame(float(x), float(y), frame.side, frame.angle)


def places_of(crop, every=8):
    """Pixels of the photograph (s, s, 2) under every eighth pixel of a crop."""
    middles = (np.arange(0, crop.size, every) + 0.5) * 2 / crop.size - 1
    return crop.to_photo(np.stack(np.meshgrid(middles, middles), -1))


def read(photo, places):
    """Colours between pixels, linearly."""
    at = (places[..., 1] - 0.5, places[..., 0] - 0.5)
    return np.stack([map_coordinates(photo[..., i].astype(float), at, order=1) for i in range(3)], -1)


def within(places, photo, margin=1):
    height, width = photo.shape[:2]
    return ((places > margin) & (places < [width - margin, height - margin])).all(-1)


@pytest.mark.parametrize("count", [5, 9, 68, 101, 106, 203])
@pytest.mark.parametrize("lips", [True, False])
def test_the_square_of_every_layout(golden, count, lips):
    """Recorded in single precision: less than a thousandth of a pixel, and 1e-5 rad."""
    found = frame_of(golden[f"crop/{count}/pts"], lips).widened(2.3, 0, -0.125)
    wanted = golden[f"crop/{count}/rect_lip{int(lips)}"]
    np.testing.assert_allclose([found.centre_x, found.centre_y, found.side], wanted[:3], atol=1e-3)
    assert found.angle == pytest.approx(wanted[4], abs=1e-5)


def test_the_way_into_the_crop_and_back(golden):
    source, driving = source_frame(golden), driving_frame(golden)
    np.testing.assert_allclose(matrix(source), golden["crop/src/M_o2c"][:2], atol=1e-4)
    np.testing.assert_allclose(matrix(source.level()), golden["crop/src_norot/M_o2c"][:2], atol=1e-4)
    np.testing.assert_allclose(matrix(driving.level()), golden["crop/drv/M_o2c"][:2], atol=1e-4)
    points, crop = golden["crop/203/pts"], source.crop(512, 512)
    # landmarks of an image are recorded before they are moved into the crop; those of a driver after it
    seen = (driving.level().crop(512, 512).to_crop(points) + 1) * 256
    np.testing.assert_allclose(seen, golden["crop/drv/lmk_crop"], atol=1e-3)
    np.testing.assert_allclose((crop.to_crop(points) + 1) * 256, golden["crop/src/pt_crop"], atol=1e-3)
    np.testing.assert_allclose(crop.to_photo(crop.to_crop(points)), points, atol=1e-9)
    back = crop.to_photo(np.array([[-1.0, -1.0], [1.0, 0.0]]))
    wanted = np.array([[0, 0, 1], [512, 256, 1]]) @ golden["crop/src/M_c2o"][:2].T
    np.testing.assert_allclose(back, wanted, atol=1e-3)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    turned, level = (frame.crop(512, 512).to_photo(corners) for frame in (driving, driving.level()))
    np.testing.assert_allclose(turned, golden["crop/drv/bbox_rot"], atol=1e-3)
    np.testing.assert_allclose(level, golden["crop/drv/bbox"], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "frame"), [("src", source_frame), ("drv", lambda g: driving_frame(g).level())]
)
def test_pixels_of_the_crop(golden, photo, name, frame):
    """Read linearly they are the recorded ones within 2 levels. ``cut`` reads cubically, which keeps detail,
    and on this picture's noise differs by a level on average; outside it continues the border, where
    LivePortrait is black.
    """
    crop = half_a_pixel_on(frame(golden)).crop(512, 512)
    places, wanted = places_of(crop), golden[f"crop/{name}/img_every_8th"].astype(float)
    inside = within(places, photo)
    assert 0.8 < inside.mean() < 0.96
    assert np.abs(read(photo, places) - wanted)[inside].max() <= 2
    ours = cut(photo, crop)[::8, ::8]
    assert np.abs(ours - wanted)[inside].max() <= 8 and np.abs(ours - wanted)[inside].mean() < 1.3
    outside = ~within(places, photo, -2)
    assert wanted[outside].max() == 0 and ours[outside].mean() > 60


def test_pixels_of_the_networks_picture(golden, photo):
    """The crop averaged to 256 px: where ours are shrunk in one step or from 512 px they are within 3."""
    crop = half_a_pixel_on(source_frame(golden)).crop(512, 512)
    small = np.asarray(Image.fromarray(cut(photo, crop)).reduce(2))[::8, ::8].astype(float)
    half = Crop(crop.centre_x, crop.centre_y, crop.side, 256, angle=crop.angle)
    inside = within(places_of(half), photo, 3)
    assert np.abs(small - golden["crop/src/img256_every_8th"])[inside].max() <= 3


def test_openings_of_eyes_and_lips(golden):
    wanted = [*golden["crop/eye_ratio"][0], *golden["crop/lip_ratio"][0]]
    np.testing.assert_allclose(openings(golden["crop/203/pts"]), wanted, atol=1e-6)
    rng = np.random.default_rng(0)
    points = rng.normal(size=(106, 2)) * 100
    points[[33, 40, 35, 39]] = [[0, 1], [0, -1], [-4, 0], [4, 0]]
    points[[87, 94, 89, 93]] = [[0, 2], [0, -2], [-4, 0], [4, 0]]
    points[[62, 60, 52, 61]] = [[0, -3], [0, 3], [-8, 0], [8, 0]]
    np.testing.assert_allclose(openings(points), [0.25, 0.5, 0.375], atol=1e-6)
    points = rng.normal(size=(68, 2)) * 100
    points[36:42] = [[-4, 0], [-1, -1], [1, -1], [4, 0], [1, 1], [-1, 1]]
    points[42:48] = [[-4, 0], [-1, -2], [1, -2], [4, 0], [1, 2], [-1, 2]]
    points[[62, 66, 48, 54]] = [[0, -3], [0, 3], [-8, 0], [8, 0]]
    np.testing.assert_allclose(openings(points), [0.25, 0.5, 0.375], atol=1e-6)
    with pytest.raises(ValueError, match="5 landmarks do not tell openings; wanted 203, 106 or 68"):
        openings(points[:5])


def test_five_points_are_framed_as_the_whole_face_is():
    """Of a face that looks ahead, and the same one turned in the picture."""
    points = MEAN_POINTS[:, :2] * [100, -100] + 200
    level = typical_frame(points)
    assert abs(level.angle) < 1e-6 and level.centre_x == pytest.approx(200)
    assert 100 < level.side < 130 and 230 < level.centre_y < 250
    turned = typical_frame((points - 200) @ turn(0.4) + 200)
    assert turned.angle == pytest.approx(0.4) and turned.side == pytest.approx(level.side)
    middle = np.array([level.centre_x, level.centre_y])
    np.testing.assert_allclose([turned.centre_x, turned.centre_y], (middle - 200) @ turn(0.4) + 200)


def test_a_turned_crop_shows_the_face_upright_at_any_size():
    """A picture turned by hand, cut turned back: the level picture's own crop, however much it shrinks."""
    y, x = np.mgrid[:400, :400] / 400
    level = np.stack([255 * x, 200 * y + 40, 120 + 60 * np.sin(9 * x + 5 * y)], -1).astype(np.uint8)
    turned = np.asarray(Image.fromarray(level).rotate(-20, Image.Resampling.BICUBIC))
    for size in (160, 64, 40):
        wanted = cut(level, Crop(220.0, 190.0, 160.0, size)).astype(int)
        centre = (np.array([220.0, 190.0]) - 200) @ turn(np.deg2rad(20)) + 200
        crop = Crop(float(centre[0]), float(centre[1]), 160.0, size, angle=np.deg2rad(20))
        assert np.abs(cut(turned, crop) - wanted).max() <= 4


@pytest.mark.parametrize(
    ("points", "words"),
    [(np.zeros((7, 2)), r"shape \(7, 2\); wanted"), (np.full((5, 2), np.nan), "not finite; wanted pixels")],
)
def test_what_are_no_landmarks_is_said(points, words):
    with pytest.raises(ValueError, match=words):
        frame_of(points)
    assert frame_of(np.ones((68, 2))).side == 0  # all at one place: upright, of no size
