"""How controls move the vertices of a head: displacement fields in template face coordinates, a jaw that
turns, lids that slide.

Fields are fixed; controls weigh them, so the same expression looks alike on every identity and texture moves
with the skin. The lids follow the eyeballs' surface, the mouth's interior follows the jaw. Signs and units of
the controls: vasa/records.py.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from vasa.data.synthetic import hair, mesh
from vasa.data.synthetic.anatomy import Geometry
from vasa.data.synthetic.shape import (
    EYE_CAP,
    EYE_RADIUS,
    JAW_HINGE,
    face_coordinates,
    gaussian,
    smoothstep,
)
from vasa.geometry import head_centre, rotation_matrix
from vasa.records import CONTROL_INDEX

JAW_ANGLE = 0.30
"""Turn of the jaw, radians, at jaw = 1: the lips then part by about a third of a head unit (14 px at 128
px)."""
TORSO_SHARE = (0.12, 0.10, 0.12)
"""Share of the head's yaw, pitch and roll that the torso follows."""
TORSO_FOLLOW = 0.7
"""Share of the neck's own travel that the torso follows."""
NECK_PIVOT = (0.0, -1.0, -0.15)


@lru_cache(maxsize=4)
def expression_fields(device: str = "cpu") -> Tensor:
    """Displacements (F, R, C, 3) per unit of the weights of ``expression_weights``, in that order."""
    c = face_coordinates(device)
    zero = torch.zeros_like(c.x)
    half, y0 = mesh.MOUTH_HALF_WIDTH, mesh.MOUTH_Y
    above_lids = smoothstep(c.y, 0.09, 0.17)
    brow = gaussian(c.ax, 0.26, 0.21) * gaussian(c.y, 0.215, 0.10) * above_lids
    inner = gaussian(c.ax, 0.11, 0.085) * gaussian(c.y, 0.19, 0.075) * above_lids
    stretch = c.x * torch.exp(-(((c.ax - half).clamp(min=0) / 0.13) ** 2)) * gaussian(c.y, y0, 0.145)
    backwards = -stretch.abs() * (c.ax / half).clamp(max=1.3)
    forward = gaussian(c.x, 0.0, 0.19) * gaussian(c.y, y0, 0.11)
    d = c.lip_distance
    part = c.lip_window * torch.where(c.below_lip, -(1 + d / 0.22).clamp(0, 1), (1 - d / 0.16).clamp(0, 1))
    inside = torch.where(
        d >= 0, (1 - (d - mesh.LIP_UPPER) / 0.10).clamp(0, 1), (1 + (d + mesh.LIP_LOWER) / 0.10).clamp(0, 1)
    )
    squeeze = -d.clamp(-mesh.LIP_LOWER, mesh.LIP_UPPER) * inside * c.lip_window.sqrt()
    lips = gaussian(c.x, 0.0, 0.26) * gaussian(d, 0.0, 0.085)
    corner = gaussian(c.ax, half, 0.125) * gaussian(c.y, y0, 0.125)
    cheek = gaussian(c.ax, 0.40, 0.13) * gaussian(c.y, -0.30, 0.12)
    rows = [
        (zero, 0.085 * brow, 0.012 * brow),
        (-0.040 * c.side * inner, -0.050 * inner, 0.012 * inner),
        (0.35 * stretch, zero, 0.30 * backwards),
        (-0.36 * stretch, 0.020 * part, 0.105 * forward - 0.26 * backwards),
        (zero, 0.72 * squeeze, -0.034 * lips),
        (0.035 * c.side * corner, 0.088 * corner + 0.026 * cheek, 0.030 * cheek - 0.016 * corner),
    ]
    return torch.stack([torch.stack(row, -1) * c.front[..., None] for row in rows])


def expression_weights(controls: Tensor) -> Tensor:
    """Weights (B, F) of the displacement fields for controls (B, 11)."""

    def get(name: str) -> Tensor:
        return controls[:, CONTROL_INDEX[name]]

    brow = get("brow_raise")
    width = get("lip_width")
    smile = get("smile")
    return torch.stack(
        [
            torch.where(brow > 0, brow, 0.6 * brow),
            get("frown"),
            torch.where(width > 0, width, 0.85 * width),
            get("lip_pucker"),
            get("lip_press"),
            torch.where(smile > 0, smile, 0.8 * smile),
        ],
        -1,
    )


