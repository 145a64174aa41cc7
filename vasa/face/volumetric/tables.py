"""What the geometric warp needs of one portrait, read from tables of the face plane.

Heights and displacements of the skin depend on the portrait's shape, and what a frame asks for is linear
in six amounts (expression.AMOUNTS). So the fields are worked out once, on a grid, and a frame looks them up:
some forty operations in place of a thousand. Between grid points the fields are bilinear; at the corners of
lips, where they are steepest, that costs a few thousandths of a head unit.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vasa.face.volumetric.expression import AMOUNTS, Mode, displacement, lip_line, modes
from vasa.face.volumetric.pixels import surface_height
from vasa.face.volumetric.shape import FaceShape
from vasa.records import CONTROL_INDEX

SIDE = 192
"""Points of a table along each axis."""
CENTRE, HALF = (0.0, -0.03), (1.2, 1.42)
"""The rectangle of the face plane that they cover; beyond it nothing of the skin is seen."""
LAYERS = (False, True)
"""Above the lip line, and below."""
LID_CONTROLS = [
    [CONTROL_INDEX[blink], CONTROL_INDEX["gaze_pitch"]] for blink in ("blink_left", "blink_right")
]


def on_plane(points: Tensor) -> Tensor:
    """Table coordinates (B, 2, H, W), as tables are sampled at -> face plane."""
    return points * points.new_tensor(HALF).view(1, 2, 1, 1) + points.new_tensor(CENTRE).view(1, 2, 1, 1)


@dataclass(slots=True)
class FaceTables:
    """Of one portrait. numbers: of its FaceShape, plain ones, and left and right where there are two. height
    (1, 1, G, G): of the face over its ellipsoid. ways (2, 6, 2 G G): of the layers' skin per amount, in table
    coordinates. own (2, 4, G, G): how the portrait's expression displaces the layers, then the lip line from
    above and from below; head units. controls (1, 11): its expression.
    """

    numbers: dict[str, float | tuple[float, float]]
    height: Tensor
    ways: Tensor
    own: Tensor
    controls: Tensor

    @classmethod
    def of(cls, shape: FaceShape, controls: Tensor) -> FaceTables:
        """shape: of one face. controls (1, 11): the portrait's expression. Copies numbers from the device."""
        axis = torch.linspace(-1, 1, SIDE, device=controls.device)
        axis = axis * (SIDE - 1) / SIDE  # centres of the table's cells, as align_corners=False reads it
        v, u = torch.meshgrid(axis, axis, indexing="ij")
        points = on_plane(torch.stack([u, v])[None]).flatten(2).transpose(1, 2)  # (1, G G, 2)
        height = surface_height(points[..., 0], points[..., 1], shape).view(1, 1, SIDE, SIDE)
        ways = torch.stack([_ways(modes(points, shape, lower), points) for lower in LAYERS])
        at_line = torch.stack([points[..., 0], lip_line(points[..., 0], shape)], -1)
        line = [displacement(at_line, controls, shape, lower)[..., 1:] for lower in LAYERS]
        own = [torch.cat([displacement(points, controls, shape, lower), *line], -1) for lower in LAYERS]
        return cls(
            {f.name: _number(getattr(shape, f.name)) for f in fields(shape) if f.name != "relief"},
            height,
            ways,
            torch.cat(own).transpose(1, 2).reshape(2, 4, SIDE, SIDE).contiguous(),
            controls,
        )


def _number(value: Tensor) -> float | tuple[float, float]:
    listed = value[0].tolist()
    return listed if isinstance(listed, float) else (listed[0], listed[1])


def _ways(found: dict[str, Mode], points: Tensor) -> Tensor:
    """Modes at points (1, G G, 2) -> (6, 2 G G) in table coordinates."""
    still = torch.zeros_like(points[0, :, 0])
    rows = []
    for name in AMOUNTS:
        mode = found.get(name, (None, None))
        rows.append(
            torch.cat([still if way is None else way[0] / half for way, half in zip(mode, HALF, strict=True)])
        )
    return torch.stack(rows)
