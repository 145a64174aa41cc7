"""The painted mouth: dark with teeth above, only where lips part; and the portrait's own detail."""

import torch
from test_autoencoder import config
from test_volumetric_pixels import maps, shape, warp  # noqa: F401

from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.mouth import paint_mouth
from vasa.metrics.video import sharpness
from vasa.records import CONTROL_INDEX

GREY = torch.full((1, 3, 64, 64), 0.2)


def test_a_closed_mouth_is_left_alone(shape):  # noqa: F811
    torch.testing.assert_close(paint_mouth(GREY, warp(shape)), GREY, atol=0.02, rtol=0)


def test_an_open_mouth_is_dark_below_its_teeth(shape):  # noqa: F811
    base = warp(shape, controls={"jaw": 0.8})
    painted = paint_mouth(GREY, base)
    inside = maps(base)["mouth_new"] > 0.9
    column = inside.sum(0).argmax()
    rows = inside[:, column].nonzero()[:, 0]
    assert len(rows) >= 4
    lips_down = painted[0, :, rows, column].mean(0)
    assert lips_down[-1] < GREY[0, 0, 0, 0] - 0.7  # the bottom is dark
    assert lips_down[: len(rows) // 2].max() > lips_down[-1] + 0.3  # teeth hang from the top
    outside = maps(base)["mouth_inside"] < 0.01
    assert (painted - GREY)[0].abs().amax(0)[outside].max() < 0.05


def test_teeth_stay_with_the_skull_and_are_lit_on_any_skin(shape):  # noqa: F811
    """However far the jaw drops, the row ends at the same height; on dark skin it is no darker than skin."""
    ends = []
    for jaw in (0.5, 0.9):
        base = warp(shape, controls={"jaw": jaw})
        for level in (0.2, -0.6):
            column = paint_mouth(torch.full((1, 3, 256, 256), level), base)[0].mean(0)[:, 128]
            bright = (column > level + 0.05).nonzero()[:, 0]
            assert len(bright) >= 3 and (column < level - 0.2).any()
            ends.append(int(bright[-1]))
    assert max(ends) - min(ends) <= 1


def test_a_mouth_that_opens_is_painted_before_anything_is_learned():
    torch.manual_seed(0)
    model = FaceAutoencoder(config()).eval()
    image = torch.full((1, 3, 64, 64), 0.2)
    appearance = model.encode(image)
    appearance.pose = torch.zeros(1, 6)
    closed = torch.zeros(1, 11)
    opened = closed.clone()
    opened[:, CONTROL_INDEX["jaw"]] = 0.9
    own = torch.cat([appearance.pose, appearance.dynamics], -1)
    appearance.dynamics = model.set_controls(own, closed)[:, 6:]
    with torch.no_grad():
        still, made = (model.render(appearance, model.set_controls(own, c)) for c in (closed, opened))
    assert (image - made).max() > 0.2 and (image - still).abs().max() < 0.1


def test_frames_finer_than_the_network_keep_the_portraits_detail():
    torch.manual_seed(0)
    model = FaceAutoencoder(config()).eval()
    image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(2)) - 0.5
    image = torch.nn.functional.avg_pool2d(image, 3, 1, 1)
    appearance = model.encode(image)
    motion = torch.cat([appearance.pose, appearance.dynamics], -1)
    motion[:, 3] += 0.5 * 2 / 128  # half a pixel aside
    with torch.no_grad():
        kept = sharpness(model.render(appearance, motion)) / sharpness(image)
    assert 0.8 < kept < 1.2
