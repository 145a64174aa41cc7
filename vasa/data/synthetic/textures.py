"""Painting an identity's texture atlas and background, once per identity; and degrading finished pictures.

An atlas (A, 2 A, 4) uint8 holds patches of skin, eye, mouth, clothes and hair (mesh.ATLAS_PATCHES). RGB is sRGB albedo; the
fourth channel is gloss, or, in the hair patch, the strand noise that coverage is compared with. The skin is painted in template
face coordinates, so a wrinkle, a lip or a brow is at the same material point on every identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vasa.data.synthetic import hair, mesh, patterns
from vasa.data.synthetic.parameters import (
    BEARD_STYLES,
    HAIR_STYLES,
    PARAMETER_INDEX,
    Palette,
    palette,
    seed_generator,
)
from vasa.data.synthetic.shape import EYE_CAP, EYE_RADIUS, gaussian, smoothstep


@dataclass(slots=True)
class SkinTexels:
    """Template coordinates of every texel of the skin patch, each (A, A)."""

    x: Tensor
    ax: Tensor
    y: Tensor
    z: Tensor
    s: Tensor
    theta: Tensor
    inner: Tensor
    below: Tensor
    row: Tensor
    lip_window: Tensor
    lid_window: Tensor


def _patch_axis(size: int) -> Tensor:
    """Patch coordinate of each of ``size`` texels, inverse of mesh.place_in_patch."""
    return ((torch.arange(size) + 0.5) / size - mesh.PATCH_MARGIN) / (1 - 2 * mesh.PATCH_MARGIN)


@lru_cache(maxsize=6)
def skin_texels(size: int) -> SkinTexels:
    """Samples the template's fields at the texels of a skin patch of ``size``."""
    t = mesh.template("cpu")
    rows, columns = len(t.s), len(t.theta)
    axis = _patch_axis(size).clamp(0, 1) * 2 - 1
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], -1)[None]
    full = (rows, columns)
    near_lid = (torch.arange(rows) > t.lid + mesh.LID_INNER_ROWS) & (t.s < 7)
    below = torch.where(t.s < 7, near_lid.float(), t.below_lip.float())
    fields = torch.stack(
        [t.x, t.z, t.front_y[:, None].expand(full), t.s[:, None].expand(full), t.theta[None].expand(full), t.inner[:, None].expand(full),
         below[:, None].expand(full), torch.arange(rows).float()[:, None].expand(full)]
    )  # fmt: skip
    x, z, y, s, theta, inner, below, row = F.grid_sample(fields[None], grid, align_corners=True)[0]
    lip_window = (1 - (x / mesh.MOUTH_HALF_WIDTH) ** 2).clamp(min=0).sqrt() * (z > 0)
    lid_window = (1 - ((x.abs() - mesh.EYE_X) / mesh.EYE_HALF_WIDTH) ** 2).clamp(min=0) * (z > 0)
    return SkinTexels(x, x.abs(), y, z, s, theta, inner, below, row, lip_window, lid_window)


