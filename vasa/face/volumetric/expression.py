"""How an expression moves the skin of the face plane: analytic, nothing learned, the floor under every
learned warp.

Points are (B, N, 2) on the face plane in head units (x right, y up), controls (B, 11) in the order of
records.CONTROL_NAMES. The neutral face has closed lips and open eyes. Lips and lids are discontinuities, so
the plane has two layers at the lip line (the skin above it and the skin below it), and the lids are a
piecewise-linear map from one opening to another.

The magnitudes are chosen by hand: they agree with the procedural heads' and looked right on photographs. No
paper gives them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vasa.face.volumetric.shape import FaceShape
from vasa.records import CONTROL_INDEX

JAW_DROP = 0.43  # lower lip's way down at jaw = 1, in units of eye line to lip line
UPPER_LIP_LIFT = 0.03
LIP_STRETCH, LIP_NARROW = 0.29, 0.85  # of the half width at lip_width = 1; share of it at -1
PUCKER_SHRINK = 0.30
PRESS = 0.95  # share of the vermilion that hides at lip_press = 1
SMILE_OUT, SMILE_UP, SMILE_FALL = 0.04, 0.092, 0.8  # of the corners at smile = 1; share of it at -1
BROW_TRAVEL, BROW_FALL = 0.135, 0.6  # of a brow's middle at brow_raise = 1; share of it at -1
FROWN_DOWN, FROWN_IN = 0.085, 0.066
BROW_REACH, FROWN_REACH, FROWN_LOWER = 0.168, 0.126, 0.055
"""How far the skin above and below a brow goes with it, in units, and how far below a brow's middle that of a
frown lies. Foreheads of people follow farther up."""
LID_SKIN, BROW_SKIN = 0.38, 0.76
"""Share of the way from an eye's middle to its brow up to which brows move nothing, and from which on all."""
WIDEN_UP, WIDEN_DOWN, MOST_WIDENED = 0.7, 0.3, 0.25
"""Ways of upper and lower lid, of the eye's opening, per unit of blink below 0, and how far below that goes.
In closing the upper lid goes all the way."""
UPPER_FOLLOWS, LOWER_FOLLOWS, MOST_FOLLOWED = 1.3, 0.6, 0.35
"""Lids go with the eyes: share of its own height above or below an open eye's middle by which each lid goes
up per radian of gaze pitch, and the most of that pitch, either way, that counts."""
UNDO_STEP = 0.75
LEAST_DRAWN = 0.7  # of an opening: eyes that open farther show what was hidden
LOWER_LID = 0.16  # units below the lower lid: how far its skin goes with it
EYEBALL_RADIUS = 1.15  # of the eye's half width: how far the iris travels is this times sin(gaze)


def bump(square: Tensor) -> Tensor:
    """exp(-square), cut at 30: beyond it exp is a slow underflow on CPUs and nothing in a picture."""
    return torch.exp(-square.clamp(max=30.0))


def _column(value: Tensor) -> Tensor:
    return value[:, None]


def _control(controls: Tensor, name: str) -> Tensor:
    return controls[:, CONTROL_INDEX[name], None]


def lip_line(x: Tensor, shape: FaceShape) -> Tensor:
    """Height (B, N) of the closed lip line at x (B, N)."""
    t = ((x - _column(shape.mouth_x)) / _column(shape.mouth_w)).clamp(-1.4, 1.4)
    return _column(shape.mouth_y) + _column(shape.mouth_curve) * t * t


AMOUNTS = ("jaw", "press", "stretch", "smile", "raised", "frown")
"""What the skin's displacement is linear in: see ``amounts`` and ``modes``."""
Mode = tuple[Tensor | None, Tensor | None]
"""How far (B, N) points go right and up per unit of an amount; None: not at all."""


def amounts(controls: Tensor) -> Tensor:
    """Controls (B, 11) -> what the displacement is linear in, (B, 6) in the order of AMOUNTS."""
    jaw, press = _control(controls, "jaw").clamp(min=-0.1), _control(controls, "lip_press").clamp(min=0)
    width, smile = _control(controls, "lip_width"), _control(controls, "smile")
    width = torch.where(width > 0, width, LIP_NARROW * width)
    smile = torch.where(smile > 0, smile, SMILE_FALL * smile)
    stretch = LIP_STRETCH * width - PUCKER_SHRINK * _control(controls, "lip_pucker").clamp(min=0)
    raised, frown = _control(controls, "brow_raise"), _control(controls, "frown").clamp(min=0)
    raised = torch.where(raised > 0, raised, BROW_FALL * raised)
    return torch.cat([jaw, press, stretch, smile, raised, frown], -1)