@lru_cache(maxsize=4)
def jaw_weight(device: str = "cpu") -> Tensor:
    """Share (R, C) of the jaw's turn that each skin vertex follows."""
    c, t = face_coordinates(device), mesh.template(device)
    side = smoothstep(-c.y, 0.40, 0.78)
    target = c.below_lip.float()
    weight = side + c.lip_window * (target - side)
    forward = smoothstep(t.theta.cos(), -0.15, 0.55)[None]
    under = 1 - smoothstep(t.s, 11.0, 13.4)[:, None]
    return weight * forward * under


@lru_cache(maxsize=4)
def torso_weight(device: str = "cpu") -> Tensor:
    """Share (V,) of the torso's motion that each vertex follows; the rest is the head's."""
    t = mesh.template(device)
    weight = torch.zeros(t.num_vertices, device=device)
    skin = smoothstep(t.s, 11.6, 14.6)[:, None].expand(-1, len(t.theta))
    weight[t.slices["skin"]] = skin.flatten()
    weight[t.slices["torso"]] = 1.0
    rows, columns = t.shapes["hair"]
    row = torch.arange(rows, device=device)[:, None].expand(rows, columns)
    weight[t.slices["hair"]] = (
        0.6 * smoothstep(row.float(), float(hair.SCALP_ROWS + 4), float(rows)).flatten()
    )
    return weight


def turn_jaw(points: Tensor, angle: Tensor) -> Tensor:
    """Points (..., 3) turned about the jaw's axis by ``angle`` (...), radians: down and back."""
    y, z = points[..., 1] - JAW_HINGE[0], points[..., 2] - JAW_HINGE[1]
    cos, sin = angle.cos(), angle.sin()
    return torch.stack(
        [points[..., 0], JAW_HINGE[0] + cos * y - sin * z, JAW_HINGE[1] + sin * y + cos * z], -1
    )


def lid_opening(geometry: Geometry, controls: Tensor) -> tuple[Tensor, Tensor]:
    """Travel of upper and lower lids (B, 2), left then right, head units."""
    blink = torch.stack(
        [controls[:, CONTROL_INDEX["blink_left"]], controls[:, CONTROL_INDEX["blink_right"]]], -1
    )
    pitch = controls[:, CONTROL_INDEX["gaze_pitch"], None]
    opened = (1 - blink).clamp(min=0)
    upper = geometry.open_upper[:, None] * opened * (1 + 1.3 * pitch.clamp(-0.35, 0.35))
    lower = geometry.open_lower[:, None] * opened * (1 - 0.6 * pitch.clamp(-0.35, 0.35))
    return upper, lower


def move_skin(geometry: Geometry, controls: Tensor) -> Tensor:
    """Skin vertices (B, R, C, 3) under controls (B, 11)."""
    device = str(controls.device)
    t = mesh.template(device)
    c = face_coordinates(device)
    points = geometry.skin + torch.einsum(
        "bf,frck->brck", expression_weights(controls), expression_fields(device)
    )
    jaw = controls[:, CONTROL_INDEX["jaw"], None, None] * JAW_ANGLE
    start, stop = t.lip - 42, min(t.lip + 58, len(t.s))
    turned = turn_jaw(points[:, start:stop], jaw * jaw_weight(device)[start:stop])
    points = torch.cat([points[:, :start], turned, points[:, stop:]], 1)
    roll = t.inner[:, None] * c.lip_window * (t.s[:, None] > 7)
    up = torch.where(c.below_lip, -1.0, 1.0)
    mouth_roll = torch.stack(
        [torch.zeros_like(roll), 0.045 * up * torch.sin(roll * math.pi / 2), -0.10 * roll], -1
    )
    lip_rows = slice(t.lip, t.lip + 2 * mesh.LIP_INNER_ROWS + 2)
    points[:, lip_rows] += mouth_roll[lip_rows]
    lid_rows = slice(t.lid - 21, t.lid + 2 * mesh.LID_INNER_ROWS + 16)
    points[:, lid_rows] = _slide_lids(points[:, lid_rows], geometry, controls, lid_rows)
    return points


