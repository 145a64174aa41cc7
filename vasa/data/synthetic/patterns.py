"""Random patterns: smooth noise, fractal noise, dead leaves, Voronoi cells, stripes, brush strokes and line
art.

Every function returns values in about [0, 1] and is a pure function of its generator; random numbers are
drawn on the CPU in a fixed order, so that a device gets the same pattern.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def lattice_noise(generator: torch.Generator, height: int, width: int, rows: int, columns: int) -> Tensor:
    """Smooth noise (H, W) in about [0, 1] from a random lattice of rows x columns."""
    lattice = torch.rand(1, 1, rows + 1, columns + 1, generator=generator)
    mode = "bicubic" if rows < height or columns < width else "area"
    return F.interpolate(
        lattice, (height, width), mode=mode, align_corners=True if mode == "bicubic" else None
    )[0, 0].clamp(0, 1)


def fractal_noise(
    generator: torch.Generator,
    height: int,
    width: int,
    rows: int = 4,
    columns: int = 4,
    octaves: int = 4,
    decay: float = 0.55,
) -> Tensor:
    """Sum of lattice noises of doubling frequency and falling weight (H, W), mean about 0.5."""
    total, weight, norm = torch.zeros(height, width), 1.0, 0.0
    for octave in range(octaves):
        scale = 2**octave
        total += weight * (lattice_noise(generator, height, width, rows * scale, columns * scale) - 0.5)
        norm += weight**2
        weight *= decay
    return (0.5 + total / math.sqrt(norm)).clamp(0, 1)


def colour_map(generator: torch.Generator, values: Tensor, stops: int = 4) -> Tensor:
    """Values (H, W) in [0, 1] through a random palette of ``stops`` colours: (3, H, W)."""
    palette = torch.rand(stops, 3, generator=generator)
    grey = palette.mean(-1, keepdim=True)
    palette = grey + (palette - grey) * (0.4 + 0.8 * torch.rand((), generator=generator))
    position = values.clamp(0, 1) * (stops - 1)
    index = position.long().clamp(max=stops - 2)
    share = (position - index)[..., None]
    return ((1 - share) * palette[index] + share * palette[index + 1]).permute(2, 0, 1).clamp(0, 1)


def _plane(height: int, width: int) -> tuple[Tensor, Tensor]:
    return torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]


def noise_pattern(generator: torch.Generator, height: int, width: int) -> Tensor:
    """1/f noise through a random palette (3, H, W)."""
    base = 2 ** int(torch.randint(1, 5, (), generator=generator))
    noise = fractal_noise(
        generator, height, width, base, base, 5, 0.5 + 0.35 * float(torch.rand((), generator=generator))
    )
    return colour_map(generator, ((noise - 0.5) * 1.6 + 0.5).clamp(0, 1))


def dead_leaves(generator: torch.Generator, height: int, width: int, count: int = 60) -> Tensor:
    """Overlapping discs of random sizes and colours (3, H, W)."""
    y, x = _plane(height, width)
    image = torch.rand(3, 1, 1, generator=generator).expand(3, height, width).clone()
    centre, size, colour = (torch.rand(count, n, generator=generator) for n in (2, 2, 3))
    for i in range(count):
        radius = 0.03 + 0.22 * float(size[i, 0]) ** 3
        inside = (x - centre[i, 0]) ** 2 + ((y - centre[i, 1]) * (0.5 + size[i, 1])) ** 2 < radius**2
        image = torch.where(inside, colour[i, :, None, None], image)
    return image


def voronoi(generator: torch.Generator, height: int, width: int) -> Tensor:
    """Cells around random points, flat or shaded by distance (3, H, W)."""
    count = int(torch.randint(8, 60, (), generator=generator))
    points, colours = torch.rand(count, 2, generator=generator), torch.rand(count, 3, generator=generator)
    y, x = _plane(height, width)
    distance = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
    nearest, index = distance.min(-1)
    shade = 1 - float(torch.rand((), generator=generator)) * (nearest.sqrt() * math.sqrt(count)).clamp(0, 1)
    return (colours[index] * shade[..., None]).permute(2, 0, 1)


def stripes(generator: torch.Generator, height: int, width: int) -> Tensor:
    """Bent stripes or checks in two or three colours (3, H, W)."""
    y, x = _plane(height, width)
    angle, frequency, bend, check = torch.rand(4, generator=generator).tolist()
    warp = 0.25 * bend * fractal_noise(generator, height, width, 3, 3, 2)
    along = x * math.cos(angle * math.pi) + y * math.sin(angle * math.pi) + warp
    across = -x * math.sin(angle * math.pi) + y * math.cos(angle * math.pi) + warp
    rate = 2 * math.pi * (4 + 26 * frequency**2)
    wave = 0.5 + 0.5 * torch.sin(along * rate)
    if check < 0.4:
        wave = 0.5 * wave + 0.25 + 0.25 * torch.sin(across * rate)
    return colour_map(generator, ((wave - 0.5) * 3 + 0.5).clamp(0, 1), 3)


def strokes(generator: torch.Generator, height: int, width: int, count: int = 70) -> Tensor:
    """Elongated brush strokes along a smooth direction field (3, H, W)."""
    y, x = _plane(height, width)
    image = noise_pattern(generator, height, width)
    base, tilt = torch.rand(3, generator=generator), float(torch.rand((), generator=generator)) * math.pi
    spot, size, colour = (torch.rand(count, n, generator=generator) for n in (2, 3, 3))
    for i in range(count):
        angle = tilt + 1.2 * float(size[i, 2] - 0.5)
        dx, dy = x - spot[i, 0], y - spot[i, 1]
        along, across = (
            dx * math.cos(angle) + dy * math.sin(angle),
            dy * math.cos(angle) - dx * math.sin(angle),
        )
        reach = (along / (0.04 + 0.14 * size[i, 0])) ** 2 + (across / (0.008 + 0.02 * size[i, 1])) ** 2
        alpha = (1.5 * (1 - reach)).clamp(0, 0.9)
        image = image * (1 - alpha) + (0.5 * base + 0.5 * colour[i])[:, None, None] * alpha
    return image


def line_art(generator: torch.Generator, height: int, width: int) -> Tensor:
    """Contour lines and hatching of a smooth field on paper (3, H, W)."""
    field = fractal_noise(generator, height, width, 4, 4, 3)
    levels = 4 + 12 * float(torch.rand((), generator=generator))
    line = torch.exp(-((((field * levels) % 1.0 - 0.5) / 0.10) ** 2))
    y, x = _plane(height, width)
    hatch = (
        0.5 + 0.5 * torch.sin(2 * math.pi * (x + y) * (20 + 30 * float(torch.rand((), generator=generator))))
    ) * (field < 0.42)
    paper = 0.75 + 0.25 * torch.rand(3, 1, 1, generator=generator)
    ink = 0.35 * torch.rand(3, 1, 1, generator=generator)
    amount = (line + 0.5 * hatch).clamp(0, 1)
    return paper * (1 - amount) + ink * amount


PATTERNS = (noise_pattern, dead_leaves, voronoi, stripes, strokes, line_art)


def random_pattern(generator: torch.Generator, height: int, width: int) -> Tensor:
    """One of the patterns, drawn at most 160 pixels large and enlarged (3, H, W)."""
    kind = int(torch.randint(0, len(PATTERNS) + 2, (), generator=generator))  # 1/f noise three times as often
    small = (min(height, 160), min(width, 160))
    image = PATTERNS[kind if kind < len(PATTERNS) else 0](generator, *small)
    if small != (height, width):
        image = F.interpolate(image[None], (height, width), mode="bilinear", align_corners=False)[0]
    return image.clamp(0, 1)
