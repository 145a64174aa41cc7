"""Topology of the procedural head: one fixed mesh, shared by every identity and every frame.

Every part is a rectangular grid of vertices (rows downwards, columns to the viewer's right), so that normals
are differences of neighbours and a point of material is (triangle, barycentric) in any frame of any identity:
landmarks and flow follow exactly. The skin's grid is a loft of rings around the vertical axis; the rows of
the lip line and of the closed-lid line are doubled, with a few rows that roll inwards between the copies, so
that mouth and eyes open as true slits. This module knows no identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

EYE_X, EYE_HALF_WIDTH = 0.285, 0.16
MOUTH_Y, MOUTH_HALF_WIDTH = -0.60, 0.26
LIP_UPPER, LIP_LOWER = 0.074, 0.092
"""Template face coordinates (head units): eyes are about 20 % larger than life so that gaze shows at 128 px;
lips likewise."""

NUM_KNOTS = 16
KNOT_FRONT_Y = (
    1.0,
    0.975,
    0.87,
    0.71,
    0.50,
    0.20,
    0.0,
    -0.30,
    -0.60,
    -0.80,
    -0.92,
    -1.0,
    -1.02,
    -1.06,
    -1.32,
    -1.75,
)
KNOT_BACK_Y = (
    1.0,
    0.98,
    0.90,
    0.78,
    0.60,
    0.38,
    0.20,
    0.0,
    -0.20,
    -0.35,
    -0.45,
    -0.52,
    -0.58,
    -0.68,
    -1.05,
    -1.60,
)
KNOT_FRONT_Z = (
    0.0,
    0.21,
    0.43,
    0.605,
    0.715,
    0.765,
    0.745,
    0.74,
    0.73,
    0.69,
    0.66,
    0.58,
    0.43,
    0.29,
    0.22,
    0.34,
)
KNOT_BACK_Z = (0.0, 0.22, 0.47, 0.66, 0.79, 0.86, 0.87, 0.86, 0.80, 0.70, 0.62, 0.56, 0.52, 0.48, 0.45, 0.52)
KNOT_WIDTH = (
    0.0,
    0.20,
    0.385,
    0.53,
    0.632,
    0.685,
    0.682,
    0.645,
    0.562,
    0.478,
    0.405,
    0.36,
    0.35,
    0.345,
    0.335,
    0.50,
)
KNOT_POWER = (2.0, 2.0, 2.1, 2.2, 2.3, 2.35, 2.35, 2.3, 2.25, 2.2, 2.15, 2.1, 2.0, 2.0, 2.0, 2.0)
"""Rings of the mean head from crown (0) over brow (5), eyes (6), mouth (8), chin (10) and throat (13) to the
neck's foot (15)."""

PARTS = (
    "skin",
    "eye_left",
    "eye_right",
    "cavity",
    "teeth_upper",
    "teeth_lower",
    "tongue",
    "ear_left",
    "ear_right",
    "torso",
    "glasses",
    "beard",
    "hair",
    "bun",
)
TWO_SIDED = (
    "cavity",
    "teeth_upper",
    "teeth_lower",
    "tongue",
    "hair",
    "bun",
    "beard",
    "ear_left",
    "ear_right",
)
SOFT_PARTS = ("hair", "bun", "beard")
"""Drawn into their own depth layer with the texture's coverage, over everything else."""

LIP_INNER_ROWS, LID_INNER_ROWS = 4, 2