def _slide_lids(points: Tensor, geometry: Geometry, controls: Tensor, rows: slice) -> Tensor:
    """Opens the lids of skin rows ``rows`` (B, r, C, 3) and lays them over the eyeballs."""
    device = str(controls.device)
    c, t = face_coordinates(device), mesh.template(device)
    x, y, window = c.x[rows], c.y[rows], c.lid_window[rows] ** 0.62
    below, inner = c.below_lid[rows], t.inner[rows, None]
    upper, lower = lid_opening(geometry, controls)
    left = (x < 0).float()
    up = upper[:, 0, None, None] * left + upper[:, 1, None, None] * (1 - left)
    down = lower[:, 0, None, None] * left + lower[:, 1, None, None] * (1 - left)
    fall_up = (1 - y / 0.17).clamp(0, 1) ** 1.25
    fall_down = (1 + y / 0.12).clamp(0, 1) ** 1.25
    dy = torch.where(below, -down * fall_down, up * fall_up) * window
    px, py = points[..., 0], points[..., 1] + dy
    centre = geometry.eye_centre[:, 0, :, None, None] * left + geometry.eye_centre[:, 1, :, None, None] * (
        1 - left
    )  # (B, 3, r, C)
    radius = EYE_RADIUS * geometry.eye_scale[:, None, None]
    gap = radius**2 - (px - centre[:, 0]) ** 2 - (py - centre[:, 1]) ** 2
    ball = centre[:, 2] + gap.clamp(min=0).sqrt() + 0.016
    softness = 0.012
    near = smoothstep(-((c.ax[rows] - mesh.EYE_X).abs() / 0.26), -1.0, -0.75)
    lifted = ball + softness * torch.nn.functional.softplus((points[..., 2] - ball) / softness)
    pz = points[..., 2] + (lifted - points[..., 2]) * near
    skirt = inner * smoothstep(
        c.lid_window[rows], 0.0, 0.03
    )  # the lids' inner rows reach back to the eyeball
    pz = pz + (torch.minimum(ball - 0.03, pz) - pz) * skirt
    return torch.stack([px, py, pz], -1)


@lru_cache(maxsize=4)
def eye_directions(device: str = "cpu") -> Tensor:
    """Unit vectors (N, 3) of an eyeball's front cap, looking along +z."""
    rows, columns, _ = mesh.PART_GRIDS["eye_left"]
    b = torch.linspace(EYE_CAP, -EYE_CAP, rows, device=device)[:, None]
    a = torch.linspace(-EYE_CAP, EYE_CAP, columns, device=device)[None]
    return torch.stack([a.sin() * b.cos(), b.sin() + 0.0 * a, a.cos() * b.cos()], -1).flatten(0, 1)


