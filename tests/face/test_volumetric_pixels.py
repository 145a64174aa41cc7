"""Laws of the geometric warp: identity, signs, slits."""

import pytest
import torch

from vasa.face.volumetric.mean_face import MEAN_LANDMARKS
from vasa.face.volumetric.pixels import MAP_NAMES, base_warp
from vasa.face.volumetric.shape import face_shape
from vasa.geometry import pixel_grid, project
from vasa.nn.warp import sample_image
from vasa.records import CONTROL_INDEX

SIZE = 64


@pytest.fixture(scope="module")
def shape():
    return face_shape(torch.tensor(MEAN_LANDMARKS)[None])


def warp(shape, pose=(), controls=(), source_pose=(), source_controls=()):
    values = []
    for given, width in ((source_pose, 6), (source_controls, 11), (pose, 6), (controls, 11)):
        row = torch.zeros(1, width)
        for index, value in dict(given).items():
            row[0, CONTROL_INDEX[index] if isinstance(index, str) else index] = value
        values.append(row)
    return base_warp(*values, shape, SIZE)


def maps(base):
    return dict(zip(MAP_NAMES, base.maps[0], strict=True))


def test_equal_motion_is_the_identity(shape):
    motion = {"pose": {0: 0.2, 3: 0.1, 5: 0.1}, "source_pose": {0: 0.2, 3: 0.1, 5: 0.1}}
    expression = {"controls": {"jaw": 0.5, "smile": 0.5}, "source_controls": {"jaw": 0.5, "smile": 0.5}}
    base = warp(shape, **motion, **expression)
    error = (base.flow[0] - pixel_grid(SIZE, SIZE)).abs() * SIZE / 2
    # undoing an expression is a fixed-point iteration: a third of a pixel at most, and next to nothing on
    # average
    assert error.mean() < 0.05
    assert error.quantile(0.99) < 0.7


def test_rigid_flow_follows_the_true_projection(shape):
    pose = torch.tensor([[0.25, -0.1, 0.1, 0.05, -0.04, 0.1]])
    base = base_warp(torch.zeros(1, 6), torch.zeros(1, 11), pose, torch.zeros(1, 11), shape, SIZE)
    # points of the proxy's front, seen in the target, must come from where they are in the source
    from vasa.face.volumetric.pixels import ellipsoid_front, surface_height

    x, y = torch.tensor([[-0.3, 0.0, 0.3, 0.2]]), torch.tensor([[0.3, 0.45, 0.0, -0.35]])
    points = torch.stack([x, y, ellipsoid_front(x, y, shape) + surface_height(x, y, shape)], -1)
    target, source = project(points, pose), project(points, torch.zeros(1, 6))
    found = sample_image(base.flow.permute(0, 3, 1, 2), target[:, None])[0, :, 0].T
    assert (found - source[0]).norm(dim=-1).max() < 0.03  # one pixel at 64 px


@pytest.mark.parametrize(("index", "axis", "sign"), [(3, 0, 1.0), (4, 1, -1.0)])
def test_translation_moves_the_face_the_stated_way(shape, index, axis, sign):
    base = warp(shape, pose={index: 0.1})
    middle = base.flow[0, SIZE // 2, SIZE // 2] - pixel_grid(SIZE, SIZE)[SIZE // 2, SIZE // 2]
    assert torch.isclose(middle[axis], torch.tensor(-0.1 * sign), atol=0.02)


def test_only_an_open_jaw_shows_the_mouth_inside(shape):
    closed, opened = maps(warp(shape)), maps(warp(shape, controls={"jaw": 0.8}))
    assert closed["mouth_new"].max() < 0.35
    assert opened["mouth_new"].max() > 0.9
    rows = (opened["mouth_new"] > 0.5).nonzero()[:, 0]
    mouth_row = (
        (
            pixel_grid(SIZE, SIZE)[:, 0, 1]
            - project(torch.tensor([[[0.0, -0.5, 0.8]]]), torch.zeros(1, 6))[0, 0, 1]
        )
        .abs()
        .argmin()
    )
    assert (rows >= mouth_row - 3).all()


def test_a_mouth_open_in_both_is_not_new(shape):
    both = maps(warp(shape, controls={"jaw": 0.8}, source_controls={"jaw": 0.8}))
    assert both["mouth_inside"].max() > 0.9
    assert both["mouth_new"].mean() < 0.3 * both["mouth_inside"].mean()


def test_blink_covers_the_eye_and_opening_reveals_it(shape):
    opened = maps(warp(shape))
    shut = maps(warp(shape, controls={"blink_left": 1.0, "blink_right": 1.0}))
    revealed = maps(warp(shape, source_controls={"blink_left": 1.0, "blink_right": 1.0}))
    assert shut["eye_open"].sum() < 0.25 * opened["eye_open"].sum()
    assert opened["eye_new"].sum() < 0.2 * opened["eye_open"].sum()
    assert revealed["eye_new"].sum() > 0.6 * revealed["eye_open"].sum()


def test_gaze_moves_the_iris_to_the_viewers_right_and_up(shape):
    columns = torch.linspace(-1, 1, SIZE)

    def centre(controls):
        iris = maps(warp(shape, controls=controls))["iris"]
        return (iris.sum(0) * columns).sum() / iris.sum(), (iris.sum(1) * columns).sum() / iris.sum()

    ahead, right, up = centre({}), centre({"gaze_yaw": 0.4}), centre({"gaze_pitch": 0.25})
    assert right[0] > ahead[0] + 0.01
    assert up[1] < ahead[1] - 0.005


def test_gradient_reaches_pose_and_controls(shape):
    # wide motions too: rays that graze or miss the proxy, points beyond the mouth's corners
    pose = (torch.randn(16, 6, generator=torch.Generator().manual_seed(0)) * 0.4).requires_grad_(True)
    controls = torch.full((16, 11), 0.2, requires_grad=True)
    base = base_warp(torch.zeros(16, 6), torch.zeros(16, 11), pose, controls, shape.expand(16), SIZE)
    base.flow.square().mean().backward()
    assert pose.grad.isfinite().all()
    assert (pose.grad.abs() > 0).all()
    moving = [CONTROL_INDEX[n] for n in ("jaw", "smile", "lip_width", "brow_raise", "blink_left", "gaze_yaw")]
    assert (controls.grad[0, moving].abs() > 0).all()
    assert controls.grad.isfinite().all()