def skin_rows() -> tuple[Tensor, int, int, Tensor]:
    """Knot parameter s of each row of the skin grid (R,), and where its slits are.

    Then the last row above the lids' and above the lips' inner rows, and how far each row is rolled in (R,):
    0 outside, 1 deepest.
    """

    def span(start: float, stop: float, count: int, power: float = 1.0, end: bool = False) -> list[float]:
        steps = torch.linspace(0, 1, count + 1)
        steps = 1 - (1 - steps) ** power if power > 0 else steps ** (-power)
        values = (start + (stop - start) * steps).tolist()
        return values if end else values[:-1]

    upper = (
        span(0.0, 1.0, 5, -1.6)
        + span(1.0, 3.0, 6)
        + span(3.0, 4.5, 7)
        + span(4.5, 5.25, 8)
        + span(5.25, 6.0, 14, 1.3, True)
    )
    middle = span(6.0, 6.5, 10, -1.3) + span(6.5, 7.5, 15) + span(7.5, 8.0, 13, 1.3, True)
    lower = (
        span(8.0, 8.6, 13, -1.3)
        + span(8.6, 9.2, 6)
        + span(9.2, 11.0, 12)
        + span(11.0, 13.0, 8)
        + span(13.0, 15.0, 7, end=True)
    )
    lid_in, lip_in = [6.0] * LID_INNER_ROWS, [8.0] * LIP_INNER_ROWS
    rows = upper + lid_in * 2 + middle + lip_in * 2 + lower
    inner = torch.zeros(len(rows))
    lid, lip = len(upper) - 1, len(upper) + 2 * LID_INNER_ROWS + len(middle) - 1
    for last, count in ((lid, LID_INNER_ROWS), (lip, LIP_INNER_ROWS)):
        ramp = torch.arange(1, count + 1) / count
        inner[last + 1 : last + 1 + count] = ramp
        inner[last + 1 + count : last + 1 + 2 * count] = ramp.flip(0)
    return torch.tensor(rows), lid, lip, inner


def column_angles(count: int = 129) -> tuple[Tensor, Tensor]:
    """Column parameter c in [-1, 1] (C,) and angle around the vertical axis (C,): dense in front, the seam is
    at the back."""
    c = torch.linspace(-1, 1, count)
    return c, math.pi * (0.42 * c + 0.58 * c**5)


def knot_basis(s: Tensor) -> Tensor:
    """Catmull-Rom weights (..., NUM_KNOTS) that interpolate a knot table at parameters s (...)."""
    index = s.floor().clamp(0, NUM_KNOTS - 2)
    t = s - index
    weights = torch.stack(
        [
            -0.5 * t**3 + t**2 - 0.5 * t,
            1.5 * t**3 - 2.5 * t**2 + 1,
            -1.5 * t**3 + 2 * t**2 + 0.5 * t,
            0.5 * t**3 - 0.5 * t**2,
        ],
        -1,
    )
    columns = (index.long()[..., None] + torch.arange(-1, 3, device=s.device)).clamp(0, NUM_KNOTS - 1)
    basis = torch.zeros(*s.shape, NUM_KNOTS, device=s.device)
    return basis.scatter_add_(-1, columns, weights)


def mean_tables() -> Tensor:
    """The mean head's knot tables (6, NUM_KNOTS): front y, back y, front z, back z, half width, cross-section
    power."""
    return torch.tensor([KNOT_FRONT_Y, KNOT_BACK_Y, KNOT_FRONT_Z, KNOT_BACK_Z, KNOT_WIDTH, KNOT_POWER])


def loft(tables: Tensor, basis: Tensor, theta: Tensor) -> Tensor:
    """Points (B, R, C, 3) of the ring surface given by tables (B, 6, K), knot weights (R, C or 1, K) and
    angles (R or 1, C)."""
    values = torch.einsum("bpk,rck->bprc", tables, basis)
    front_y, back_y, front_z, back_z, width, power = values.unbind(1)
    sin, cos = theta.sin(), theta.cos()
    frontness = 0.5 + 0.5 * cos
    y = back_y + (front_y - back_y) * frontness
    depth = torch.where(cos > 0, front_z, back_z).clamp(min=1e-4)
    total = (sin.abs() / width.clamp(min=1e-4)).pow(power) + (cos.abs() / depth).pow(power)
    radius = total.clamp(min=1e-9).pow(-1 / power)
    return torch.stack([radius * sin, y.expand_as(radius), radius * cos], -1)


def _grid_faces(rows: int, columns: int, skip_rows: tuple[int, ...] = (), wrap: bool = False) -> Tensor:
    """Triangles (T, 3) of a grid; row pairs starting at ``skip_rows`` are left open; ``wrap`` joins the last
    column to the first."""
    r = torch.tensor([i for i in range(rows - 1) if i not in skip_rows])
    c = torch.arange(columns if wrap else columns - 1)
    a = r[:, None] * columns + c
    b = r[:, None] * columns + (c + 1) % columns
    lower = columns
    first = torch.stack([a, a + lower, b], -1)
    second = torch.stack([b, a + lower, b + lower], -1)
    return torch.stack([first, second], 2).reshape(-1, 3)


