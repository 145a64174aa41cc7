"""A mouth interior that nobody learned: dark, with upper teeth behind the lip, coloured by the face around.

The untrained warp shows it wherever a mouth opens, photographs a share of it (autoencoder.py): what was
learned on procedural heads makes a photograph's mouth grey.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.face.volumetric.pixels import MAP_NAMES, Base

INSIDE_SHARE = (0.26, 0.10, 0.10)  # of the face's mean colour, R G B
TEETH_HEIGHT = 0.055  # head units that show below the upper lip, at most
TEETH_SHARE = 0.5  # of the opening's height, at most
TEETH_OPENING = 0.035  # head units of opening under which hardly any teeth show
TEETH_BRIGHTNESS = 0.85  # of the face's brightest mean channel
TEETH_TINT = 0.35  # how far the teeth take the face's hue: a painting's are not white
SLIT = 0.02  # head units of opening under which lips count as closed, gradually
EDGE = 0.008  # head units over which teeth end


def paint_mouth(image: Tensor, base: Base) -> Tensor:
    """image (B, 3, H, H) in [-1, 1] with a painted interior where base.maps says the source shows none."""
    side = image.shape[-1]
    maps = F.interpolate(base.maps, (side, side), mode="bilinear", align_corners=False)
    channel = {name: maps[:, index] for index, name in enumerate(MAP_NAMES)}
    depth, opening = _opening(channel["face_y"], channel["mouth_inside"] > 0.4)
    new = (channel["mouth_new"].clamp(0, 1) * (opening / SLIT).clamp(0, 1))[:, None]
    skin = channel["front"].clamp(0, 1)[:, None] * (1 - channel["eye_open"].clamp(0, 1)[:, None])
    face = ((image + 1) / 2 * skin).sum((2, 3), keepdim=True) / skin.sum((2, 3), keepdim=True).clamp(min=1)
    dark = face * face.new_tensor(INSIDE_SHARE).view(1, 3, 1, 1)
    brightest = face.amax(1, keepdim=True)
    ivory = torch.lerp(brightest * face.new_tensor([1.0, 0.96, 0.88]).view(1, 3, 1, 1), face, TEETH_TINT)
    teeth = _teeth(depth, opening)[:, None]
    colour = torch.lerp(dark, torch.maximum(ivory * TEETH_BRIGHTNESS, dark), teeth)
    return torch.lerp(image, colour * 2 - 1, new)


def _opening(height: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Of pixels at a height on the face plane, inside the mouth or not, both (B, H, W): depth below the upper
    lip in their column (B, H, W) and how far the lips are apart there (B, 1, W), head units.
    """
    far = torch.full_like(height, 9.0)
    top = torch.where(inside, height, -far).amax(1, keepdim=True)
    bottom = torch.where(inside, height, far).amin(1, keepdim=True)
    return top - height, F.avg_pool1d((top - bottom).clamp(min=0), 5, 1, 2)


def _teeth(depth: Tensor, opening: Tensor) -> Tensor:
    """How much a pixel shows teeth (B, H, W): a strip below the upper lip, shaded by it."""
    strip = (TEETH_SHARE * opening).clamp(max=TEETH_HEIGHT)
    parted = torch.sigmoid((opening - TEETH_OPENING) / (0.25 * TEETH_OPENING))
    return torch.sigmoid((strip - depth) / EDGE) * parted * (0.65 + 0.35 * (depth / TEETH_HEIGHT).clamp(0, 1))
