"""Recorded outputs of LivePortrait under pseudo-random weights (tests/golden): what the kit's script
compares, and what it leaves to us.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vasa.face.keypoints.animation import KeypointMotion, hull_multiplier
from vasa.face.keypoints.camera import headpose_degrees
from vasa.face.keypoints.networks import KeypointNetworks
from vasa.face.keypoints.smoothing import smoothed
from vasa.face.keypoints.stitching import COORDINATES, Retargeting
from vasa.face.keypoints.warping import heat_maps, volume_grid

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))

import make_weights  # noqa: E402


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "liveportrait_golden.npz")


def checked(adapter, groups):
    command = [sys.executable, str(GOLDEN / "check_golden.py"), str(GOLDEN / adapter), "--only", groups]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=GOLDEN.parents[1],
        env={"PYTHONPATH": ".", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return int(done.stdout.splitlines()[-1].split()[0])


def test_the_small_networks_the_camera_and_every_rule():
    assert checked("adapter.py", "S,unit,pipeline") >= 53


@pytest.mark.full
def test_every_group_by_the_plain_graph():
    assert checked("adapter.py", "F,M,W,G,S,unit,pipeline,E2E") >= 105


@pytest.mark.full
def test_warping_and_generator_by_the_optimised_graph():
    assert checked("adapter_optimised.py", "W,G,E2E") >= 12


@pytest.mark.full
def test_a_stitched_frame_by_the_plain_graph(golden):
    """From two pictures to stitched keypoints and the frame, within the kit's own tolerances."""
    networks = KeypointNetworks("human").eval()
    parts = {"F": networks.appearance, "M": networks.motion, "W": networks.warping, "G": networks.generator}
    for tag, part in parts.items():
        make_weights.fill_module(part, tag)
    make_weights.fill_module(networks.retargeting.stitching, "S.stitching")
    x = []
    with torch.no_grad():
        for name in ("source", "driving"):
            heads = networks.motion(torch.from_numpy(make_weights.image01(name)))
            degrees = tuple(headpose_degrees(heads[angle]) for angle in ("pitch", "yaw", "roll"))
            x.append(KeypointMotion.of_heads(heads, degrees).keypoints(heads["kp"].view(-1, 21, 3)))
        stitched = networks.retargeting.stitched(*x)
        np.testing.assert_allclose(stitched.numpy(), golden["E2E/x_d_stitched"], atol=2e-5)
        volume = networks.appearance(torch.from_numpy(make_weights.image01("source")))
        frame = networks.generator(networks.warping(volume, stitched, x[0])[0]).numpy()
    assert list(frame.shape) == golden["E2E/stitched_out#shape"].tolist()
    wanted = golden["E2E/stitched_out#probe"]
    found = frame.ravel()[make_weights.probe_index("E2E/stitched_out", frame.size)]
    assert np.abs(found - wanted).max() / np.sqrt((wanted**2).mean()) < 3e-4


def test_grid_and_heat_maps(golden):
    np.testing.assert_allclose(
        volume_grid(4, 5, 6).numpy().ravel(), golden["W/unit/grid_4_5_6"].ravel(), atol=1e-6
    )
    source = torch.from_numpy(make_weights.keypoints("W_kp_s"))[:, :3]
    found = heat_maps(volume_grid(4, 8, 8), source)
    np.testing.assert_allclose(found.numpy().ravel(), golden["W/unit/gauss_4_8_8"].ravel(), atol=1e-6)


def test_offsets_of_eyes_and_lips(golden):
    networks = Retargeting().eval()
    for name in ("stitching", "lip", "eye"):
        make_weights.fill_module(networks.get_submodule(name), f"S.{name}")
    source = torch.from_numpy(make_weights.keypoints("W_kp_s"))
    with torch.no_grad():
        eyes = networks.of_eyes(source, torch.tensor([[0.3, 0.32]]), torch.tensor([[0.1]]))
        lips = networks.of_lips(source, torch.tensor([[0.2]]), torch.tensor([[0.05]]))
    for name, found in (("eye", eyes), ("lip", lips)):
        wanted = golden[f"S/{name}_delta"].ravel()[:COORDINATES]
        np.testing.assert_allclose(found.numpy().ravel(), wanted, atol=1e-5)


def test_the_multiplier_of_two_faces(golden):
    source = torch.from_numpy(make_weights.keypoints("W_kp_s"))
    driving = 0.8 * torch.from_numpy(make_weights.keypoints("W_kp_d", jitter_of="W_kp_s"))
    assert hull_multiplier(source, driving) == pytest.approx(
        golden["helper/motion_multiplier"].item(), rel=1e-5
    )


@pytest.mark.parametrize("variance", ["3e-7", "3e-5"])
def test_kalman_smoothing(golden, variance):
    found = smoothed(torch.from_numpy(golden["helper/kalman_in"]), float(variance))
    np.testing.assert_allclose(
        found.numpy(), golden[f"helper/kalman_out_{variance}"].reshape(found.shape), atol=1e-6
    )