def _grid_neighbours(rows: int, columns: int, skip_rows: tuple[int, ...] = (), wrap: bool = False) -> Tensor:
    """Indices (N, 4) of the vertices above, below, left and right, one-sided at edges and open slits."""
    r, c = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    open_below = torch.zeros(rows, dtype=torch.bool)
    open_below[list(skip_rows) + [rows - 1]] = True
    open_above = torch.zeros(rows, dtype=torch.bool)
    open_above[[i + 1 for i in skip_rows] + [0]] = True
    above = torch.where(open_above[r], r, r - 1) * columns + c
    below = torch.where(open_below[r], r, r + 1) * columns + c
    if wrap:
        left, right = (c - 1) % columns, (c + 1) % columns
    else:
        left, right = (c - 1).clamp(min=0), (c + 1).clamp(max=columns - 1)
    return torch.stack([above, below, r * columns + left, r * columns + right], -1).reshape(-1, 4)


PART_GRIDS: dict[str, tuple[int, int, bool]] = {
    "eye_left": (21, 21, False),
    "eye_right": (21, 21, False),
    "cavity": (14, 20, False),
    "teeth_upper": (6, 33, False),
    "teeth_lower": (6, 33, False),
    "tongue": (10, 14, False),
    "ear_left": (15, 21, False),
    "ear_right": (15, 21, False),
    "torso": (14, 49, False),
    "glasses": (6, 160, False),
    "beard": (22, 61, False),
    "hair": (56, 97, False),
    "bun": (14, 25, False),
}
"""Rows, columns and whether the columns close for every part but the skin."""

ATLAS_ASPECT = 2
"""Width of an atlas over its height."""
ATLAS_PATCHES = {  # left, top, width, height as shares of the atlas
    "skin": (0.0, 0.0, 0.5, 1.0),
    "eye": (0.5, 0.0, 0.125, 0.25),
    "mouth": (0.625, 0.0, 0.125, 0.25),
    "beard": (0.75, 0.0, 0.25, 0.25),
    "cloth": (0.5, 0.25, 0.5, 0.25),
    "hair": (0.5, 0.5, 0.5, 0.5),
}
PART_PATCH = {
    "skin": "skin",
    "eye_left": "eye",
    "eye_right": "eye",
    "cavity": "mouth",
    "teeth_upper": "mouth",
    "teeth_lower": "mouth",
    "tongue": "mouth",
    "ear_left": "skin",
    "ear_right": "skin",
    "torso": "cloth",
    "glasses": "mouth",
    "beard": "beard",
    "hair": "hair",
    "bun": "hair",
}
MOUTH_TILES = {"cavity": 0, "teeth_upper": 1, "teeth_lower": 1, "tongue": 2, "glasses": 3}
"""Row of quarters of the mouth patch that a part reads."""
PATCH_MARGIN = 0.02


def place_in_patch(uv: Tensor, patch: str) -> Tensor:
    """Patch coordinates (..., 2) in [0, 1] to atlas coordinates in [0, 1], kept off the patch's border."""
    left, top, width, height = ATLAS_PATCHES[patch]
    inset = PATCH_MARGIN + (1 - 2 * PATCH_MARGIN) * uv
    return torch.stack([left + width * inset[..., 0], top + height * inset[..., 1]], -1)


def _part_uv(name: str, rows: int, columns: int, wrap: bool) -> Tensor:
    u = torch.arange(columns) / (columns if wrap else columns - 1)
    v = torch.linspace(0, 1, rows)
    uv = torch.stack(torch.meshgrid(v, u, indexing="ij")[::-1], -1).reshape(-1, 2)
    if name == "teeth_lower":  # gums below
        uv = torch.stack([uv[:, 0], 1 - uv[:, 1]], -1)
    if name in MOUTH_TILES:
        uv = torch.stack([uv[:, 0], (MOUTH_TILES[name] + 0.1 + 0.8 * uv[:, 1]) / 4], -1)
    if name.startswith("ear"):  # a plain piece of skin behind the jaw
        uv = torch.stack([0.80 + 0.04 * uv[:, 0], 0.40 + 0.08 * uv[:, 1]], -1)
    return place_in_patch(uv, PART_PATCH[name])


