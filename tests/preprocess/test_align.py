"""From a photograph to its face: which finder, which face, and what happens when there is none."""

import numpy as np
import pytest
import torch
from skimage.data import astronaut, brick

import vasa.preprocess.align as module
from vasa.data.config import SPLIT_SEEDS, TrialsConfig
from vasa.data.trials import portrait_of
from vasa.preprocess.align import FaceAligner
from vasa.preprocess.crop import crop_face
from vasa.pretrained.config import DetectorConfig, LandmarkNetConfig
from vasa.pretrained.detector import FaceBox
from vasa.pretrained.files import save_network
from vasa.pretrained.landmarks import LandmarkNet, LandmarkPrediction

# Where SCRFD puts the five points of the picture that scikit-image carries.
ASTRONAUT = np.array([[204.4, 100.8], [247.3, 103.1], [223.5, 128.4], [201.2, 138.5], [246.4, 140.6]])


class Fixed:
    """A detector that always finds the same faces."""

    name, is_exact = "fixed", False

    def __init__(self, *faces):
        self.faces = list(faces)

    def detect(self, photo, smallest=0.0):
        return self.faces


def face_at(x, y, side):
    points = np.array([[-0.19, -0.11], [0.19, -0.11], [0, 0.12], [-0.145, 0.285], [0.145, 0.285]]) * side + [
        x,
        y,
    ]
    return FaceBox(np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2]), points, 0.9)


class KnownLandmarks:
    """A landmark network that knows where the face is in the photograph, and is unsure of everything
    elsewhere.
    """

    config = LandmarkNetConfig()

    def __init__(self, aligner, centre, confidence=0.95):
        self.aligner, self.centre, self.confidence, self.looks = aligner, centre, confidence, 0

    def predict(self, images):
        self.looks += 1
        points = np.zeros((68, 2))
        for group, point in zip(
            (range(36, 42), range(42, 48), (30,), (48,), (54,)), self.centre, strict=True
        ):
            points[list(group)] = point
        seen = torch.from_numpy(self.aligner.last_crop.to_crop(points))[None]
        return LandmarkPrediction(seen, torch.zeros(1, 6), torch.tensor([self.confidence]))


def watch_cuts(aligner, monkeypatch):
    """Lets KnownLandmarks see which crop it is asked about, and cuts nothing."""

    def remember(photo, crop):
        aligner.last_crop = crop
        return np.zeros((crop.size, crop.size, 3), np.uint8)

    monkeypatch.setattr(module, "cut", remember)


@pytest.fixture
def aligner():
    return FaceAligner(DetectorConfig(landmarks=None))


def test_the_default_finds_a_photographed_face_where_it_is(aligner):
    found = aligner.find(astronaut(), 128, 512)
    wanted = crop_face(ASTRONAUT, 128, 512)
    assert found.found_by == "cascade"
    assert found.points is None  # a cascade's points are typical, not seen
    assert found.crop.side == pytest.approx(wanted.side, rel=0.15)
    assert (
        np.hypot(found.crop.centre_x - wanted.centre_x, found.crop.centre_y - wanted.centre_y)
        < 0.1 * wanted.side
    )


def test_the_largest_of_several_faces_is_used_and_said(aligner, caplog):
    aligner._detector = Fixed(face_at(300, 300, 200), face_at(80, 80, 60))
    with caplog.at_level("WARNING"):
        found = aligner.find(astronaut(), 128, 512)
    assert found.num_faces == 2
    assert abs(found.crop.centre_x - 300) < 40
    assert "2 faces in the picture; using the largest" in caplog.text


def test_no_face_is_an_error_that_says_what_to_do(aligner):
    with pytest.raises(
        ValueError, match="no face was found in the 200x100 picture; .*allow_centre_crop=true"
    ):
        aligner.find(np.full((100, 200, 3), 128, np.uint8), 128, 512)


def test_the_middle_is_used_only_when_allowed_and_with_a_notice(aligner, caplog):
    with caplog.at_level("WARNING"):
        found = aligner.find(np.full((100, 200, 3), 128, np.uint8), 32, 512, allow_centre_crop=True)
    assert (found.found_by, found.num_faces, found.crop.side) == ("centre", 0, 100)
    assert "No face was found" in caplog.text


def test_landmarks_refine_a_rough_detection(aligner, monkeypatch):
    watch_cuts(aligner, monkeypatch)
    aligner._detector = Fixed(face_at(230, 122, 110))
    aligner._landmarks = KnownLandmarks(aligner, ASTRONAUT)
    found = aligner.find(astronaut(), 128, 512)
    wanted = crop_face(ASTRONAUT, 128, 512)
    assert found.found_by == "fixed+landmarks"
    assert aligner._landmarks.looks == 2
    assert (found.crop.centre_x, found.crop.centre_y) == pytest.approx(
        (wanted.centre_x, wanted.centre_y), abs=1e-3
    )


def test_what_the_landmark_network_takes_for_no_face_is_dropped(aligner, monkeypatch):
    watch_cuts(aligner, monkeypatch)
    aligner._detector = Fixed(face_at(230, 122, 110))
    aligner._landmarks = KnownLandmarks(aligner, ASTRONAUT, confidence=0.1)
    with pytest.raises(ValueError, match="no face"):
        aligner.find(astronaut(), 128, 512)


def test_a_landmark_file_is_read_where_it_is_and_points_that_are_no_face_are_dropped(tmp_path):
    network = LandmarkNet(LandmarkNetConfig(widths=[4, 4, 4, 4, 4], decoder_width=8))
    save_network(network, tmp_path / "landmarks.safetensors", {})
    aligner = FaceAligner(DetectorConfig(landmarks=tmp_path / "landmarks.safetensors", min_confidence=1e-6))
    # It was never trained: all its points fall together, and that is no face.
    with pytest.raises(ValueError, match="no face"):
        aligner.find(astronaut(), 128, 512)


def test_landmarks_far_from_the_detection_do_not_move_the_crop(aligner, monkeypatch):
    watch_cuts(aligner, monkeypatch)
    aligner._detector = Fixed(face_at(230, 122, 110))
    rough = aligner.find(astronaut(), 128, 512).crop
    aligner._landmarks = KnownLandmarks(aligner, ASTRONAUT + 40)
    found = aligner.find(astronaut(), 128, 512)
    assert found.found_by == "fixed"
    assert found.crop == rough
    aligner._landmarks = KnownLandmarks(aligner, ASTRONAUT + 40, confidence=0.995)  # sure from the middle too
    found = aligner.find(astronaut(), 128, 512)
    assert found.found_by == "fixed+landmarks" and found.crop != rough


def test_a_framed_head_that_no_cascade_knows_is_found_and_textures_are_not(root):
    """The shipped aligner, where the cascade is blind."""
    aligner = FaceAligner(DetectorConfig(landmarks=root / "checkpoints/judges/landmarks.safetensors"))
    aligner._detector = Fixed()
    head = portrait_of(SPLIT_SEEDS["test"].start + 5, TrialsConfig(size=128)).permute(1, 2, 0).numpy()
    found = aligner.find(head, 128, 512)
    assert (found.found_by, found.num_faces) == ("landmarks", 1) and found.confidence > 0.985
    assert abs(found.crop.centre_x - 64) < 12 and 80 < found.crop.side < 170
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    for other in (
        noise,
        np.full_like(noise, 90),
        brick()[..., None].repeat(3, 2),
        np.ascontiguousarray(head[96:]),
    ):
        with pytest.raises(ValueError, match="no face"):
            aligner.find(other, 64, 512)