class Painter:
    """Paints one identity: its parameters (P,), seed, mode and texture size."""

    def __init__(self, values: Tensor, seed: int, mode: str, size: int) -> None:
        self.values, self.seed, self.mode, self.size = values.cpu(), seed, mode, size
        self.colours: Palette = palette(self.values)
        self.texels = skin_texels(size)

    def get(self, name: str) -> float:
        return float(self.values[PARAMETER_INDEX[name]])

    def rng(self, stream: int) -> torch.Generator:
        return seed_generator(self.seed, 100 + stream)

    def noise(self, stream: int, rows: int, columns: int, octaves: int = 1) -> Tensor:
        """Noise (A, A) over the skin patch, centred at 0, about +-1."""
        return 2 * patterns.fractal_noise(self.rng(stream), self.size, self.size, rows, columns, octaves) - 1

    def atlas(self) -> Tensor:
        """The whole atlas (A, 2 A, 4) uint8."""
        size = self.size
        sheet = torch.zeros(size, size * mesh.ATLAS_ASPECT, 4)
        for name, paint in (
            ("skin", self.skin),
            ("eye", self.eye),
            ("mouth", self.mouth),
            ("cloth", self.cloth),
            ("hair", self.hair),
            ("beard", self.beard),
        ):
            left, top, width, height = mesh.ATLAS_PATCHES[name]
            rows, columns = round(height * size), round(width * mesh.ATLAS_ASPECT * size)
            first_row, first_column = round(top * size), round(left * mesh.ATLAS_ASPECT * size)
            sheet[first_row : first_row + rows, first_column : first_column + columns] = paint(rows, columns)
        return (sheet.clamp(0, 1) * 255).round().to(torch.uint8)

    # skin ------------------------------------------------------------------------------------------------------------------

    def skin(self, rows: int, columns: int) -> Tensor:
        """The skin patch (A, A, 4)."""
        t = self.texels
        colour = self._complexion()
        colour = self._scalp(colour)
        colour = self._folds(colour)
        if self.mode == "randomised":
            colour = self._foreign(colour)
        colour = self._lids(colour)
        colour = self._lips(colour)
        colour = self._beard_shadow(colour)
        colour = self._brows(colour)
        colour = colour * self._occlusion()[..., None]
        lips = self._lip_mask()
        zone = gaussian(t.x, 0, 0.12) * gaussian(t.y, -0.2, 0.3) + gaussian(t.x, 0, 0.3) * gaussian(
            t.y, 0.5, 0.2
        )
        gloss = 0.45 + 0.35 * zone + 0.5 * lips + 0.15 * self.noise(20, 48, 48)
        gloss = gloss * (1 - 0.7 * smoothstep(-t.s, -4.5, -3.5)) * (1 - (t.s > 13).float() * 0.3)
        return torch.cat([colour, gloss.clamp(0, 1)[..., None]], -1)

    def _complexion(self) -> Tensor:
        t = self.texels
        mottled = 0.030 * self.noise(1, 12, 14, 3) + 0.022 * self.noise(2, 110, 120)
        mottled = mottled * (1 - 0.85 * smoothstep(t.s, 11.2, 12.2))
        colour = self.colours.skin * (1 + mottled)[..., None]
        dark = self.get("skin_tone")
        red = gaussian(t.ax, 0.40, 0.17) * gaussian(t.y, -0.28, 0.15) + 0.8 * gaussian(
            t.x, 0, 0.10
        ) * gaussian(t.y, -0.33, 0.09)
        red = red + 0.5 * gaussian(t.x, 0, 0.16) * gaussian(t.y, -0.90, 0.09)
        red = red * self.get("blush") * (1 - 0.6 * dark) * (t.z > 0.1) * (1 + 0.3 * self.noise(3, 20, 20))
        colour = colour * (1 + red[..., None] * torch.tensor([0.02, -0.17, -0.15]))
        shade = (
            gaussian(t.ax, 0.26, 0.16)
            * gaussian(t.y, -0.04, 0.10)
            * (t.z > 0.1)
            * (0.07 + 0.08 * self.get("age"))
        )
        colour = colour * (1 - shade[..., None] * torch.tensor([0.9, 1.15, 0.9]))
        if self.get("freckles") > 0:
            dots = smoothstep(patterns.lattice_noise(self.rng(4), self.size, self.size, 120, 150), 0.80, 0.95)
            where = (
                gaussian(t.ax, 0.24, 0.30) * gaussian(t.y, -0.20, 0.20) * (t.z > 0.2) * self.get("freckles")
            )
            colour = colour * (1 - (dots * where)[..., None] * torch.tensor([0.25, 0.38, 0.45]))
        return colour

    def _scalp(self, colour: Tensor) -> Tensor:
        """Hair roots under the shell, so that partings and hair lines do not show bare skin."""
        t = self.texels
        style = HAIR_STYLES[int(self.get("hair_style"))]
        line = hair.hair_line(self.values[None], t.theta.flatten())[0].reshape(t.theta.shape)
        edge = line - t.s + 0.16 * self.noise(5, 60, 90, 2)
        amount = smoothstep(edge, -0.12, 0.35)
        if style == "bald":
            amount = 0.10 * amount * (self.get("age") < 0.7)
        elif style == "receding":
            amount = 0.75 * amount
        grain = 0.75 + 0.25 * self.noise(6, 120, 160)
        cover = (0.88 * amount * grain).clamp(0, 1)[..., None]
        return colour * (1 - cover) + (0.75 * self.colours.hair + 0.10 * self.colours.skin) * cover

    def _folds(self, colour: Tensor) -> Tensor:
        """Nasolabial folds, crow's feet, brow and forehead lines, tear troughs: darker with age."""
        t, age = self.texels, self.get("age")
        u = ((-0.38 - t.y) / 0.30).clamp(0, 1)
        curve = 0.115 + 0.19 * u**0.75
        fold = (
            torch.exp(-(((t.ax - curve) / 0.026) ** 2))
            * smoothstep(-t.y, 0.37, 0.43)
            * (1 - smoothstep(-t.y, 0.58, 0.72))
        )
        trough = torch.exp(-(((t.y + 0.095 + 0.10 * (t.ax - 0.12)) / 0.016) ** 2)) * gaussian(
            t.ax, 0.21, 0.10
        )
        lines = (0.5 + 0.5 * torch.sin(t.y * 62 + 3.0 * self.noise(7, 6, 8, 2))) ** 6
        forehead = lines * gaussian(t.y, 0.46, 0.13) * (1 - smoothstep(t.ax, 0.25, 0.45))
        feet_angle = torch.atan2(t.y - 0.01, t.ax - 0.40)
        feet = (
            (0.5 + 0.5 * torch.cos(feet_angle * 14)) ** 4
            * gaussian(t.ax, 0.50, 0.045)
            * gaussian(t.y, 0.01, 0.08)
        )
        glabella = torch.exp(-(((t.ax - 0.045) / 0.012) ** 2)) * gaussian(t.y, 0.20, 0.06)
        crease = torch.exp(-(((t.y + 0.775 - 0.03 * (t.ax / 0.2) ** 2) / 0.022) ** 2)) * gaussian(
            t.ax, 0.0, 0.15
        )
        amount = (
            fold * (0.04 + 0.17 * age) + trough * (0.03 + 0.15 * age) + forehead * 0.12 * max(age - 0.2, 0.0) * 1.4
            + feet * 0.28 * max(age - 0.3, 0.0) + glabella * 0.16 * age + crease * 0.08
        )  # fmt: skip
        amount = amount * (t.z > 0.1)
        return colour * (1 - amount[..., None] * torch.tensor([0.85, 1.05, 1.05]))

    def _lip_mask(self) -> Tensor:
        t = self.texels
        d = t.y - mesh.MOUTH_Y
        upper = (
            mesh.LIP_UPPER
            * t.lip_window**0.8
            * (1 - 0.16 * gaussian(t.x, 0, 0.035) + 0.05 * gaussian(t.ax, 0.06, 0.04))
        )
        lower = mesh.LIP_LOWER * t.lip_window**0.75
        soft = 0.012
        inside = smoothstep(upper - d, -soft, soft) * smoothstep(lower + d, -soft, soft)
        return inside * smoothstep(t.lip_window, 0.05, 0.35)

    def _lips(self, colour: Tensor) -> Tensor:
        t = self.texels
        mask = self._lip_mask()
        grooves = 1 + 0.06 * self.noise(8, 14, 260) + 0.03 * self.noise(9, 40, 120)
        d = t.y - mesh.MOUTH_Y
        tint = self.colours.lips * (grooves * (1 - 0.10 * smoothstep(d, 0.0, 0.03)))[..., None]
        wet = (t.inner * (t.s > 7.5))[..., None]
        tint = tint * (1 - 0.45 * wet * torch.tensor([0.7, 1.1, 1.0]))
        colour = colour * (1 - mask[..., None] * 0.92) + tint * mask[..., None] * 0.92
        seam = torch.exp(-((d / 0.010) ** 2)) * (t.lip_window > 0) * 0.35 * (1 - t.inner)
        return colour * (1 - seam[..., None])

    def _lids(self, colour: Tensor) -> Tensor:
        """Lash lines, lid crease, lid margins and lid shadow."""
        t = self.texels
        near = t.lid_window > 0
        upper = (1 - t.below) * near
        window = t.lid_window**0.5
        shadow = upper * gaussian(t.y, 0.05, 0.055) * window
        make_up = max(self.get("make_up"), 0.0)
        hue = (
            torch.tensor([0.55, 0.85, 0.75])
            if self.get("iris_hue") > 0.5
            else torch.tensor([0.85, 0.75, 0.45])
        )
        colour = colour * (1 - shadow[..., None] * (0.08 + 0.35 * make_up * hue))
        fold = torch.exp(-(((t.y - 0.098 - 0.01 * t.lid_window) / 0.011) ** 2)) * upper * window
        colour = colour * (1 - fold[..., None] * (0.22 + 0.16 * self.get("lid_fold")))
        lashes = (
            torch.exp(-((t.y / 0.0085) ** 2)) * upper * smoothstep(t.lid_window, 0.0, 0.2) * (t.inner < 0.6)
        )
        low = torch.exp(-((t.y / 0.006) ** 2)) * t.below * near * smoothstep(t.lid_window, 0.0, 0.3) * 0.45
        dark = ((lashes + low) * (0.45 + 0.55 * self.get("lash_darkness"))).clamp(0, 0.95)[..., None]
        colour = colour * (1 - dark) + dark * torch.tensor([0.05, 0.035, 0.03])
        margin = (t.inner * (t.s < 7) * near)[..., None] * 0.6
        return colour * (1 - margin) + margin * (0.6 * self.colours.skin + torch.tensor([0.24, 0.10, 0.09]))

    def _brows(self, colour: Tensor) -> Tensor:
        """Brows as strands that lie along a curve."""
        t = self.texels
        along = ((t.ax - 0.095) / 0.385).clamp(-0.2, 1.3)
        arch = 0.030 + 0.022 * self.get("brow_arch")
        centre = (
            0.185
            + arch * torch.sin(math.pi * (along * 0.92).clamp(0, 1))
            - 0.028 * (along - 0.5) * (1 + 0.9 * self.get("brow_angle"))
        )
        half = (
            (0.034 + 0.013 * self.get("brow_thickness"))
            * (0.55 + 0.75 * (1 - along).clamp(0, 1))
            * smoothstep(along, -0.03, 0.12)
        )
        distance = (t.y - centre) / half.clamp(min=1e-3)
        body = (
            torch.exp(-(distance.abs() ** 3))
            * smoothstep(along, -0.04, 0.10)
            * (1 - smoothstep(along, 0.88, 1.04))
        )
        lean = patterns.fractal_noise(self.rng(10), self.size, self.size, 60, 60, 2) - 0.5
        strands = 0.5 + 0.5 * torch.sin((t.ax * 330 - t.y * 210) * (1 - 0.25 * along) + 14 * lean)
        amount = (body * (0.62 + 0.38 * strands) * self.get("brow_darkness")).clamp(0, 1) * (t.z > 0)
        hair_colour = 0.62 * self.colours.hair + 0.02
        return colour * (1 - amount[..., None]) + hair_colour * amount[..., None]

    def _beard_shadow(self, colour: Tensor) -> Tensor:
        t = self.texels
        style = BEARD_STYLES[int(self.get("beard_style"))]
        if style == "none":
            return colour
        field = hair.beard_field(self.values[None], t.ax, t.y)[0].clamp(0, 1) * (t.z > -0.1)
        field = field * (1 - smoothstep(t.s, 11.0, 12.2))
        grain = 0.5 + 0.7 * torch.rand(self.size, self.size, generator=self.rng(11)) - 0.15
        amount = field * grain.clamp(0, 1) * (0.50 if style == "stubble" else 0.80)
        return colour * (1 - amount[..., None]) + 0.7 * self.colours.hair * amount[..., None]

    def _occlusion(self) -> Tensor:
        """Light that folds keep out: nostrils, corners of the mouth, under chin and jaw."""
        t = self.texels
        nostril = torch.exp(-((((t.ax - 0.044) / 0.022) ** 2 + ((t.y + 0.408) / 0.014) ** 2) ** 1.5)) * (
            t.z > 0.3
        )
        wing = torch.exp(-(((t.ax - 0.128) / 0.012) ** 2)) * gaussian(t.y, -0.385, 0.04) * (t.z > 0.3)
        base = gaussian(t.x, 0, 0.12) * gaussian(t.y, -0.425, 0.022)
        corner = torch.exp(
            -(((t.ax - mesh.MOUTH_HALF_WIDTH) / 0.022) ** 2 + ((t.y - mesh.MOUTH_Y) / 0.018) ** 2)
        ) * (t.z > 0.2)
        lip_foot = torch.exp(-(((t.y - mesh.MOUTH_Y + mesh.LIP_LOWER + 0.02) / 0.022) ** 2)) * gaussian(
            t.x, 0, 0.16
        )
        neck = (
            smoothstep(t.s, 11.2, 12.6)
            * (1 - 0.35 * smoothstep(t.s, 13.5, 15.0))
            * smoothstep(t.z, -0.35, 0.15)
        )
        inner_mouth = t.inner * (t.s > 7.5)
        dark = 1 - 0.82 * nostril * (1 - 0.0 * base)
        return (
            dark
            * (1 - 0.22 * wing)
            * (1 - 0.16 * base)
            * (1 - 0.30 * corner)
            * (1 - 0.12 * lip_foot)
            * (1 - 0.38 * neck)
            * (1 - 0.35 * inner_mouth)
        )

    def _foreign(self, colour: Tensor) -> Tensor:
        """Randomised skin: a pattern replaces or multiplies the complexion."""
        generator = self.rng(30)
        kind, strength = torch.rand(2, generator=generator).tolist()
        pattern = patterns.random_pattern(generator, self.size, self.size).permute(1, 2, 0)
        if kind < 0.35:
            return colour * (1 + (0.25 + 0.6 * strength) * (pattern - 0.5))
        if kind < 0.65:
            tint = torch.rand(3, generator=generator) * 0.8 + 0.2
            return (colour.mean(-1, keepdim=True) * tint * 1.3) * (
                0.75 + 0.5 * pattern.mean(-1, keepdim=True)
            )
        if kind < 0.85:
            return 0.55 * strength * pattern + (1 - 0.55 * strength) * colour
        return colour

    # other patches ---------------------------------------------------------------------------------------------------------

    def eye(self, rows: int, columns: int) -> Tensor:
        """Sclera, iris with fibres and limbal ring, pupil: (rows, columns, 4), gloss 1."""
        a = (_patch_axis(columns) * 2 - 1)[None] * EYE_CAP
        b = -(_patch_axis(rows) * 2 - 1)[:, None] * EYE_CAP
        radius = torch.acos((a.cos() * b.cos()).clamp(-1, 1))
        angle = torch.atan2(b + 0 * a, a + 0 * b)
        limit = 0.43 * (1 + 0.07 * self.get("iris_size"))
        r = radius / limit
        generator = self.rng(12)
        phases = torch.rand(5, generator=generator) * 2 * math.pi
        fibres = sum(torch.sin((9 + 7 * k) * angle + phases[k] + 2.0 * r * k) for k in range(5)) / 5
        iris = (
            self.colours.iris
            * (0.80 + 0.30 * fibres * smoothstep(r, 0.3, 0.6) + 0.42 * gaussian(r, 0.52, 0.20))[..., None]
        )
        iris = iris * (1 - 0.72 * smoothstep(r, 0.80, 1.0))[..., None]
        pupil = 1 - smoothstep(r, 0.36, 0.42)
        iris = iris * (1 - pupil[..., None]) + 0.015
        veins = patterns.fractal_noise(self.rng(13), rows, columns, 14, 14, 2) - 0.5
        white = torch.tensor([0.90, 0.885, 0.865]) * (1 - 0.22 * smoothstep(radius, 0.5, 1.15))[..., None]
        red = (smoothstep(radius, 0.55, 1.2) * (0.10 + 0.25 * veins.clamp(min=0)))[..., None]
        white = white * (1 - red * torch.tensor([0.05, 0.6, 0.6]))
        blend = smoothstep(r, 0.95, 1.04)[..., None]
        colour = iris * (1 - blend) + white * blend
        return torch.cat([colour, torch.ones(rows, columns, 1)], -1)

    def mouth(self, rows: int, columns: int) -> Tensor:
        """Four tiles from top to bottom: cavity, teeth with gums, tongue, frame of the glasses."""
        v = _patch_axis(rows).clamp(0, 1)[:, None] * 4
        u = _patch_axis(columns).clamp(0, 1)[None]
        local = ((v % 1) - 0.1) / 0.8
        cavity = torch.tensor([0.23, 0.055, 0.05]).expand(rows, columns, 3)
        gap = torch.exp(-((((((u - 0.5) * 9.0 + 0.5) % 1.0 - 0.5).abs() - 0.5) / 0.06) ** 2))
        yellow = 0.02 + 0.10 * self.get("age")
        ivory = (
            torch.tensor([0.93, 0.91 - 0.3 * yellow, 0.87 - yellow])
            * (1 - 0.20 * gap * smoothstep(local, 0.3, 0.5))[..., None]
        )
        gum = torch.tensor([0.66, 0.32, 0.30]) * (1 - 0.25 * self.get("skin_tone"))
        scallop = smoothstep(local - 0.07 * torch.cos((u - 0.5) * 9.0 * 2 * math.pi), 0.22, 0.32)[..., None]
        teeth = gum * (1 - scallop) + ivory * scallop
        rough = patterns.fractal_noise(self.rng(14), rows, columns, 30, 30, 2)[..., None]
        tongue = (
            torch.tensor([0.70, 0.33, 0.32])
            * (0.85 + 0.3 * rough)
            * (1 - 0.25 * gaussian(u, 0.5, 0.06) * smoothstep(1 - local, 0.1, 0.5))[..., None]
        )
        frame = self.colours.frame.expand(rows, columns, 3) * (0.9 + 0.2 * rough)
        tile = v.floor().clamp(0, 3).expand(rows, columns)[..., None]
        colour = torch.where(
            tile == 0, cavity, torch.where(tile == 1, teeth, torch.where(tile == 2, tongue, frame))
        )
        gloss = torch.where(tile == 0, 0.0, torch.where(tile == 1, 0.9, 0.7))
        return torch.cat([colour, gloss], -1)

    def cloth(self, rows: int, columns: int) -> Tensor:
        """Plain, ribbed, striped or checked cloth, now and then with a collar or placket."""
        generator = self.rng(15)
        kind, rate, tint = torch.rand(3, generator=generator).tolist()
        v, u = _patch_axis(rows)[:, None], _patch_axis(columns)[None]
        colour = self.colours.cloth.expand(rows, columns, 3)
        other = (self.colours.cloth * 0.4 + 0.6 * torch.rand(3, generator=generator)).clamp(0, 1)
        if self.mode == "randomised" and tint < 0.7:
            colour = patterns.random_pattern(generator, rows, columns).permute(1, 2, 0)
        elif kind < 0.2:
            band = smoothstep(torch.sin(v * (30 + 60 * rate) + 0 * u), -0.2, 0.2)[..., None]
            colour = colour * (1 - band) + other * band
        elif kind < 0.35:
            check = (torch.sin(v * (25 + 40 * rate)) > 0).float() * 0.5 + (
                torch.sin(u * (35 + 55 * rate)) > 0
            ).float() * 0.5
            colour = colour * (1 - 0.5 * check[..., None]) + 0.5 * other * check[..., None]
        weave = (
            1
            + 0.05 * torch.sin(u * 380) * (kind > 0.6)
            + 0.12 * (patterns.fractal_noise(self.rng(16), rows, columns, 10, 20, 3) - 0.5)
        )
        hem = 1 - 0.30 * torch.exp(-(((v - 0.055) / 0.012) ** 2)) + 0 * u
        colour = colour * (weave * hem)[..., None]
        return torch.cat([colour, torch.full((rows, columns, 1), 0.1)], -1)

    def hair(self, rows: int, columns: int) -> Tensor:
        """Strands from the crown (v = 0) outwards: colour, and in the fourth channel the noise that coverage is compared with."""
        curly = (
            HAIR_STYLES[int(self.get("hair_style"))] in ("afro", "curly_long") or self.get("hair_curl") > 0.75
        )
        if curly:
            fine = patterns.fractal_noise(self.rng(17), rows, columns, 34, 78, 2, 0.8)
            locks = patterns.fractal_noise(self.rng(18), rows, columns, 9, 22, 2)
            fine = (0.5 - (fine - 0.5).abs() * 2.2 + 0.25).clamp(0, 1)  # ridges read as curls
        else:
            grid = self._combed(rows, columns)
            strands = patterns.fractal_noise(self.rng(17), rows, columns, 3, 230, 2, 0.7)
            clumps = patterns.fractal_noise(self.rng(18), rows, columns, 3, 40, 2)
            fine, locks = F.grid_sample(
                torch.stack([strands, clumps])[None], grid, padding_mode="reflection", align_corners=True
            )[0]
        shade = 0.62 + 0.50 * (fine - 0.5) + 0.55 * (locks - 0.5)
        roots = 0.85 + 0.15 * smoothstep(torch.linspace(0, 1, rows), 0.0, 0.35)[:, None]
        warmth = (0.30 * (locks - 0.5))[..., None] * torch.tensor([1.0, 0.5, 0.1])
        colour = self.colours.hair * (1.15 * shade * roots)[..., None] * (1 + warmth)
        if self.mode == "randomised":
            generator = self.rng(19)
            if float(torch.rand((), generator=generator)) < 0.45:
                pattern = patterns.random_pattern(generator, rows, columns).permute(1, 2, 0)
                colour = pattern * (0.6 + 0.6 * shade[..., None])
        strand = (0.75 * fine + 0.25 * locks - 0.5) * 1.8 + 0.5
        return torch.cat([colour.clamp(0, 1), strand.clamp(0, 1)[..., None]], -1)

    def _combed(self, rows: int, columns: int) -> Tensor:
        """Where each texel of the hair patch reads the strands (1, rows, columns, 2): they lean away from the parting, and wave."""
        values = self.values[None]
        comb = float(hair.style_value(values, "comb"))
        part = float(hair.part_of(values)) / (2 * math.pi) + 0.5
        v, u = torch.linspace(0, 1, rows)[:, None], torch.linspace(0, 1, columns)[None]
        scalp = (v / 0.64).clamp(max=1)
        front = torch.exp(-(((u - 0.5) / 0.22) ** 2))
        lean = comb * torch.sign(u - part + 0 * v) * scalp**1.5 * front
        wavy = (
            0.004 + 0.006 * max(self.get("hair_curl"), 0.0) + 0.10 * float(hair.style_value(values, "wave"))
        )
        slow = patterns.fractal_noise(self.rng(22), rows, columns, 5, 16, 2) - 0.5
        across = u - lean + wavy * torch.sin(16 * v + 6 * slow) + 0.012 * slow
        return torch.stack([2 * across - 1, (2 * v - 1).expand(rows, columns)], -1)[None]

    def beard(self, rows: int, columns: int) -> Tensor:
        """Short, slightly curled hairs; fourth channel as in the hair patch."""
        fine = patterns.fractal_noise(self.rng(23), rows, columns, 26, 90, 2, 0.8)
        locks = patterns.fractal_noise(self.rng(24), rows, columns, 10, 22, 2)
        shade = 0.62 + 0.7 * (fine - 0.5) + 0.4 * (locks - 0.5)
        colour = 0.9 * self.colours.hair * shade[..., None]
        if self.mode == "randomised":
            generator = self.rng(25)
            if float(torch.rand((), generator=generator)) < 0.45:
                colour = patterns.random_pattern(generator, rows, columns).permute(1, 2, 0) * (
                    0.6 + 0.6 * shade[..., None]
                )
        strand = (0.8 * fine + 0.2 * locks - 0.5) * 1.7 + 0.5
        return torch.cat([colour.clamp(0, 1), strand.clamp(0, 1)[..., None]], -1)

    def background(self, size: int) -> Tensor:
        """Background (3, size, size) sRGB: a wall with soft light, or out-of-focus shapes."""
        generator = self.rng(21)
        kind, a, b = torch.rand(3, generator=generator).tolist()
        if self.mode == "randomised" and kind < 0.75:
            return patterns.random_pattern(generator, size, size)
        v, u = torch.linspace(0, 1, size)[:, None], torch.linspace(0, 1, size)[None]
        first, second = torch.rand(2, 3, generator=generator) * 0.65 + 0.15
        first = 0.6 * first + 0.4 * first.mean()
        second = 0.5 * first + 0.5 * (0.6 * second + 0.4 * second.mean())
        blend = smoothstep(v * math.cos(a * 3) + u * math.sin(a * 3) + 0.3 * (b - 0.5), -0.4, 1.2)[None]
        image = first[:, None, None] * (1 - blend) + second[:, None, None] * blend
        if kind > 0.45:
            blur = patterns.fractal_noise(generator, size, size, 4, 4, 2)
            image = image * (0.75 + 0.5 * blur)
        return (image * (1 - 0.18 * ((u - 0.5) ** 2 + (v - 0.5) ** 2) * 2)).clamp(0, 1)


def eye_radius_of(values: Tensor) -> Tensor:
    """Radius (B,) of the eyeballs of heads with parameters (B, P), head units."""
    return EYE_RADIUS * (1 + 0.14 * values[:, PARAMETER_INDEX["eye_size"]])
