"""Where the closed-form expression moves skin: held against the renderer of procedural heads."""

import pytest
import torch

from vasa.data.config import SPLIT_SEEDS
from vasa.data.synthetic.heads import make_identities, neutral_landmarks
from vasa.data.synthetic.renderer import flow, render
from vasa.face.volumetric.expression import displacement, lid_lines, lid_map
from vasa.face.volumetric.pixels import base_warp
from vasa.face.volumetric.shape import face_shape
from vasa.geometry import pixel_grid
from vasa.records import CONTROL_INDEX, NUM_CONTROLS, Animation

PEOPLE, SIZE = 4, 96


@pytest.fixture(scope="module")
def people():
    return make_identities([SPLIT_SEEDS["test"].start + 900 + n for n in range(PEOPLE)])


def controls(count=PEOPLE, **values):
    found = torch.zeros(count, NUM_CONTROLS)
    for name, value in values.items():
        found[:, CONTROL_INDEX[name]] = value
    return found


def lids(blink, gaze_pitch=0.0):
    return torch.tensor([[blink, gaze_pitch]]).expand(PEOPLE, -1)


@pytest.mark.parametrize(
    ("control", "value", "most_px"),
    [("brow_raise", 1.0, 0.35), ("brow_raise", -1.0, 0.3), ("frown", 1.0, 0.4), ("lids", -0.25, 0.4),
     ("lids", 0.5, 0.7), ("lip_press", 1.0, 0.6), ("gaze_pitch", 0.3, 0.7), ("gaze_pitch", -0.3, 0.6),
     ("smile", 1.0, 1.0), ("smile", -0.7, 0.6), ("lip_width", 1.0, 0.8), ("lip_width", -1.0, 0.75),
     ("lip_pucker", 1.0, 0.9)],
)  # fmt: skip
def test_skin_moves_as_the_renderers_does(people, control, value, most_px):
    """Of what moves: mean error in pixels of 128, and share of the true way."""
    named = ("blink_left", "blink_right") if control == "lids" else (control,)
    still, rest, moved = torch.zeros(PEOPLE, 6), controls(), controls(**dict.fromkeys(named, value))
    before, after = (render(people, Animation(still, c), SIZE, "draft") for c in (rest, moved))
    where, visible = flow(after, people, Animation(still, rest), before)
    shape = face_shape(neutral_landmarks(people).float())
    ours = base_warp(still, rest, still, moved, shape, SIZE).flow
    grid = pixel_grid(SIZE, SIZE)
    true_way, way = (where - grid) * 64, (ours - grid) * 64
    moves = (visible > 0.99) & ((true_way.norm(dim=-1) > 0.3) | (way.norm(dim=-1) > 0.3))
    assert int(moves.sum()) > 100
    assert float((way - true_way).norm(dim=-1)[moves].mean()) < most_px
    share = (way * true_way).sum(-1)[moves].sum() / true_way.square().sum(-1)[moves].sum()
    assert (0.65 if control == "lip_press" else 0.75) < float(share) < 1.25


def test_a_brow_falls_less_than_it_rises_and_leaves_lids_and_hair_alone(people):
    shape = face_shape(neutral_landmarks(people).float())
    middle = torch.stack([0.95 * shape.eye_x[:, 1], shape.brow_y[:, 1]], -1)
    unit = shape.unit[:, None]
    points = torch.stack([middle, middle + unit * torch.tensor([0.0, 0.5])], 1)
    up, down = (displacement(points, controls(brow_raise=v), shape, lower=False) for v in (1.0, -1.0))
    assert (up[:, 0, 1] > 0.1 * shape.unit).all()
    torch.testing.assert_close(down, -0.6 * up)
    assert up[:, 1].abs().max() < 1e-3


def test_closing_is_the_upper_lids_and_widening_both_lids_matter(people):
    shape = face_shape(neutral_landmarks(people).float())
    x = shape.eye_x[:, :1]
    top, low = lid_lines(x, lids(0.0), shape, 0)
    closed = lid_lines(x, lids(1.0), shape, 0)
    torch.testing.assert_close(closed[0], low)
    torch.testing.assert_close(closed[1], low)
    wide = lid_lines(x, lids(-0.25), shape, 0)
    torch.testing.assert_close(wide[0] - wide[1], 1.25 * (top - low))
    assert (wide[0] > top + 0.1 * (top - low)).all() and (wide[1] < low - 0.05 * (top - low)).all()
    wider = lid_lines(x, lids(-0.9), shape, 0)
    torch.testing.assert_close(wider[0], wide[0])


def test_lids_go_with_the_eyes_unless_they_are_shut(people):
    """A look up lifts both lids, the upper more; one down lowers them; a closed eye stays closed."""
    shape = face_shape(neutral_landmarks(people).float())
    x = shape.eye_x[:, :1]
    rest, up, down = (lid_lines(x, lids(0.0, pitch), shape, 0) for pitch in (0.0, 0.2, -0.2))
    lifted = up[0] - rest[0]
    torch.testing.assert_close(lifted[:, 0], 1.3 * 0.2 * shape.eye_up[:, 0])
    assert (lifted > up[1] - rest[1]).all() and (up[1] > rest[1]).all()
    assert (down[0] < rest[0]).all() and (down[1] < rest[1]).all()
    shut = lid_lines(x, lids(1.0, -0.3), shape, 0)
    torch.testing.assert_close(shut[0], shut[1])


def test_skin_about_an_eye_goes_and_comes_back(people):
    """From an opening to another and back every point of skin is where it was, and nothing folds."""
    shape = face_shape(neutral_landmarks(people).float())
    x = shape.eye_x[:, :1].expand(-1, 41) + 0.3 * shape.eye_w[:, :1]
    y = torch.linspace(-0.2, 0.3, 41).expand(PEOPLE, -1) * shape.unit[:, None] + shape.eye_y[:, :1]
    points, none = torch.stack([x, y], -1), torch.zeros(PEOPLE, 2)
    rest, wide = lids(0.0), lids(-0.25, 0.3)
    there, _, _ = lid_map(points, rest, wide, none, shape, 0)
    back, _, _ = lid_map(there, wide, rest, none, shape, 0)
    top, low = lid_lines(x, rest, shape, 0)
    is_skin = (y > top + 0.01) | (y < low - 0.01)
    torch.testing.assert_close(back[is_skin], points[is_skin], atol=1e-4, rtol=0)
    assert (there - points).norm(dim=-1)[is_skin].max() > 0.005
    assert (there[..., 1].diff(dim=1) > -1e-4).all()
