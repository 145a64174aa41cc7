"""Detectors: real faces are found where they are, in any size and with little room, and pictures without one
stay empty.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from vasa.pretrained.config import DetectorConfig
from vasa.pretrained.detector import CascadeDetector, ScrfdDetector, build_detector

ASTRONAUT_EYES = np.array([225.9, 102.0])


@pytest.fixture(scope="module")
def cascade():
    return CascadeDetector(DetectorConfig())


def eyes(face):
    return face.points[:2].mean(0)


def test_the_default_needs_no_file():
    assert build_detector(DetectorConfig()).name == "cascade"


def test_a_named_file_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="detector.scrfd=.*does not exist"):
        build_detector(DetectorConfig(scrfd=tmp_path / "none.onnx"))


@pytest.mark.parametrize("size", [32, 64, 512, 1500])
def test_the_cascade_finds_one_face_at_any_size(cascade, size):
    portrait = Image.fromarray(data.astronaut()[:256, 100:356]).resize((size, size))
    faces = cascade.detect(np.asarray(portrait))
    assert len(faces) == 1
    wanted = (ASTRONAUT_EYES - [100, 0]) * size / 256
    assert np.hypot(*(eyes(faces[0]) - wanted)) < 0.05 * size


def test_a_face_that_fills_the_picture_is_found_by_adding_room(cascade):
    tight = data.astronaut()[62:190, 165:285]
    faces = cascade.detect(tight)
    assert len(faces) == 1
    assert np.hypot(*(eyes(faces[0]) - (ASTRONAUT_EYES - [165, 62]))) < 15


@pytest.mark.parametrize("degrees", [20, -20])
def test_a_tilted_face_is_found_with_its_tilt(cascade, degrees):
    photo = Image.fromarray(data.astronaut()[:256, 100:356])
    faces = cascade.detect(
        np.asarray(photo.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128)))
    )
    assert len(faces) >= 1
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    wanted = turn @ (ASTRONAUT_EYES - [228, 128]) + 128
    assert np.hypot(*(eyes(faces[0]) - wanted)) < 20


@pytest.mark.parametrize(
    "name", ["coffee", "chelsea", "rocket", "camera", "coins", "page", "brick", "grass", "gravel"]
)
def test_pictures_without_a_face_stay_empty(cascade, name):
    picture = getattr(data, name)()
    picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2)
    assert cascade.detect(picture[..., :3]) == []


def test_two_people_are_two_faces_the_larger_first(cascade):
    one = Image.fromarray(data.astronaut()[:256, 100:356])
    both = np.zeros((256, 512, 3), np.uint8) + 128
    both[:, :256] = np.asarray(one)
    both[60:220, 300:460] = np.asarray(one.resize((160, 160)))
    faces = cascade.detect(both)
    assert len(faces) == 2
    assert eyes(faces[0])[0] < 256 < eyes(faces[1])[0]


@pytest.fixture(scope="module")
def scrfd(request):
    found = sorted((request.config.rootpath.parent / "shared" / "weights").glob("scrfd*.onnx"))
    if not found:
        pytest.skip("no SCRFD file beside the project")
    return ScrfdDetector(DetectorConfig(scrfd=found[0]))


def test_scrfd_finds_a_face_and_points_in_order(scrfd):
    face = scrfd.detect(data.astronaut())[0]
    assert np.hypot(*(eyes(face) - ASTRONAUT_EYES)) < 5
    assert face.points[0, 0] < face.points[1, 0]
    assert face.points[3, 1] > face.points[2, 1] > face.points[0, 1]


def test_scrfd_finds_a_face_that_fills_the_picture(scrfd):
    tight = data.astronaut()[62:190, 165:285]
    face = scrfd.detect(tight)[0]
    assert np.hypot(*(eyes(face) - (ASTRONAUT_EYES - [165, 62]))) < 8


def test_scrfd_looks_at_pictures_of_another_size(scrfd, request):
    """A quarter of the pixels: the same face, its points within some pixels."""
    found = sorted((request.config.rootpath.parent / "shared" / "weights").glob("scrfd*.onnx"))
    quick = ScrfdDetector(DetectorConfig(scrfd=found[0], scrfd_px=320))
    face, same = quick.detect(data.astronaut())[0], scrfd.detect(data.astronaut())[0]
    assert np.abs(face.points - same.points).max() < 6
    with pytest.raises(ValueError, match="scrfd_px is 300; wanted a multiple of 32"):
        DetectorConfig(scrfd_px=300)


@pytest.mark.media
def test_both_detectors_agree_on_real_portraits(scrfd, cascade, media: Path):
    for name in ("people_0.png", "s12.jpg", "s5.jpg", "s6.jpg", "s9.jpg"):
        photo = np.asarray(Image.open(media / "image" / name).convert("RGB"))
        exact, rough = scrfd.detect(photo)[0], cascade.detect(photo)[0]
        width = exact.box[2] - exact.box[0]
        assert np.hypot(*(eyes(exact) - eyes(rough))) < 0.2 * width, name
