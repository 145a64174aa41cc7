"""Everything a head is made of, at rest: skin, eyes, ears, torso, glasses, hair and beard of each
identity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vasa.data.synthetic import hair, mesh
from vasa.data.synthetic.parameters import PARAMETER_INDEX
from vasa.data.synthetic.shape import EYE_CENTRE, gaussian, neutral_skin, smoothstep


@dataclass(slots=True)
class Geometry:
    """Neutral geometry of B heads: skin (B, R, C, 3) with closed lids; rigid parts in the head frame; what
    expressions need.

    eye_centre (B, 2, 3) left and right, eye_scale (B,), open_upper and open_lower (B,): neutral lid travel.
    torso (B, N, 3). scale of the mouth (B,) relative to the template. hair_cover (B, N) and bun_cover (B, N):
    how dense hair is at each vertex.
    """

    skin: Tensor
    tables: Tensor
    eye_centre: Tensor
    eye_scale: Tensor
    open_upper: Tensor
    open_lower: Tensor
    mouth_scale: Tensor
    mouth_shift: Tensor
    ears: Tensor
    torso: Tensor
    glasses: Tensor
    hair: Tensor
    bun: Tensor
    hair_cover: Tensor
    bun_cover: Tensor
    beard_thickness: Tensor
    beard_cover: Tensor

    def rows(self, index: Tensor | slice) -> Geometry:
        return Geometry(*(getattr(self, name)[index] for name in self.__slots__))


def ear_points(values: Tensor, tables: Tensor) -> Tensor:
    """Ears (B, 2 * N, 3), left then right: a leaf with a rolled rim, standing off the side of the head."""
    rows, columns, _ = mesh.PART_GRIDS["ear_left"]
    device = values.device
    v = torch.linspace(0, 1, rows, device=device)[:, None]
    u = torch.linspace(0, 1.25, columns, device=device)[None]
    size = 1 + 0.16 * values[:, PARAMETER_INDEX["ear_size"], None, None]
    out = 0.5 + 0.28 * values[:, PARAMETER_INDEX["ear_out"], None, None]
    width = (1 - (2 * v - 1) ** 2).clamp(min=0) ** 0.5 * (0.215 - 0.085 * smoothstep(v, 0.35, 1.0))
    back = torch.where(u <= 1, u, 2 - u) * width
    rim = (
        torch.exp(-(((u - 0.92) / 0.14) ** 2)) * 0.028
        - gaussian(u, 0.45, 0.25) * gaussian(v, 0.5, 0.25) * 0.045
    )
    rim = rim * smoothstep(v, 0.0, 0.12) * smoothstep(-v, -1.0, -0.85)
    lift = torch.where(u <= 1, u, 1.0) * width * out + rim - (u - 1).clamp(min=0) * 0.14
    ring = mesh.knot_basis(5.9 + 1.9 * v * size)[:, :, 0]  # the head narrows behind the lobe
    side = torch.einsum("bk,brk->br", tables[:, 4], ring)[..., None]
    x = side - 0.025 + lift * size
    y = (0.13 - 0.46 * v * size - 0.02 * (1 - size)).expand_as(x) + 0.06 * back
    z = (0.02 + 0.05 * v - back * size * 0.95).expand_as(x)
    right = torch.stack([x, y, z], -1).flatten(1, 2)
    left = right * right.new_tensor([-1.0, 1.0, 1.0])
    return torch.cat([left, right], 1)


def torso_points(values: Tensor) -> Tensor:
    """Torso (B, N, 3): shoulders as rings from the collar down."""
    rows, columns, _ = mesh.PART_GRIDS["torso"]
    device = values.device
    t = torch.linspace(0, 1, rows, device=device)
    theta = torch.linspace(-math.pi, math.pi, columns, device=device)
    stops = torch.tensor([0.0, 0.10, 0.35, 0.55, 0.75, 1.0], device=device)
    tables = {
        "width": (0.27, 0.40, 0.90, 1.26, 1.42, 1.45),
        "front": (0.20, 0.31, 0.52, 0.62, 0.70, 0.74),
        "back": (0.36, 0.52, 0.60, 0.62, 0.62, 0.60),
        "y": (-1.20, -1.15, -1.33, -1.52, -1.85, -2.9),
    }
    index = (torch.searchsorted(stops, t, right=True) - 1).clamp(0, 4)
    share = smoothstep((t - stops[index]) / (stops[index + 1] - stops[index]), 0, 1) * 0.5 + 0.5 * (
        t - stops[index]
    ) / (stops[index + 1] - stops[index])
    level = {
        k: (
            torch.tensor(v, device=device)[index] * (1 - share)
            + torch.tensor(v, device=device)[index + 1] * share
        )
        for k, v in tables.items()
    }
    sin, cos = theta.sin()[None], theta.cos()[None]
    neck = 1 + 0.18 * values[:, PARAMETER_INDEX["neck_width"], None, None]
    broad = 1 + 0.12 * values[:, PARAMETER_INDEX["shoulder_width"], None, None]
    width = level["width"][:, None] * (neck + (broad - neck) * smoothstep(t, 0.05, 0.5)[:, None])
    depth = torch.where(cos > 0, level["front"][:, None], level["back"][:, None])
    radius = ((sin.abs() / width) ** 2.3 + (cos.abs() / depth) ** 2.3) ** (-1 / 2.3)
    collar = 1 - smoothstep(t, 0.0, 0.5)[:, None]
    neckline = 0.13 + 0.14 * values[:, PARAMETER_INDEX["collar"], None, None]
    y = level["y"][:, None] - (0.5 + 0.5 * cos) ** 2 * neckline * collar + 0.06 * sin.abs() * collar
    return torch.stack([radius * sin, y.expand_as(radius), radius * cos - 0.06], -1).flatten(1, 2)


def glasses_points(values: Tensor, tables: Tensor, eye: Tensor) -> Tensor:
    """Glasses (B, N, 3): tubes along two rims, a bridge and two temples; all at one point for who wears none.

    eye (B, 3): centre of the eyeball on the viewer's right.
    """
    device, batch = values.device, len(values)

    def get(name: str) -> Tensor:
        return values[:, PARAMETER_INDEX[name], None]

    turn = torch.linspace(0, 2 * math.pi, 48, device=device)[None]
    power = 2.0 + 3.0 * get("glasses_shape")
    scale = 1 + 0.13 * get("glasses_size")
    cos, sin = turn.cos(), turn.sin()
    radius = ((cos.abs() + 1e-6) ** power + (sin.abs() + 1e-6) ** power) ** (-1 / power)
    lift = eye[:, 1:2] - EYE_CENTRE[1]
    rim_x, rim_y = (
        0.205 * scale * radius * cos,
        (0.185 - 0.03 * get("glasses_shape")) * scale * radius * sin - 0.03 + lift,
    )
    front = 0.87 + 0.02 * get("nose_height") + (eye[:, 2:] - EYE_CENTRE[2]).clamp(min=0)
    centre = eye[:, :1] + 0.012
    rim_z = front - 0.16 * (rim_x + centre).clamp(min=0) ** 2 * 1.3
    right = torch.stack([rim_x + centre, rim_y, rim_z], -1)
    left = right * right.new_tensor([-1.0, 1.0, 1.0])
    s = torch.linspace(-1, 1, 16, device=device)[None].expand(batch, -1)
    inner = centre - 0.205 * scale
    bridge = torch.stack([s * inner, 0.02 + lift + 0.035 * (1 - s**2), front + 0.03 * (1 - s**2)], -1)
    q = torch.linspace(0, 1, 24, device=device)[None].expand(batch, -1)
    hinge, ear = centre + 0.205 * scale, tables[:, 4, 6:8].mean(-1, keepdim=True) + 0.035
    hinge_z = front - 0.21 * hinge**2
    temple = torch.stack(
        [
            hinge + (ear - hinge) * q.clamp(max=0.4) / 0.4,
            0.03 + lift * (1 - q) + 0.06 * q - 0.10 * (q - 0.85).clamp(min=0),
            hinge_z + (-0.10 - hinge_z) * q,
        ],
        -1,
    )
    path = torch.cat([left, right, bridge, temple * temple.new_tensor([-1.0, 1.0, 1.0]), temple], 1)
    tangent = torch.nn.functional.normalize(torch.roll(path, -1, 1) - path, dim=-1)
    for last in (47, 95, 111, 135, 159):
        tangent[:, last] = tangent[:, last - 1]
    helper = torch.zeros_like(path)
    helper[:, :112, 2] = 1.0
    helper[:, 112:, 1] = 1.0
    side = torch.nn.functional.normalize(torch.linalg.cross(tangent, helper), dim=-1)
    up = torch.linalg.cross(side, tangent)
    around = torch.linspace(0, 2 * math.pi, 6, device=device)
    ring = around.cos()[:, None, None] * side[:, None] + around.sin()[:, None, None] * up[:, None]
    thickness = 0.011 + 0.010 * get("glasses_shape")[:, :, None, None]
    points = path[:, None] + thickness * ring
    worn = (values[:, PARAMETER_INDEX["glasses"]] > 0.5)[:, None, None, None]
    return torch.where(worn, points, torch.zeros_like(points)).flatten(1, 2)


def _slit_points(skin: Tensor) -> Tensor:
    """Skin (B, R, C, 3) at the middles of both lid slits and of the lips, and at the right corner of the
    mouth: (B, 4, 3)."""
    t = mesh.template("cpu")
    eyes = [t.skin_index(t.lid, x) for x in (-mesh.EYE_X, mesh.EYE_X)]
    lips = [t.skin_index(t.lip, x) for x in (0.0, mesh.MOUTH_HALF_WIDTH)]
    return skin.flatten(1, 2)[:, eyes + lips]


@lru_cache(maxsize=4)
def _mean_slits(device: str) -> Tensor:
    return _slit_points(neutral_skin(torch.zeros(1, len(PARAMETER_INDEX), device=device))[0])[0]


def _follow_skin(skin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the skin of each head carries eyeballs (B, 2, 3), and the mouth's interior: its scale and shift
    (B,)."""
    slits, mean = _slit_points(skin), _mean_slits(str(skin.device))
    rest = skin.new_tensor([[-EYE_CENTRE[0], *EYE_CENTRE[1:]], list(EYE_CENTRE)])
    moved = slits - mean
    return rest + moved[:, :2], slits[:, 3, 0] / mean[3, 0], moved[:, 2, 1]


def build_geometry(values: Tensor) -> Geometry:
    """All neutral geometry of heads with parameters (B, P)."""

    def get(name: str) -> Tensor:
        return values[:, PARAMETER_INDEX[name]]

    skin, tables = neutral_skin(values)
    size = 1 + 0.14 * get("eye_size")
    centre, mouth_scale, mouth_shift = _follow_skin(skin)
    hair_points, hair_cover, bun_points, bun_cover = hair.hair_geometry(values, tables)
    thickness, cover = hair.beard_layers(values)
    return Geometry(
        skin=skin,
        tables=tables,
        eye_centre=centre,
        eye_scale=size,
        open_upper=(0.075 + 0.015 * get("eye_open")) * size,
        open_lower=(0.032 + 0.005 * get("eye_open")) * size,
        mouth_scale=mouth_scale,
        mouth_shift=mouth_shift,
        ears=ear_points(values, tables),
        torso=torso_points(values),
        glasses=glasses_points(values, tables, centre[:, 1]),
        hair=hair_points,
        bun=bun_points,
        hair_cover=hair_cover,
        bun_cover=bun_cover,
        beard_thickness=thickness,
        beard_cover=cover,
    )
