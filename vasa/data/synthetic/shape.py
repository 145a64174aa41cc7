"""The neutral geometry of an identity: from parameters (B, P) to the vertices of every part at rest, eyes
closed, mouth closed.

The skin is the mean head's loft with knot tables scaled by the parameters, plus displacement fields in
template face coordinates (x, front height): fields are computed once, parameters only weigh them. Expressions
(expression.py) start from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vasa.data.synthetic import mesh
from vasa.data.synthetic.parameters import PARAMETER_INDEX

EYE_RADIUS = 0.175
"""Eyeballs are larger than life: gaze then travels about 1.6 times as far over the image as in a real
face."""
EYE_CAP = 1.30
"""Half angle, radians, of the eyeball's cap that is drawn."""
EYE_CENTRE = (mesh.EYE_X, 0.022, 0.445)
JAW_HINGE = (-0.12, -0.12)
"""(y, z) of the jaw's axis, near the ears."""


def gaussian(value: Tensor, centre: float, sigma: float) -> Tensor:
    return torch.exp(-(((value - centre) / sigma) ** 2))


def smoothstep(value: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


@dataclass(slots=True)
class FaceCoordinates:
    """Template coordinates of the skin's vertices, each (R, C): x, |x|, face height y, signs and windows."""

    x: Tensor
    ax: Tensor
    y: Tensor
    front: Tensor
    side: Tensor
    lip_distance: Tensor
    lip_window: Tensor
    lid_window: Tensor
    below_lip: Tensor
    below_lid: Tensor
    lid_rows: Tensor


@lru_cache(maxsize=4)
def face_coordinates(device: str = "cpu") -> FaceCoordinates:
    """``front`` is 1 on the face and falls to 0 at the ears; windows are 1 mid-slit and 0 from the corners
    outwards."""
    t = mesh.template(device)
    x, ax = t.x, t.x.abs()
    y = t.front_y[:, None].expand_as(x)
    front = (
        smoothstep(t.z, 0.05, 0.35)
        * smoothstep(t.s, 0.5, 2.0)[:, None]
        * (1 - smoothstep(t.s, 12.5, 14.0))[:, None]
    )
    lid_rows = gaussian(t.s, 6.0, 0.9)[:, None].expand_as(x)
    lip_window = (1 - (x / mesh.MOUTH_HALF_WIDTH) ** 2).clamp(min=0).sqrt() * (t.z > 0)
    lid_window = (1 - ((ax - mesh.EYE_X) / mesh.EYE_HALF_WIDTH) ** 2).clamp(min=0) * (t.z > 0)
    return FaceCoordinates(
        x=x,
        ax=ax,
        y=y,
        front=front,
        side=torch.sign(x),
        lip_distance=y - mesh.MOUTH_Y,
        lip_window=lip_window,
        lid_window=lid_window,
        below_lip=t.below_lip[:, None].expand_as(x),
        below_lid=t.below_lid[:, None].expand_as(x),
        lid_rows=lid_rows,
    )


def _nose(c: FaceCoordinates) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fields of the nose: its wedge, the hump of its bridge, tip, wings."""
    t = ((0.11 - c.y) / 0.46).clamp(0, 1)
    under = 1 - smoothstep(-c.y, 0.355, 0.435)
    spread = 0.058 + 0.044 * t
    ridge = torch.exp(-((c.ax / spread) ** 2.2))
    wedge = t**1.1 * ridge * under
    hump = gaussian(c.y, -0.08, 0.10) * ridge
    tip = gaussian(c.x, 0.0, 0.062) * gaussian(c.y, -0.335, 0.052) * under
    wings = gaussian(c.ax, 0.088, 0.036) * gaussian(c.y, -0.372, 0.040) * (1 - smoothstep(-c.y, 0.385, 0.44))
    return wedge, hump, tip, wings


@lru_cache(maxsize=4)
def depth_fields(device: str = "cpu") -> tuple[Tensor, tuple[tuple[float, float, str], ...]]:
    """Displacements along z: fields (F, R, C) and, for each, (mean weight, weight per parameter unit,
    parameter)."""
    c = face_coordinates(device)
    wedge, hump, tip, wings = _nose(c)
    d, p = c.lip_distance, c.lip_window
    upper_lip = gaussian(d, 0.032, 0.045) * p * (~c.below_lip)
    lower_lip = gaussian(d, -0.048, 0.048) * p * c.below_lip
    table = [
        (gaussian(c.ax, 0.24, 0.17) * gaussian(c.y, 0.165, 0.05), 0.032, 0.026, "brow_ridge"),
        (gaussian(c.x, 0.0, 0.07) * gaussian(c.y, 0.13, 0.08), 0.022, 0.012, "brow_ridge"),
        (gaussian(c.ax, 0.285, 0.135) * gaussian(c.y, 0.035, 0.085), -0.078, -0.022, "eye_depth"),
        (gaussian(c.ax, 0.10, 0.05) * gaussian(c.y, 0.0, 0.08), -0.022, -0.01, "eye_depth"),
        (gaussian(c.ax, 0.58, 0.10) * gaussian(c.y, 0.25, 0.20), -0.025, 0.02, "forehead_width"),
        (smoothstep(c.y, 0.15, 0.8), 0.0, -0.06, "forehead_slope"),
        (gaussian(c.ax, 0.42, 0.14) * gaussian(c.y, -0.20, 0.10), 0.036, 0.030, "cheekbone"),
        (gaussian(c.ax, 0.36, 0.15) * gaussian(c.y, -0.50, 0.15), 0.0, 0.045, "cheek_fullness"),
        (gaussian(c.x, 0.0, 0.25) * gaussian(c.y, -0.58, 0.17), 0.050, 0.022, "muzzle"),
        (upper_lip, 0.045, 0.016, "lip_upper"),
        (lower_lip, 0.058, 0.018, "lip_lower"),
        (gaussian(c.x, 0.0, 0.17) * gaussian(c.y, -0.765, 0.035), -0.028, 0.0, "muzzle"),
        (gaussian(c.x, 0.0, 0.15) * gaussian(c.y, -0.895, 0.075), 0.045, 0.045, "chin_forward"),
        (gaussian(c.x, 0.0, 0.022) * gaussian(c.y, -0.90, 0.05), 0.0, -0.012, "chin_cleft"),
        (gaussian(c.x, 0.0, 0.024) * gaussian(c.y, -0.475, 0.045), -0.012, -0.006, "lip_bow"),
        (wedge, 0.190, 0.045, "nose_height"),
        (hump, 0.0, 0.028, "nose_bridge"),
        (tip, 0.040, 0.020, "nose_tip"),
        (wings, 0.088, 0.012, "nostril_width"),
    ]
    return torch.stack([row[0] * c.front for row in table]), tuple(row[1:] for row in table)


@lru_cache(maxsize=4)
def plane_fields(device: str = "cpu") -> tuple[Tensor, Tensor, tuple[tuple[float, str], ...]]:
    """Displacements in the face plane: fields of dx and dy (F, R, C) and (weight per parameter unit,
    parameter)."""
    c = face_coordinates(device)
    zero = torch.zeros_like(c.x)
    eye = smoothstep(-((c.ax - mesh.EYE_X).abs() / 0.30 + (c.y - 0.02).abs() / 0.30), -1.0, -0.3)
    eye_gauss = gaussian(c.ax, mesh.EYE_X, 0.20) * gaussian(c.y, 0.02, 0.16)
    mouth = gaussian(c.x, 0.0, 0.34) * gaussian(c.y, mesh.MOUTH_Y, 0.16)
    nose = gaussian(c.x, 0.0, 0.13) * gaussian(c.y, -0.30, 0.16)
    wings = gaussian(c.x, 0.0, 0.14) * gaussian(c.y, -0.38, 0.07)
    d = c.lip_distance
    upper_pull = torch.where(d < mesh.LIP_UPPER, d, mesh.LIP_UPPER * (1 - (d - mesh.LIP_UPPER) / 0.12)).clamp(
        min=0
    )
    lower_pull = torch.where(
        d > -mesh.LIP_LOWER, d, -mesh.LIP_LOWER * (1 + (d + mesh.LIP_LOWER) / 0.14)
    ).clamp(max=0)
    bow = (
        (gaussian(c.ax, 0.055, 0.04) - 0.7 * gaussian(c.x, 0.0, 0.03))
        * smoothstep(d, 0.0, 0.08)
        * (1 - smoothstep(d, 0.10, 0.16))
    )
    corner = gaussian(c.ax, mesh.MOUTH_HALF_WIDTH, 0.10) * gaussian(c.y, mesh.MOUTH_Y, 0.10)
    fields = [
        (c.side * eye_gauss, zero, 0.05, "eye_spacing"),
        ((c.ax - mesh.EYE_X) * c.side * eye, c.y * eye * 0.0, 0.14, "eye_size"),
        (zero, (c.ax - mesh.EYE_X) * eye, 0.16, "eye_tilt"),
        (zero, eye_gauss, 0.055, "eye_height"),
        (c.x * nose, zero, 0.28, "nose_width"),
        (c.x * wings, zero, 0.22, "nostril_width"),
        (zero, nose * gaussian(c.y, -0.36, 0.12), -0.07, "nose_length"),
        (zero, gaussian(c.x, 0.0, 0.09) * gaussian(c.y, -0.34, 0.06), 0.022, "nose_upturn"),
        (c.x * mouth, zero, 0.20, "mouth_width"),
        (zero, mouth, 0.065, "mouth_height"),
        (zero, upper_pull * c.lip_window.sqrt() * ~c.below_lip, 0.42, "lip_upper"),
        (zero, lower_pull * c.lip_window.sqrt() * c.below_lip, 0.36, "lip_lower"),
        (zero, bow, 0.014, "lip_bow"),
        (zero, corner, 0.016, "mouth_corners"),
    ]
    dx = torch.stack([row[0] * c.front for row in fields])
    dy = torch.stack([row[1] * c.front for row in fields])
    return dx, dy, tuple((row[2], row[3]) for row in fields)


def knot_tables(values: Tensor) -> Tensor:
    """Knot tables (B, 6, K) of the heads with parameters (B, P)."""

    def get(name: str) -> Tensor:
        return values[:, PARAMETER_INDEX[name], None]

    device = values.device
    knots = torch.arange(mesh.NUM_KNOTS, device=device, dtype=torch.float32)
    tables = mesh.mean_tables().to(device).repeat(len(values), 1, 1)
    jaw = gaussian(knots, 9.6, 1.6)
    tables[:, 4] *= (
        1
        + (0.11 * get("head_width")) * (knots < 13)
        + 0.05 * get("forehead_width") * gaussian(knots, 3.5, 1.6)
        + 0.10 * get("jaw_width") * jaw
        + 0.13 * get("chin_width") * gaussian(knots, 10.8, 0.9)
        + 0.05 * get("cheek_fullness") * gaussian(knots, 8.4, 1.3)
        + 0.20 * get("neck_width") * smoothstep(knots, 12.0, 14.0)
    )
    tables[:, 5] += 0.35 * get("jaw_square") * jaw
    tables[:, 0] += 0.06 * get("crown_height") * smoothstep(-knots, -5.0, -1.0) - 0.085 * get(
        "chin_length"
    ) * gaussian(knots, 10.8, 1.5)
    tables[:, 1] += 0.06 * get("crown_height") * smoothstep(-knots, -5.0, -1.0) - 0.02 * get(
        "jaw_square"
    ) * gaussian(knots, 9.5, 1.5)
    tables[:, 3] *= 1 + 0.09 * get("back_depth") * gaussian(knots, 5.0, 3.5)
    return tables


def neutral_skin(values: Tensor) -> tuple[Tensor, Tensor]:
    """Skin vertices (B, R, C, 3) at rest and the knot tables they came from."""
    device = str(values.device)
    t = mesh.template(device)
    tables = knot_tables(values)
    points = mesh.loft(tables, mesh.knot_basis(t.s)[:, None], t.theta[None])
    fields, weights = depth_fields(device)
    depth = torch.stack([mean + per * values[:, PARAMETER_INDEX[name]] for mean, per, name in weights], -1)
    dz = torch.einsum("bf,frc->brc", depth, fields)
    dx_fields, dy_fields, plane_weights = plane_fields(device)
    plane = torch.stack([per * values[:, PARAMETER_INDEX[name]] for per, name in plane_weights], -1)
    dx, dy = torch.einsum("bf,frc->brc", plane, dx_fields), torch.einsum("bf,frc->brc", plane, dy_fields)
    dy = dy + lid_line(device)
    slope = -points[..., 0] / points[..., 2].clamp(min=0.35)
    points = points + torch.stack([dx, dy, dz + 0.8 * slope * dx * face_coordinates(device).front], -1)
    return points, tables


@lru_cache(maxsize=4)
def lid_line(device: str = "cpu") -> Tensor:
    """Shape of the rest slits: closed lids sag, lips meet in a flat wave. Vertical offsets (R, C)."""
    c = face_coordinates(device)
    near_lid = gaussian(c.y, 0.0, 0.10)
    near_lip = gaussian(c.lip_distance, 0.0, 0.08)
    wave = 0.010 * (gaussian(c.x, 0.0, 0.05) - 0.6) * c.lip_window
    return (-0.022 * c.lid_window * near_lid - wave * near_lip * 0.8) * c.front
