"""Hair and beards: shells over the head whose coverage is a smooth field per vertex, broken into strands by
the texture.

A hair style is a hair line (how far down the head's rings the scalp hair reaches, by angle), thicknesses, a
length that hangs from that line, and a coverage. The renderer draws these parts with partial coverage, so
edges are soft and never pop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vasa.data.synthetic import mesh
from vasa.data.synthetic.parameters import BEARD_STYLES, HAIR_STYLES, PARAMETER_INDEX

SCALP_ROWS = 36
LINE_ANGLES = (0.0, 30.0, 48.0, 62.0, 76.0, 90.0, 104.0, 125.0, 180.0)
"""Angles (degrees from the front) at which a hair line is given, as a knot parameter of the head's rings."""

_SHORT = (3.60, 3.55, 3.75, 4.90, 6.45, 5.75, 6.10, 9.0, 10.6)
_RECEDING = (2.6, 2.9, 2.5, 4.3, 6.3, 5.75, 6.1, 9.0, 10.6)
_LOW_RING = (6.0, 6.0, 6.0, 5.3, 6.0, 5.7, 6.1, 9.0, 10.6)
_OVER_EARS = (3.55, 3.60, 3.80, 4.7, 6.0, 6.5, 6.6, 6.6, 6.6)
_FRINGE = (4.95, 4.97, 5.05, 5.35, 6.1, 6.5, 6.6, 6.6, 6.6)
_TIED = (3.50, 3.52, 3.85, 4.8, 6.2, 5.6, 6.0, 8.2, 9.2)


@dataclass(frozen=True, slots=True)
class Style:
    """line: hair line at LINE_ANGLES; thickness on top, sides, back and at the front edge; hang: y where
    hanging hair ends (None: no hanging hair); open_deg: hanging starts at this angle from the front; wave and
    curl: amplitudes; density: coverage; part: depth of a parting; sweep: how much lower one side's line
    is."""

    line: tuple[float, ...]
    top: float
    sides: float
    back: float
    quiff: float = 0.0
    hang: float | None = None
    open_deg: float = 62.0
    wave: float = 0.0
    curl: float = 0.0
    density: float = 1.25
    part: float = 0.0
    sweep: float = 0.0
    flare: float = 0.0
    comb: float = 0.0  # how far strands lean away from the parting, as a share of the full turn
    gloss: float = 1.0
    fringe: float = 0.0
    knot: tuple[float, ...] | None = None  # extra tuft: centre y, z, radii x, y, z


STYLES: dict[str, Style] = {
    "bald": Style(_LOW_RING, 0.0, 0.0, 0.0, density=0.0),
    "buzz": Style(_SHORT, 0.026, 0.020, 0.020, density=1.0, gloss=0.2),
    "parted": Style(_SHORT, 0.115, 0.055, 0.06, quiff=0.05, part=0.05, sweep=0.25, comb=0.13),
    "swept": Style(_SHORT, 0.14, 0.06, 0.06, quiff=0.05, sweep=0.95, wave=0.012, comb=0.16, fringe=1.0),
    "afro": Style(_SHORT, 0.33, 0.30, 0.32, quiff=0.10, curl=0.03, density=1.4, gloss=0.25, fringe=1.0),
    "long_straight": Style(_OVER_EARS, 0.075, 0.085, 0.09, hang=-1.45, part=0.045, open_deg=58.0, comb=0.08),
    "long_wavy": Style(
        _OVER_EARS,
        0.12,
        0.13,
        0.13,
        hang=-1.35,
        wave=0.05,
        part=0.03,
        sweep=0.2,
        open_deg=57.0,
        flare=0.10,
        comb=0.12,
    ),
    "bun": Style(_TIED, 0.06, 0.04, 0.05, knot=(1.05, -0.38, 0.26, 0.23, 0.26)),
    "ponytail": Style(_TIED, 0.06, 0.035, 0.06, sweep=0.15, comb=0.06, knot=(-0.05, -1.08, 0.17, 0.72, 0.17)),
    "receding": Style(_RECEDING, 0.04, 0.045, 0.05, density=1.0, gloss=0.6),
    "bob": Style(_FRINGE, 0.095, 0.11, 0.12, hang=-0.62, open_deg=60.0, flare=0.04, fringe=1.0),
    "quiff": Style(_SHORT, 0.17, 0.035, 0.04, quiff=0.17, wave=0.015, comb=0.05),
    "curly_long": Style(
        _OVER_EARS,
        0.19,
        0.20,
        0.20,
        quiff=0.05,
        hang=-0.95,
        wave=0.03,
        curl=0.045,
        open_deg=60.0,
        flare=0.12,
        gloss=0.4,
        fringe=1.0,
        density=1.4,
    ),
}
assert tuple(STYLES) == HAIR_STYLES

