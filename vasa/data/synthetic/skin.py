"""Painting skin, once per identity: complexion, scalp, folds, lids, lips, beard shadow, brows and occlusion.

The skin is painted in template face coordinates, so a wrinkle, a lip or a brow is at the same material point
on every identity.
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
from vasa.data.synthetic.shape import gaussian, smoothstep


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


def patch_axis(size: int) -> Tensor:
    """Patch coordinate of each of ``size`` texels, inverse of mesh.place_in_patch."""
    return ((torch.arange(size) + 0.5) / size - mesh.PATCH_MARGIN) / (1 - 2 * mesh.PATCH_MARGIN)


@lru_cache(maxsize=6)
def skin_texels(size: int) -> SkinTexels:
    """Samples the template's fields at the texels of a skin patch of ``size``."""
    t = mesh.template("cpu")
    rows, columns = len(t.s), len(t.theta)
    axis = patch_axis(size).clamp(0, 1) * 2 - 1
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], -1)[None]
    full = (rows, columns)
    near_lid = (torch.arange(rows) > t.lid + mesh.LID_INNER_ROWS) & (t.s < 7)
    below = torch.where(t.s < 7, near_lid.float(), t.below_lip.float())
    fields = torch.stack(
        [
            t.x,
            t.z,
            t.front_y[:, None].expand(full),
            t.s[:, None].expand(full),
            t.theta[None].expand(full),
            t.inner[:, None].expand(full),
            below[:, None].expand(full),
            torch.arange(rows).float()[:, None].expand(full),
        ]
    )
    x, z, y, s, theta, inner, below, row = F.grid_sample(fields[None], grid, align_corners=True)[0]
    lip_window = (1 - (x / mesh.MOUTH_HALF_WIDTH) ** 2).clamp(min=0).sqrt() * (z > 0)
    lid_window = (1 - ((x.abs() - mesh.EYE_X) / mesh.EYE_HALF_WIDTH) ** 2).clamp(min=0) * (z > 0)
    return SkinTexels(x, x.abs(), y, z, s, theta, inner, below, row, lip_window, lid_window)


class SkinPainter:
    """Paints the skin of one identity: its parameters (P,), seed, mode and texture size."""

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
        gloss = (
            (0.20 + 0.70 * self.get("skin_gloss")) + 0.35 * zone + 0.5 * lips + 0.15 * self.noise(20, 48, 48)
        )
        gloss = (
            gloss
            * (1 - t.inner * (t.s < 7))
            * (1 - 0.7 * smoothstep(-t.s, -4.5, -3.5))
            * (1 - (t.s > 13).float() * 0.3)
        )
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
        edge = line - t.s - 0.06 + 0.16 * self.noise(5, 60, 90, 2)
        amount = smoothstep(edge, -0.10, 0.30)
        if style == "bald":
            amount = 0.10 * amount * (self.get("age") < 0.7)
        elif style == "receding":
            amount = 0.75 * amount
        grain = 0.85 + 0.25 * self.noise(6, 120, 160)
        cover = (1.05 * amount * grain).clamp(0, 1)[..., None]
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
            fold * (0.04 + 0.17 * age)
            + trough * (0.03 + 0.15 * age)
            + forehead * 0.12 * max(age - 0.35, 0.0) * 1.6
            + feet * 0.28 * max(age - 0.3, 0.0)
            + glabella * 0.16 * age
            + crease * 0.08
        )
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
        strands = self.noise(10, 70, 210, 2)
        amount = (body * (0.80 + 0.30 * strands) * self.get("brow_darkness")).clamp(0, 1) * (t.z > 0)
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