@dataclass(slots=True, frozen=True)
class Template:
    """The mesh and the skin's face coordinates.

    faces (T, 3), face_part (T,) index into PARTS, uv (V, 2) in the atlas, neighbours (V, 4), slices: vertex
    range of each part, s (R,) row parameters, theta (C,) column angles, front_y (R,) face height of each row,
    x (R, C) and z (R, C) of the mean head without features, inner (R,) roll-in, lid and lip: last row above
    each slit.
    """

    faces: Tensor
    face_part: Tensor
    uv: Tensor
    neighbours: Tensor
    slices: dict[str, slice]
    shapes: dict[str, tuple[int, int]]
    s: Tensor
    theta: Tensor
    front_y: Tensor
    x: Tensor
    z: Tensor
    inner: Tensor
    below_lid: Tensor
    below_lip: Tensor
    lid: int
    lip: int

    @property
    def num_vertices(self) -> int:
        return self.uv.shape[0]

    def skin_index(self, row: int, x: float) -> int:
        """Index of the skin vertex in ``row`` whose template x is nearest to ``x`` on the front of the
        head."""
        front = self.theta.abs() < math.pi / 2
        distance = (self.x[row] - x).abs() + (~front) * 10.0
        return row * len(self.theta) + int(distance.argmin())

    def row_at(self, front_y: float, below: bool = True) -> int:
        """The row (outside the slits' inner rows) whose face height is nearest."""
        distance = (self.front_y - front_y).abs() + (self.inner > 0) * 10.0
        return int(distance.argmin())


@lru_cache(maxsize=4)
def template(device: str = "cpu") -> Template:
    """Builds the mesh once per device."""
    s, lid, lip, inner = skin_rows()
    _, theta = column_angles()
    rows, columns = len(s), len(theta)
    skip: dict[str, tuple[int, ...]] = {"skin": (lid + LID_INNER_ROWS, lip + LIP_INNER_ROWS)}
    surface = loft(mean_tables()[None], knot_basis(s)[:, None], theta[None])[0]
    front_y = (knot_basis(s) @ mean_tables()[0]).contiguous()
    faces, parts, uvs, neighbours, slices, shapes, start = [], [], [], [], {}, {}, 0
    for index, name in enumerate(PARTS):
        r, c, wrap = (rows, columns, False) if name == "skin" else PART_GRIDS[name]
        part_faces = _grid_faces(r, c, skip.get(name, ()), wrap)
        if name == "glasses":  # rims of 48 columns twice, bridge 16, temples 24 twice: separate tubes
            column = part_faces[::2, 0] % c
            cut = torch.isin(column, torch.tensor([47, 95, 111, 135])).repeat_interleave(2)
            part_faces = part_faces[~cut]
        faces.append(part_faces + start)
        parts.append(torch.full((len(part_faces),), index))
        uvs.append(_part_uv(name, r, c, wrap))
        neighbours.append(_grid_neighbours(r, c, skip.get(name, ()), wrap) + start)
        slices[name], shapes[name] = slice(start, start + r * c), (r, c)
        start += r * c
    row_index = torch.arange(rows)
    tensors = {
        "faces": torch.cat(faces),
        "face_part": torch.cat(parts),
        "uv": torch.cat(uvs),
        "neighbours": torch.cat(neighbours),
        "s": s,
        "theta": theta,
        "front_y": front_y,
        "x": surface[..., 0].contiguous(),
        "z": surface[..., 2].contiguous(),
        "inner": inner,
        "below_lid": row_index > lid + LID_INNER_ROWS,
        "below_lip": row_index > lip + LIP_INNER_ROWS,
    }
    return Template(
        slices=slices, shapes=shapes, lid=lid, lip=lip, **{k: v.to(device) for k, v in tensors.items()}
    )