_SCALARS = (
    "top",
    "sides",
    "back",
    "quiff",
    "open_deg",
    "wave",
    "curl",
    "density",
    "part",
    "sweep",
    "flare",
    "comb",
    "gloss",
    "fringe",
)


@lru_cache(maxsize=4)
def _style_tables(device: str) -> tuple[Tensor, dict[str, Tensor]]:
    styles = [STYLES[name] for name in HAIR_STYLES]
    lines = torch.tensor([s.line for s in styles], device=device)
    scalars = {name: torch.tensor([getattr(s, name) for s in styles], device=device) for name in _SCALARS}
    scalars["hang"] = torch.tensor([0.0 if s.hang is None else s.hang for s in styles], device=device)
    scalars["hangs"] = torch.tensor([s.hang is not None for s in styles], device=device).float()
    scalars["knot"] = torch.tensor([s.knot or (0.0,) * 5 for s in styles], device=device)
    return lines, scalars


def _smooth(value: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _ripple(theta: Tensor, t: Tensor, phase: Tensor, frequency: float) -> Tensor:
    """A smooth field of bumps in [-1, 1] over the shell, periodic in the angle."""
    k = round(frequency)
    a = torch.sin(k * theta + phase + 3.1 * torch.sin(4.3 * t * k / 6 + phase))
    b = torch.sin((k + 3) * theta - 5.0 * t * k / 4 + 2.3 * phase)
    c = torch.sin(7.7 * t * k / 5 + 1.7 * phase + 2 * torch.sin(2 * theta + phase))
    return (a + b + c) / 3


def hair_line(values: Tensor, theta: Tensor) -> Tensor:
    """Knot parameter (B, C) at which the scalp hair of each head ends, by angle around the axis (C,)."""
    lines, scalars = _style_tables(str(values.device))
    style = values[:, PARAMETER_INDEX["hair_style"]].long()
    angles = torch.tensor(LINE_ANGLES, device=values.device)
    degrees = theta.abs() * (180 / math.pi)
    index = (torch.searchsorted(angles, degrees.contiguous(), right=True) - 1).clamp(0, len(LINE_ANGLES) - 2)
    share = _smooth((degrees - angles[index]) / (angles[index + 1] - angles[index]), 0, 1)
    line = lines[style][:, index] * (1 - share) + lines[style][:, index + 1] * share
    front = torch.exp(-((degrees / 55) ** 2))
    side = torch.where(values[:, PARAMETER_INDEX["hair_part"], None] > 0, 1.0, -1.0)
    sweep = scalars["sweep"][style][:, None] * _smooth(side * torch.sin(theta), -0.6, 0.8) * front
    raised = 0.28 * values[:, PARAMETER_INDEX["hair_line"], None] * front
    return line - raised + sweep


def part_of(values: Tensor) -> Tensor:
    """Angle (B,) of the parting, radians from the front; towards the middle for long hair."""
    long = _style_tables(str(values.device))[1]["hangs"][values[:, PARAMETER_INDEX["hair_style"]].long()]
    side = values[:, PARAMETER_INDEX["hair_part"]]
    return torch.where(long > 0, 0.25 * side, 0.30 * side + 0.35 * torch.sign(side + 1e-3))


def style_value(values: Tensor, name: str) -> Tensor:
    """One number (B,) of each head's hair style."""
    return _style_tables(str(values.device))[1][name][values[:, PARAMETER_INDEX["hair_style"]].long()]


def hair_geometry(values: Tensor, tables: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shell of hair (B, N, 3) and coverage (B, N), tuft (B, M, 3) and coverage (B, M), for parameters and
    knot tables."""
    device = values.device
    rows, columns, _ = mesh.PART_GRIDS["hair"]
    _, scalars = _style_tables(str(device))
    style = values[:, PARAMETER_INDEX["hair_style"]].long()
    get = {name: tensor[style] for name, tensor in scalars.items()}
    theta = torch.linspace(-math.pi, math.pi, columns, device=device)
    t = torch.linspace(0, 1, SCALP_ROWS, device=device)[:, None]
    line = hair_line(values, theta)
    points = _scalp(values, tables, get, theta, t, line)
    hangs = (
        get["hangs"][:, None, None]
        * _smooth(theta.abs() * (180 / math.pi), get["open_deg"][:, None] - 5, get["open_deg"][:, None] + 4)[
            :, None
        ]
    )
    hanging = _hanging(values, get, theta, points[:, -1], rows - SCALP_ROWS, hangs > 0.01)
    fade = torch.where(get["fringe"] > 0, 0.90, 0.86)  # a cut fringe ends at once, roots thin out
    edge = 1 - (1 - hangs) * _smooth(t, fade[:, None, None], 1.0)
    thin = (values[:, PARAMETER_INDEX["hair_style"]] == HAIR_STYLES.index("receding")).float()[:, None, None]
    crown = 1 - 0.45 * thin * (1 - _smooth(t, 0.25, 0.6))
    scalp_cover = get["density"][:, None, None] * edge * crown
    tau = torch.linspace(0, 1, rows - SCALP_ROWS + 1, device=device)[1:, None]
    hang_cover = get["density"][:, None, None] * hangs * (1 - _smooth(tau, 0.72, 1.0))
    cover = torch.cat([scalp_cover.expand(-1, SCALP_ROWS, columns), hang_cover], 1)
    gone = (get["density"] <= 0)[:, None, None]
    shell = torch.cat([points, hanging], 1).flatten(1, 2)
    bun, bun_cover = _tuft(values, get)
    return torch.where(gone, 0.0, shell), cover.flatten(1, 2), bun, bun_cover


def _scalp(
    values: Tensor, tables: Tensor, get: dict[str, Tensor], theta: Tensor, t: Tensor, line: Tensor
) -> Tensor:
    """The part of the shell that lies on the head, (B, SCALP_ROWS, C, 3)."""
    s = 0.02 + t * (line[:, None] - 0.02)
    values_at = torch.einsum("bpk,brck->bprc", tables, mesh.knot_basis(s))
    base = _ring(values_at, theta)
    behind = 0.5 - 0.5 * torch.cos(theta)
    up = 1 - _smooth(t, 0.35, 0.85)

    def field(name: str) -> Tensor:
        return get[name][:, None, None]

    thickness = field("top") * up + (field("sides") * (1 - behind) + field("back") * behind) * (1 - up)
    front = torch.exp(-((theta / 0.75) ** 2))
    thickness = thickness + field("quiff") * front * _smooth(t, 0.35, 0.85)
    part_angle = part_of(values)[:, None, None]
    parting = torch.exp(-(((theta - part_angle) / 0.13) ** 2)) * _smooth(t, 0.05, 0.3)
    thickness = thickness - field("part") * parting
    phase = 6.0 * values[:, PARAMETER_INDEX["cloth_hue"], None, None]
    volume = 1 + 0.35 * values[:, PARAMETER_INDEX["hair_volume"], None, None]
    thickness = thickness * volume * (1 + 0.0 * t)
    thickness = (
        thickness
        + field("curl") * _ripple(theta, t, phase, 11)
        + 0.5 * field("wave") * _ripple(theta, t, phase, 6)
    )
    degrees = theta.abs() * (180 / math.pi)
    hangs = field("hangs") * (degrees > 51)
    hug = _smooth(
        degrees, field("open_deg") - 12, field("open_deg") + 32
    )  # locks lie close to the face in front
    thickness = thickness * (1 - field("hangs") * (1 - hug) * 0.75 * _smooth(t, 0.55, 1.0))
    rise = 0.84 - 0.40 * front * (
        field("fringe") < 0.5
    )  # the mass rises gently from the roots over the forehead
    tuck = 1 - (1 - hangs) * _smooth(t, rise, 1.0) * 0.95
    outward = torch.nn.functional.normalize(base - base.new_tensor([0.0, 0.10, -0.05]), dim=-1)
    return base + outward * (thickness.clamp(min=0.004) * tuck)[..., None]


def _ring(values_at: Tensor, theta: Tensor) -> Tensor:
    front_y, back_y, front_z, back_z, width, power = values_at.unbind(1)
    sin, cos = theta.sin(), theta.cos()
    y = back_y + (front_y - back_y) * (0.5 + 0.5 * cos)
    depth = torch.where(cos > 0, front_z, back_z).clamp(min=1e-4)
    total = (sin.abs() / width.clamp(min=1e-4)) ** power + (cos.abs() / depth) ** power
    radius = total.clamp(min=1e-9) ** (-1 / power)
    return torch.stack([radius * sin, y, radius * cos], -1)


def _hanging(
    values: Tensor, get: dict[str, Tensor], theta: Tensor, ring: Tensor, rows: int, hangs: Tensor
) -> Tensor:
    """Curtain (B, rows, C, 3) that hangs from the shell's last ring (B, C, 3)."""
    tau = torch.linspace(0, 1, rows + 1, device=ring.device)[1:, None]
    start = ring[:, None, :, 1]
    stop = torch.where(hangs, torch.minimum(get["hang"][:, None, None] + 0.0 * start, start), start)
    y = start + (stop - start) * tau
    flare = 1 + get["flare"][:, None, None] * torch.sin(math.pi * tau.clamp(max=0.8))
    phase = 6.0 * values[:, PARAMETER_INDEX["cloth_hue"], None, None]
    sway = (
        get["wave"][:, None, None]
        * torch.sin(9 * y + phase + 1.5 * torch.sin(3 * theta))
        * _smooth(tau, 0.0, 0.2)
    )
    curl = get["curl"][:, None, None] * _ripple(theta, 2 * tau, phase, 9)
    radial = torch.stack([theta.sin().expand_as(y), torch.zeros_like(y), theta.cos().expand_as(y)], -1)
    inward = 1 - 0.24 * _smooth(-y, -0.1, 1.1)
    points = torch.stack(
        [ring[:, None, :, 0] * flare * inward, y, ring[:, None, :, 2] * (1 - 0.25 * tau)], -1
    )
    return points + radial * ((sway + curl) * hangs)[..., None]


def _tuft(values: Tensor, get: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """A bun or a pony tail (B, M, 3) as a bumpy ellipsoid, and its coverage (B, M)."""
    rows, columns, _ = mesh.PART_GRIDS["bun"]
    device = values.device
    polar = torch.linspace(0.02, math.pi - 0.02, rows, device=device)[:, None]
    turn = torch.linspace(-math.pi, math.pi, columns, device=device)[None]
    direction = torch.stack(
        [polar.sin() * turn.sin(), polar.cos() + 0.0 * turn, polar.sin() * turn.cos()], -1
    )
    knot = get["knot"]
    bumps = 1 + 0.05 * _ripple(turn, polar, 6.0 * values[:, PARAMETER_INDEX["cloth_hue"], None, None], 5)
    centre = torch.stack([torch.zeros_like(knot[:, 0]), knot[:, 0], knot[:, 1]], -1)[:, None, None]
    points = centre + direction * knot[:, None, None, 2:] * bumps[..., None]
    present = (knot[:, 2] > 0).float()
    points = points * present[:, None, None, None]
    cover = 1.25 * present[:, None, None] * torch.ones_like(points[..., 0])
    return points.flatten(1, 2), cover.flatten(1, 2)


@lru_cache(maxsize=4)
def beard_rows(device: str = "cpu") -> Tensor:
    """Indices (N,) of the skin vertices that the beard's grid lies on."""
    rows, columns, _ = mesh.PART_GRIDS["beard"]
    t = mesh.template(device)
    usable = torch.nonzero((t.inner == 0) & (t.s >= 7.48) & (t.s <= 12.6))[:, 0]
    lip_rows = [t.lip, t.lip + 2 * mesh.LIP_INNER_ROWS + 1]
    pick = usable[torch.linspace(0, len(usable) - 1, rows - 2, device=device).round().long()]
    chosen = torch.unique(torch.cat([pick, torch.tensor(lip_rows, device=device)]))
    while len(chosen) < rows:
        missing = usable[~torch.isin(usable, chosen)]
        chosen = torch.sort(torch.cat([chosen, missing[-1:]])).values
    middle = len(t.theta) // 2
    # every column around the mouth, every other one back to the ears
    inner, outer = torch.arange(-13, 14), torch.arange(16, 16 + columns - 27, 2)
    columns_index = middle + torch.cat([-outer.flip(0), inner, outer]).to(device)
    return (chosen[:, None] * len(t.theta) + columns_index).flatten()


def beard_layers(values: Tensor) -> tuple[Tensor, Tensor]:
    """Thickness and coverage (B, N) of the beard over its grid."""
    cover = beard_mask(values, beard_rows(str(values.device)))
    t = mesh.template(str(values.device))
    y = t.front_y[:, None].expand_as(t.x).flatten()[beard_rows(str(values.device))]
    style = values[:, PARAMETER_INDEX["beard_style"]]
    long = (style == BEARD_STYLES.index("long")).float()[:, None]
    thickness = 0.022 + 0.02 * _smooth(-y, 0.65, 0.9) + long * (0.05 + 0.13 * _smooth(-y, 0.7, 1.0))
    shell = (style > BEARD_STYLES.index("stubble")).float()[:, None]
    return thickness * shell * (0.25 + 0.75 * cover.clamp(max=1)), cover * shell


def beard_mask(values: Tensor, index: Tensor) -> Tensor:
    """Where a head's beard style grows, (B, N), over skin vertices ``index``; above 1 in its middle."""
    t = mesh.template(str(values.device))
    ax = t.x.abs().flatten()[index]
    y = t.front_y[:, None].expand_as(t.x).flatten()[index]
    return beard_field(values, ax, y)


def beard_field(values: Tensor, ax: Tensor, y: Tensor) -> Tensor:
    """Beard coverage (B, ...) at template coordinates |x| and height y."""
    shape = (-1,) + (1,) * ax.dim()
    style = values[:, PARAMETER_INDEX["beard_style"]].reshape(shape)
    d = y - mesh.MOUTH_Y
    width = (1 - (ax / (mesh.MOUTH_HALF_WIDTH + 0.01)) ** 2).clamp(min=0).sqrt()
    lips = _smooth(d, -mesh.LIP_LOWER * width - 0.035, -mesh.LIP_LOWER * width) * (
        1 - _smooth(d, mesh.LIP_UPPER * width, mesh.LIP_UPPER * width + 0.02)
    )
    lips = lips * _smooth(width, 0.0, 0.25)
    moustache = _smooth(-y, 0.435, 0.495) * (1 - _smooth(ax, 0.18, 0.33)) * _smooth(d, -0.06, 0.0)
    chin = _smooth(-y, 0.71, 0.77) * (1 - _smooth(ax, 0.17, 0.26))
    ring = _smooth(-y, 0.5, 0.6) * _smooth(ax, 0.235, 0.27) * (1 - _smooth(ax, 0.29, 0.34))
    cheek_line = -0.50 + 0.50 * _smooth(ax, 0.30, 0.60) - 0.03
    full = (
        (1 - _smooth(y, cheek_line - 0.17, cheek_line + 0.04))
        * (1 - _smooth(ax, 0.50, 0.64))
        * _smooth(y, -1.10, -1.0)
    )
    goatee = torch.maximum(torch.maximum(moustache, chin), ring)
    everything = torch.maximum(goatee, full)
    by_style = [torch.zeros_like(full), everything, moustache, goatee, everything, everything]
    mask = sum((style == i).float() * field for i, field in enumerate(by_style))
    return mask * (1 - lips) * 1.2
