"""A mouth interior for the untrained warp: dark, with upper teeth, coloured by the face around it.
Learned decoders replace it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.face.volumetric.pixels import MAP_NAMES, Base

INSIDE_SHARE = (0.22, 0.10, 0.11)  # of the face's mean colour, R G B
TEETH_HEIGHT = 0.075  # head units below the upper lip


def paint_mouth(image: Tensor, base: Base) -> Tensor:
    """image (B, 3, H, H) in [-1, 1] with a painted interior where base.maps says the source shows none."""
    side = image.shape[-1]
    maps = F.interpolate(base.maps, (side, side), mode="bilinear", align_corners=False)
    channel = {name: maps[:, index] for index, name in enumerate(MAP_NAMES)}
    inside = channel["mouth_new"].clamp(0, 1)[:, None]
    weight = channel["front"].clamp(0, 1)[:, None] * (1 - channel["eye_open"].clamp(0, 1)[:, None])
    face = ((image + 1) / 2 * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(
        min=1
    )
    dark = face * face.new_tensor(INSIDE_SHARE).view(1, 3, 1, 1)
    # depth below the upper lip's edge, read off the face plane inside the opening
    top = torch.where(inside[:, 0] > 0.3, channel["face_y"], torch.full_like(channel["face_y"], -9.0)).amax(
        1, keepdim=True
    )
    depth = (top - channel["face_y"]) / TEETH_HEIGHT
    teeth = torch.sigmoid((1.0 - depth) * 6)[:, None] * 0.8
    ivory = face.amax(1, keepdim=True) * face.new_tensor([1.0, 0.97, 0.90]).view(1, 3, 1, 1)
    colour = dark + (ivory - dark).clamp(min=0) * teeth
    return torch.lerp(image, colour * 2 - 1, inside)
