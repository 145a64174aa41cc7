"""The 68 iBUG landmarks as vertices of the mesh: they move with the skin, in every identity and
expression."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from vasa.data.synthetic import mesh

JAW_KNOTS = (6.3, 7.0, 7.7, 8.35, 9.0, 9.55, 10.0, 10.35, 10.55)
JAW_DEGREES = (86.0, 85.0, 82.0, 77.0, 68.0, 54.0, 38.0, 19.0, 0.0)
"""The jaw line from the viewer's left ear to the chin: ring and angle around the head's axis."""


@lru_cache(maxsize=4)
def landmark_index(device: str = "cpu") -> Tensor:
    """Vertex indices (68,): jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, lips 48-67; the viewer's left
    first."""
    t = mesh.template("cpu")
    middle, columns = len(t.theta) // 2, len(t.theta)
    points: list[int] = []
    jaw = []
    for knot, degrees in zip(JAW_KNOTS, JAW_DEGREES, strict=True):
        row = int((t.s - knot).abs().argmin())
        column = int((t.theta - torch.deg2rad(torch.tensor(degrees))).abs().argmin())
        jaw.append((row, column - middle))
    points += [r * columns + middle - c for r, c in jaw] + [
        r * columns + middle + c for r, c in reversed(jaw[:-1])
    ]
    brow = [(0.47, 0.185), (0.39, 0.215), (0.30, 0.222), (0.20, 0.213), (0.11, 0.192)]
    points += [t.skin_index(t.row_at(y), -x) for x, y in brow] + [
        t.skin_index(t.row_at(y), x) for x, y in reversed(brow)
    ]
    points += [t.skin_index(t.row_at(y), 0.0) for y in (0.03, -0.10, -0.22, -0.335)]
    points += [t.skin_index(t.row_at(-0.425), x) for x in (-0.10, -0.05, 0.0, 0.05, 0.10)]
    upper, lower = t.lid, t.lid + 2 * mesh.LID_INNER_ROWS + 1
    near, far, half = (
        mesh.EYE_X - mesh.EYE_HALF_WIDTH,
        mesh.EYE_X + mesh.EYE_HALF_WIDTH,
        mesh.EYE_HALF_WIDTH / 3,
    )
    left = [
        (upper, far),
        (upper, mesh.EYE_X + half),
        (upper, mesh.EYE_X - half),
        (upper, near),
        (lower, mesh.EYE_X - half),
        (lower, mesh.EYE_X + half),
    ]
    points += [t.skin_index(r, -x) for r, x in left]
    right = [left[3], left[2], left[1], left[0], left[5], left[4]]
    points += [t.skin_index(r, x) for r, x in right]
    points += _lips(t)
    return torch.tensor(points, device=device)


def _lips(t: mesh.Template) -> list[int]:
    """Outer lips 48-59, inner lips 60-67."""
    up, low = t.lip, t.lip + 2 * mesh.LIP_INNER_ROWS + 1
    w, y = mesh.MOUTH_HALF_WIDTH, mesh.MOUTH_Y

    def outer(x: float, above: bool) -> int:
        window = (1 - (x / w) ** 2) ** 0.5
        edge = y + mesh.LIP_UPPER * window**1.6 if above else y - mesh.LIP_LOWER * window**1.5
        return t.skin_index(t.row_at(edge), x)

    top = [outer(x, True) for x in (-0.15, -0.06, 0.0, 0.06, 0.15)]
    bottom = [outer(x, False) for x in (0.15, 0.07, 0.0, -0.07, -0.15)]
    inner = [t.skin_index(up, -w + 0.03)] + [t.skin_index(up, x) for x in (-0.10, 0.0, 0.10)]
    inner += [t.skin_index(up, w - 0.03)] + [t.skin_index(low, x) for x in (0.10, 0.0, -0.10)]
    return [t.skin_index(up, -w), *top, t.skin_index(up, w), *bottom, *inner]


def landmarks_3d(points: Tensor) -> Tensor:
    """Landmarks (B, 68, 3) of all vertices (B, V, 3) in any frame."""
    return points[:, landmark_index(str(points.device))]


def boxes(landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Eye boxes (B, 2, 4), left then right, and mouth box (B, 4) as (u0, v0, u1, v1) around image landmarks
    (B, 68, 2).

    Eye boxes are as high as half their width at least, so that a closed eye keeps a box; a margin of 15 % is
    added.
    """

    def box(points: Tensor, height_share: float) -> Tensor:
        low, high = points.amin(-2), points.amax(-2)
        centre, half = (low + high) / 2, (high - low) / 2 * 1.15
        half = torch.maximum(half, torch.stack([half[..., 0] * 0, half[..., 0] * height_share], -1))
        return torch.cat([centre - half, centre + half], -1)

    eyes = torch.stack([box(landmarks[..., 36:42, :], 0.55), box(landmarks[..., 42:48, :], 0.55)], -2)
    return eyes, box(landmarks[..., 48:68, :], 0.35)
