"""A triangle rasteriser in plain tensor operations: exact, batched, the same on CPU and GPU, without a loop
over triangles.

Triangles are sorted by the size of their bounding box; all pixels of all boxes of one size class are tested
at once, and the nearest hit of each pixel is found by a minimum over packed (depth, hit) integers, which is
exact and independent of order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BOX_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048)
_MAX_CANDIDATES = 8_000_000
_FAR = torch.iinfo(torch.int64).max


@dataclass(slots=True)
class Hits:
    """Nearest hits of one layer, N pixels: flat pixel index over (B, S, S), face, perspective-correct weights
    (N, 3), 1 / depth."""

    pixel: Tensor
    face: Tensor
    weights: Tensor
    inverse_depth: Tensor

    def frame(self, size: int) -> Tensor:
        return torch.div(self.pixel, size * size, rounding_mode="floor")

    def select(self, keep: Tensor) -> Hits:
        """The hits where ``keep`` (N,) is true."""
        return Hits(self.pixel[keep], self.face[keep], self.weights[keep], self.inverse_depth[keep])


def _visible_triangles(
    x: Tensor, y: Tensor, faces: Tensor, two_sided: Tensor, size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Indices (M,) of triangles that may cover a pixel centre, with corner positions (M, 3), area and pixel
    box."""
    cx = [x[:, faces[:, k]] for k in range(3)]  # (B, T) each
    cy = [y[:, faces[:, k]] for k in range(3)]
    area = (cx[1] - cx[0]) * (cy[2] - cy[0]) - (cx[2] - cx[0]) * (cy[1] - cy[0])
    keep = (area < -1e-9) | (two_sided & (area > 1e-9))
    index = torch.nonzero(keep.flatten())[:, 0]
    px = torch.stack([c.flatten()[index] for c in cx], -1)
    py = torch.stack([c.flatten()[index] for c in cy], -1)
    x0 = (px.amin(-1) - 0.5).ceil().clamp(min=0)
    x1 = (px.amax(-1) - 0.5).floor().clamp(max=size - 1)
    y0 = (py.amin(-1) - 0.5).ceil().clamp(min=0)
    y1 = (py.amax(-1) - 0.5).floor().clamp(max=size - 1)
    some = torch.nonzero((x1 >= x0) & (y1 >= y0))[:, 0]
    box = torch.stack([x0, y0, x1, y1], -1)[some]
    return index[some], px[some], py[some], area.flatten()[index[some]], box


def rasterise(
    x: Tensor, y: Tensor, depth: Tensor, faces: Tensor, two_sided: Tensor, soft: Tensor, size: int
) -> tuple[Hits, Hits, Hits]:
    """Nearest hits of three layers (solid; soft seen from inside; soft seen from outside) for vertices at
    pixel coordinates x, y (B, V) with ``depth`` > 0 (B, V) and faces (T, 3).

    two_sided (T,): also seen from behind. soft (T,): drawn with partial coverage. Pixel centres are at half
    integers.
    """
    batch, num_faces = x.shape[0], faces.shape[0]
    triangle, cx, cy, area, box = _visible_triangles(x, y, faces, two_sided, size)
    face = triangle % num_faces
    frame = torch.div(triangle, num_faces, rounding_mode="floor")
    inverse = 1 / depth.clamp(min=0.05)
    corner = faces[face]  # (M, 3)
    corner_inverse = inverse.flatten()[corner + (frame * x.shape[1])[:, None]]
    extent = torch.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]) + 1
    pixels, owners, weights = [], [], []
    lower = 0
    for box_size in BOX_SIZES:
        chosen = torch.nonzero((extent > lower) & (extent <= box_size))[:, 0]
        lower = box_size
        for part in chosen.split(max(1, _MAX_CANDIDATES // box_size**2)):
            if len(part):
                hit = _test_boxes(part, cx, cy, area, box, box_size)
                pixels.append((frame[hit[0]] * size + hit[2]) * size + hit[1])
                owners.append(hit[0])
                weights.append(hit[3])
        if lower >= size:
            break
    if not pixels:
        empty = torch.zeros(0, dtype=torch.long, device=x.device)
        return (Hits(empty, empty, x.new_zeros(0, 3), x.new_zeros(0)),) * 3
    layer = torch.where(soft[face], torch.where(area > 0, 1, 2), 0)
    return _nearest(
        torch.cat(pixels),
        torch.cat(owners),
        torch.cat(weights),
        corner_inverse,
        face,
        layer,
        batch * size * size,
    )


def _test_boxes(
    part: Tensor, cx: Tensor, cy: Tensor, area: Tensor, box: Tensor, box_size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tests every pixel of the boxes of triangles ``part``: owner, column, row and screen weights (H, 3) of
    the hits."""
    offset = torch.arange(box_size * box_size, device=cx.device)
    ox, oy = offset % box_size, torch.div(offset, box_size, rounding_mode="floor")
    column, row = box[part, 0:1] + ox, box[part, 1:2] + oy  # (M, K)
    px, py = column + 0.5, row + 0.5
    ax, ay = cx[part], cy[part]
    inverse_area = 1 / area[part, None]
    w0 = ((ax[:, 1:2] - px) * (ay[:, 2:3] - py) - (ax[:, 2:3] - px) * (ay[:, 1:2] - py)) * inverse_area
    w1 = ((ax[:, 2:3] - px) * (ay[:, 0:1] - py) - (ax[:, 0:1] - px) * (ay[:, 2:3] - py)) * inverse_area
    w2 = 1 - w0 - w1
    inside = (
        (torch.minimum(torch.minimum(w0, w1), w2) >= -1e-4)
        & (column <= box[part, 2:3])
        & (row <= box[part, 3:4])
    )
    which = torch.nonzero(inside.flatten())[:, 0]
    owner = part[torch.div(which, box_size * box_size, rounding_mode="floor")]
    values = torch.stack([w.flatten()[which] for w in (w0, w1, w2)], -1)
    return owner, column.flatten()[which].long(), row.flatten()[which].long(), values


def _nearest(
    pixel: Tensor,
    owner: Tensor,
    weights: Tensor,
    corner_inverse: Tensor,
    face: Tensor,
    layer: Tensor,
    num_pixels: int,
) -> tuple[Hits, Hits, Hits]:
    """Keeps the nearest hit of each pixel and layer."""
    share = weights * corner_inverse[owner]
    inverse = share.sum(-1).clamp(min=1e-6)
    bits = inverse.contiguous().view(torch.int32).long()
    key = ((2**31 - 1 - bits) << 32) | torch.arange(len(pixel), device=pixel.device)
    buffer = torch.full((3 * num_pixels,), _FAR, device=pixel.device)
    buffer.scatter_reduce_(0, layer[owner] * num_pixels + pixel, key, "amin")
    hits = []
    for nearest in buffer.split(num_pixels):
        covered = torch.nonzero(nearest != _FAR)[:, 0]
        winner = nearest[covered] & 0xFFFFFFFF
        hits.append(
            Hits(covered, face[owner[winner]], share[winner] / inverse[winner, None], inverse[winner])
        )
    return hits[0], hits[1], hits[2]
