"""Contact sheets: many frames on one picture, to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vasa.checkpoint import atomic_path


def spread(num_frames: int, count: int) -> list[int]:
    """``count`` (or all) frame numbers spread evenly over 0 .. num_frames - 1, first and last included."""
    return sorted({round(i) for i in np.linspace(0, num_frames - 1, min(count, num_frames))})


def write_contact_sheet(
    path: str | Path, images: Sequence[np.ndarray], columns: int = 6, cell_px: int = 256
) -> None:
    """Writes images (H, W, 3) uint8, row by row, each fitted into a square cell, as one PNG."""
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * (cell_px + 4) + 4, rows * (cell_px + 4) + 4), (32, 32, 32))
    for place, array in enumerate(images):
        image = Image.fromarray(array)
        scale = cell_px / max(image.size)
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)
        row, column = divmod(place, columns)
        sheet.paste(image, (4 + column * (cell_px + 4), 4 + row * (cell_px + 4)))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