def _mouth_modes(points: Tensor, shape: FaceShape, lower: bool) -> dict[str, Mode]:
    """By jaw, press, stretch and smile, of the layer below or above the lip line."""
    x, y = points.unbind(-1)
    unit, half = _column(shape.unit), _column(shape.mouth_w)
    t = (x - _column(shape.mouth_x)) / half
    s = y - lip_line(x, shape)
    arch = (1 - t * t).clamp(min=1e-4) ** 0.6  # the power's slope at 0 is infinite
    near = bump((s / (0.35 * unit)) ** 2)
    if lower:
        depth = (-s).clamp(min=0)
        decay = bump((depth / (1.25 * unit)) ** 2)
        broad = (1 - near) * bump(((t / 2.2) ** 2) ** 2)
        jaw = -JAW_DROP * unit * decay * (arch * near + broad)
        thickness = _column(shape.lip_low)
    else:
        jaw = UPPER_LIP_LIFT * unit * arch * bump((s / (0.22 * unit)) ** 2)
        thickness = _column(shape.lip_up)
    squeeze = PRESS * arch * bump((s / (1.6 * thickness)) ** 2)
    press = -squeeze * s.clamp(min=-1.5 * thickness, max=1.5 * thickness)
    stretch = half * t * bump((s / (0.42 * unit)) ** 2 + ((t / 1.7) ** 2) ** 2)
    right, left = (
        bump(((t - side) * half / (0.42 * unit)) ** 2 + (s / (0.36 * unit)) ** 2) for side in (1.0, -1.0)
    )
    smile = SMILE_OUT * unit * (right - left), SMILE_UP * unit * (right + left)
    return {"jaw": (None, jaw), "press": (None, press), "stretch": (stretch, None), "smile": smile}


def _brow_modes(points: Tensor, shape: FaceShape) -> dict[str, Mode]:
    """By raised brows and a frown; narrow enough to leave the upper lids alone."""
    x, y = points.unbind(-1)
    unit = _column(shape.unit)
    rise, fall, gather = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)
    for side in (0, 1):
        sign = -1.0 if side == 0 else 1.0
        ex, by = _column(shape.eye_x[:, side]), _column(shape.brow_y[:, side])
        way = (y - _column(shape.eye_y[:, side])) / (by - _column(shape.eye_y[:, side])).clamp(min=1e-3)
        free = ((way - LID_SKIN) / (BROW_SKIN - LID_SKIN)).clamp(0, 1)
        free = free * free * (3 - 2 * free)
        side_only = torch.sigmoid(sign * x / (0.05 * unit))
        whole = (
            free
            * bump(((y - by) / (BROW_REACH * unit)) ** 2)
            * bump(((x - 0.95 * ex) / (0.36 * unit)) ** 2)
            * side_only
        )
        low = by - FROWN_LOWER * unit
        inner = (
            free
            * bump(((y - low) / (FROWN_REACH * unit)) ** 2)
            * bump(((x - 0.40 * ex) / (0.15 * unit)) ** 2)
            * side_only
        )
        rise = rise + BROW_TRAVEL * unit * whole
        fall = fall - FROWN_DOWN * unit * inner
        gather = gather - sign * FROWN_IN * unit * inner
    return {"raised": (None, rise), "frown": (gather, fall)}


def modes(points: Tensor, shape: FaceShape, lower: bool) -> dict[str, Mode]:
    """How the neutral skin at points (B, N, 2) moves, per unit of each of AMOUNTS. The layer below the lip
    line has no brows.
    """
    mouth = _mouth_modes(points, shape, lower)
    return mouth if lower else {**mouth, **_brow_modes(points, shape)}


def displacement(points: Tensor, controls: Tensor, shape: FaceShape, lower: bool) -> Tensor:
    """Where the neutral skin at ``points`` goes, minus ``points``: (B, N, 2). Lids apart (see
    ``lid_map``).
    """
    share = dict(zip(AMOUNTS, amounts(controls).split(1, -1), strict=True))
    total: list[Tensor] = [torch.zeros_like(points[..., 0])] * 2
    for name, mode in modes(points, shape, lower).items():
        for axis, way in enumerate(mode):
            if way is not None:
                total[axis] = torch.addcmul(total[axis], share[name], way)
    return torch.stack(total, -1)


