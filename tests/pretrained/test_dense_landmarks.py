"""Networks of 203, 106 and 68 landmarks: files of the published inputs and outputs, where they are looked
for, and what is said of missing and other ones.
"""

import numpy as np
import onnx
import pytest
import torch
from landmark_files import PX, face_points, write_landmarks
from onnx import helper

from vasa.pretrained.config import DenseLandmarksConfig
from vasa.pretrained.dense_landmarks import Landmarks106, Landmarks203, build_dense
from vasa.pretrained.registry import NETWORKS
from vasa.pretrained.store import place_of


@pytest.fixture(autouse=True)
def _homes(tmp_path, monkeypatch):
    for name in ("TORCH_HOME", "VASA_CACHE", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


def blue(count, share):
    picture = np.zeros((PX[count], PX[count], 3), np.uint8)
    picture[..., 2] = round(255 * share)
    return picture


@pytest.mark.parametrize(("count", "build"), [(203, Landmarks203), (106, Landmarks106)])
def test_points_are_read_as_published(tmp_path, count, build):
    """Red, green and blue in order, in the network's range; points in image coordinates of the view."""
    network = build(write_landmarks(tmp_path / "net.onnx", count, normalises=count == 106))
    for share in (0.0, 0.6):
        np.testing.assert_allclose(network(blue(count, share)), face_points(count, share), atol=1e-4)
    assert network(blue(count, 0)).dtype == np.float64


def test_a_106_graph_that_does_not_normalise_is_given_what_it_wants(tmp_path):
    """Without layers of that name, 0..255 becomes -0.996 to 0.996."""
    network = Landmarks106(write_landmarks(tmp_path / "net.onnx", 106))
    wanted = face_points(106, 127.5 / 128)
    np.testing.assert_allclose(network(blue(106, 1.0)), wanted, atol=1e-4)


def test_files_are_found_where_they_are_kept_and_where_options_say(tmp_path):
    assert build_dense(DenseLandmarksConfig()) == {}
    place = place_of(NETWORKS["landmarks_203"])
    assert place == tmp_path / "VASA_CACHE" / "published" / "liveportrait" / "landmark.onnx"
    place.parent.mkdir(parents=True)
    write_landmarks(place, 203)
    named = write_landmarks(tmp_path / "mine.onnx", 106)
    found = build_dense(DenseLandmarksConfig(points106=named))
    assert list(found) == [203, 106] and [net.size for net in found.values()] == [224, 192]


def test_fan_is_used_for_68_points(tmp_path):
    from face_alignment.models import FAN

    with torch.device("meta"):
        names = FAN(4).state_dict()
    tensors = {n: torch.tensor(1.0 if "var" in n else 0.01).expand(t.shape) for n, t in names.items()}
    torch.save(tensors, tmp_path / "fan.pth.tar")
    network = build_dense(DenseLandmarksConfig(points68=tmp_path / "fan.pth.tar"))[68]
    points = network(np.zeros((network.size, network.size, 3), np.uint8))
    assert points.shape == (68, 2) and np.abs(points).max() <= 1


@pytest.mark.parametrize("count", [203, 106, 68])
def test_a_named_file_that_is_missing_is_told(tmp_path, count):
    given = DenseLandmarksConfig(**{f"points{count}": tmp_path / "no.onnx"})
    with pytest.raises(FileNotFoundError, match=rf"landmarks\.points{count}=.*no\.onnx' does not exist; get"):
        build_dense(given)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "damaged.onnx").write_bytes(b"no network" * 9)
    with pytest.raises(ValueError, match="is damaged, or no ONNX file"):
        Landmarks203(tmp_path / "damaged.onnx")
    one = write_landmarks(tmp_path / "one.onnx", 106)
    with pytest.raises(ValueError, match=r"takes \[1, 3, 192, 192\]; wanted pictures \(1, 3, 224, 224\)"):
        Landmarks203(one)
    model = onnx.load(write_landmarks(tmp_path / "few.onnx", 203))
    del model.graph.output[0]
    onnx.save(model, tmp_path / "few.onnx")
    with pytest.raises(ValueError, match="gives 2 outputs; wanted three"):
        Landmarks203(tmp_path / "few.onnx")
    model = onnx.load(one)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("middle", 1, [1, 2]))
    onnx.save(model, one)
    with pytest.raises(ValueError, match=r"gives \(1, 2\); wanted 106 points"):
        Landmarks106(one)(blue(106, 0.0))