@lru_cache(maxsize=4)
def mouth_parts(device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Rest points (N, 3) and jaw shares (N,) of cavity, teeth and tongue."""

    def grid(name: str) -> tuple[Tensor, Tensor]:
        rows, columns, _ = mesh.PART_GRIDS[name]
        return torch.linspace(1, -1, rows, device=device)[:, None], torch.linspace(
            -1, 1, columns, device=device
        )[None]

    y0 = mesh.MOUTH_Y
    b, a = grid("cavity")
    hollow = (1 - (a**2 + b**2) / 2).clamp(min=0)
    wide = (1 - 0.5 * b**2).sqrt()  # an ellipse in front, so that no corner comes through the cheeks
    cavity = torch.stack(
        [
            0.31 * a * wide,
            y0 - 0.01 + 0.19 * b * (1 - 0.5 * a**2).sqrt(),
            0.655 - 0.15 * a**2 - 0.42 * hollow,
        ],
        -1,
    )
    share = smoothstep(-b, -0.35, 0.35) + 0 * a
    b, a = grid("teeth_upper")
    turn = 1.25 * a  # the row of teeth is an arch that recedes into the dark
    side, arc = torch.sin(turn) / math.sin(1.25), 0.71 - 0.20 * (1 - torch.cos(turn)) / (1 - math.cos(1.25))
    edge = 0.006 * torch.cos(9 * math.pi * a) * (b < 0)
    teeth_up = torch.stack(
        [
            0.255 * side + 0 * b,
            y0 + 0.035 + 0.075 * b * (1 - 0.35 * a**4) - 0.004 * a**2 + edge,
            arc - 0.012 * b + 0 * b,
        ],
        -1,
    )
    teeth_low = torch.stack(
        [
            0.235 * side + 0 * b,
            y0 - 0.098 + 0.065 * b * (1 - 0.35 * a**4) + 0.006 * a**2 - edge,
            arc - 0.035 + 0.008 * b,
        ],
        -1,
    )
    b, a = grid("tongue")
    v = (1 - b) / 2  # 0 at the back, 1 at the tip
    tongue = torch.stack(
        [
            0.17 * a * (1 - 0.35 * v**4),
            y0 - 0.07 - 0.05 * a**2 - 0.10 * v**5 + 0.02 * (1 - a**2) * v,
            0.36 + 0.27 * v * (1 - 0.10 * a**2),
        ],
        -1,
    )
    points = {"cavity": cavity, "teeth_upper": teeth_up, "teeth_lower": teeth_low, "tongue": tongue}
    shares = {
        "cavity": share,
        "teeth_upper": torch.zeros_like(teeth_up[..., 0]),
        "teeth_lower": torch.ones_like(teeth_low[..., 0]),
        "tongue": torch.full_like(tongue[..., 0], 0.85),
    }
    return {k: p.flatten(0, 1) for k, p in points.items()}, {k: s.flatten() for k, s in shares.items()}


def pose_vertices(geometry: Geometry, controls: Tensor) -> Tensor:
    """All vertices (B, V, 3) in the head frame under controls (B, 11)."""
    device = str(controls.device)
    batch = len(controls)
    skin = move_skin(geometry, controls).flatten(1, 2)
    gaze = torch.cat([controls[:, :2], torch.zeros_like(controls[:, :1])], -1)
    directions = eye_directions(device) @ rotation_matrix(gaze).transpose(-1, -2)  # (B, N, 3)
    radius = EYE_RADIUS * geometry.eye_scale[:, None, None]
    eyes = [geometry.eye_centre[:, i, None] + radius * directions for i in (0, 1)]
    points, shares = mouth_parts(device)
    scale = torch.stack(
        [geometry.mouth_scale, torch.ones_like(geometry.mouth_scale), torch.ones_like(geometry.mouth_scale)],
        -1,
    )
    shift = torch.stack(
        [
            torch.zeros_like(geometry.mouth_shift),
            geometry.mouth_shift,
            torch.zeros_like(geometry.mouth_shift),
        ],
        -1,
    )
    jaw = controls[:, CONTROL_INDEX["jaw"], None] * JAW_ANGLE
    mouth = [
        turn_jaw(points[n] * scale[:, None] + shift[:, None], jaw * shares[n])
        for n in ("cavity", "teeth_upper", "teeth_lower", "tongue")
    ]
    base = skin[:, hair.beard_rows(device)]
    outward = torch.nn.functional.normalize(base - base.new_tensor([0.0, -0.50, 0.05]), dim=-1)
    beard = base + outward * geometry.beard_thickness[..., None]
    parts = [
        skin,
        *eyes,
        *mouth,
        geometry.ears,
        geometry.torso,
        geometry.glasses,
        beard,
        geometry.hair,
        geometry.bun,
    ]
    return torch.cat([p.expand(batch, -1, -1) for p in parts], 1)


def place_vertices(points: Tensor, pose: Tensor) -> Tensor:
    """Head-frame vertices (B, V, 3) to the camera frame: the head follows the pose, the torso part of it, the
    neck in between."""
    weight = torso_weight(str(points.device))[None, :, None]
    rotation = rotation_matrix(pose[:, :3])
    centre = head_centre(pose)[:, None]
    head = points @ rotation.transpose(-1, -2) + centre
    turned = rotation_matrix(pose[:, :3] * pose.new_tensor(TORSO_SHARE))
    pivot = pose.new_tensor(NECK_PIVOT)
    carried = TORSO_FOLLOW * (rotation @ pivot) + (1 - TORSO_FOLLOW) * (turned @ pivot)
    torso = (points - pivot) @ turned.transpose(-1, -2) + carried[:, None] + centre
    return head + weight * (torso - head)