def undo(points: Tensor, controls: Tensor, shape: FaceShape, lower: bool, steps: int = 4) -> Tensor:
    """The neutral points that an expression moves to ``points``, by fixed-point iteration, in one layer.

    Below a raised brow skin is drawn out to nearly twice its height; whole steps would swing there.
    """
    neutral = points
    for _ in range(steps):
        neutral = torch.lerp(neutral, points - displacement(neutral, controls, shape, lower), UNDO_STEP)
    return neutral


def lid_lines(x: Tensor, lids: Tensor, shape: FaceShape, side: int) -> tuple[Tensor, Tensor]:
    """Heights (B, N) of the upper and the lower lid's edge at x (B, N) for lids (B, 2): blink and gaze pitch
    in radians.
    """
    k = ((x - _column(shape.eye_x[:, side])) / _column(shape.eye_w[:, side])).clamp(-1, 1)
    arch = (1 - k * k).clamp(min=1e-4)
    middle, blink = _column(shape.eye_y[:, side]), lids[:, :1]
    below = _column(shape.eye_low[:, side]) * arch**0.9
    above = _column(shape.eye_up[:, side]) * arch**0.7
    closed, widened = blink.clamp(0, 1), (-blink).clamp(0, MOST_WIDENED)
    follow = lids[:, 1:].clamp(-MOST_FOLLOWED, MOST_FOLLOWED) * (1 - closed)
    whole = above + below
    top = middle - below + whole * (1 - closed + WIDEN_UP * widened) + UPPER_FOLLOWS * above * follow
    low = middle - below - whole * WIDEN_DOWN * widened + LOWER_FOLLOWS * below * follow
    return top, low


def lid_map(
    points: Tensor, from_lids: Tensor, to_lids: Tensor, gaze_shift: Tensor, shape: FaceShape, side: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Moves points around one eye from one opening to another; used from the target's eye back to the
    source's.

    points (B, N, 2); lids (B, 2) as in lid_lines; gaze_shift (B, 2): the way of the iris on the face plane
    from target to source.
    Returns the moved points, ``opening`` (B, N): 1 inside the eye opening before the map, and ``covered``
    (B, N): how far the eyeball there was hidden by the lid at the other opening (1: no pixels of it exist).
    """
    x, y = points.unbind(-1)
    width = _column(shape.eye_w[:, side])
    top_from, low_from = lid_lines(x, from_lids, shape, side)
    top_to, low_to = lid_lines(x, to_lids, shape, side)
    ceiling = 0.40 * _column(shape.eye_y[:, side]) + 0.60 * _column(shape.brow_y[:, side])
    ceiling = torch.maximum(ceiling, torch.maximum(top_from, top_to) + 0.05 * _column(shape.unit))
    k = (x - _column(shape.eye_x[:, side])) / width
    inside_x = torch.sigmoid((1 - k.abs()) * 24)
    # skin between the lid's edge and the brow stretches or shrinks with the edge
    skin_y = top_to + (y - top_from) * (ceiling - top_to) / (ceiling - top_from)
    skin = (y >= top_from) & (y <= ceiling) & (k.abs() < 1)
    # and below the lower lid down to a floor
    floor = torch.minimum(low_from, low_to) - LOWER_LID * _column(shape.unit)
    below_y = low_to + (y - low_from) * (low_to - floor) / (low_from - floor)
    below = (y <= low_from) & (y >= floor) & (k.abs() < 1)
    soft = 0.012
    opening = torch.sigmoid((top_from - y) / soft) * torch.sigmoid((y - low_from) / soft) * inside_x
    shift = gaze_shift[:, None, :] * (1 - k * k).clamp(min=0)[..., None]
    ball = points + shift
    # where the eye was less open, the eyeball's pixels are drawn out a little rather than lids repeated
    drawn = ((top_to - low_to) / (top_from - low_from).clamp(min=1e-3)).clamp(LEAST_DRAWN, 1)
    ball_y = low_to + (ball[..., 1] - low_from) * drawn
    ball_y = torch.minimum(torch.maximum(ball_y, low_to), top_to)
    covered = torch.sigmoid((ball[..., 1] - top_to) / soft) * opening
    in_ball = (y < top_from) & (y > low_from) & (k.abs() < 1)
    new_y = torch.where(in_ball, ball_y, torch.where(skin, skin_y, torch.where(below, below_y, y)))
    new_x = torch.where(in_ball, ball[..., 0], x)
    return torch.stack([new_x, new_y], -1), opening, covered
