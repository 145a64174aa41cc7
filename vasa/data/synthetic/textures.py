"""Painting an identity's texture atlas and background, once per identity; and degrading finished pictures.

An atlas (A, 2 A, 4) uint8 holds patches of skin, eye, mouth, clothes and hair (mesh.ATLAS_PATCHES). RGB is
sRGB albedo; the fourth channel is gloss, or, in the hair patch, the strand noise that coverage is compared
with. The skin is painted in template face coordinates, so a wrinkle, a lip or a brow is at the same material
point on every identity.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vasa.data.synthetic import hair, mesh, patterns
from vasa.data.synthetic.parameters import HAIR_STYLES
from vasa.data.synthetic.shape import EYE_CAP, gaussian, smoothstep
from vasa.data.synthetic.skin import SkinPainter, patch_axis


class Painter(SkinPainter):
    """Paints every patch of one identity's atlas, and its background."""

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

    def eye(self, rows: int, columns: int) -> Tensor:
        """Sclera, iris with fibres and limbal ring, pupil: (rows, columns, 4), gloss 1."""
        a = (patch_axis(columns) * 2 - 1)[None] * EYE_CAP
        b = -(patch_axis(rows) * 2 - 1)[:, None] * EYE_CAP
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
        v = patch_axis(rows).clamp(0, 1)[:, None] * 4
        u = patch_axis(columns).clamp(0, 1)[None]
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
        v, u = patch_axis(rows)[:, None], patch_axis(columns)[None]
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
        """Strands from the crown (v = 0) outwards: colour, and in the fourth channel the noise that coverage
        is compared with."""
        curly = HAIR_STYLES[int(self.get("hair_style"))] in ("afro", "curly_long")
        if curly:
            fine = patterns.fractal_noise(self.rng(17), rows, columns, 62, 140, 2, 0.8)
            locks = patterns.fractal_noise(self.rng(18), rows, columns, 14, 32, 3, 0.7)
            fine = (1.0 - (fine - 0.5).abs() * 3.5).clamp(0, 1) * 0.6 + 0.4 * locks  # ridges read as curls
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
        strand = (0.92 * fine + 0.08 * locks - 0.5) * 1.8 + 0.5
        return torch.cat([colour.clamp(0, 1), strand.clamp(0, 1)[..., None]], -1)

    def _combed(self, rows: int, columns: int) -> Tensor:
        """Where each texel of the hair patch reads the strands (1, rows, columns, 2): they lean away from the
        parting, and wave."""
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
        fine = patterns.fractal_noise(self.rng(23), rows, columns, 40, 130, 2, 0.8)
        locks = patterns.fractal_noise(self.rng(24), rows, columns, 10, 22, 2)
        shade = 0.72 + 0.45 * (fine - 0.5) + 0.15 * (locks - 0.5)
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
