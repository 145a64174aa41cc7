"""A mouth interior that nobody learned: dark, with upper teeth that stay with the skull, lit as the face is.

It is painted wherever a mouth opens that the portrait shows closed. What is learned starts from it: a decoder
that must find teeth by itself, in an opening a few pixels high, paints the mean of lip, tooth and dark, and a
mouth that opens a little looks closed. On photographs it also keeps teeth white, which learned colours of
procedural heads do not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.face.volumetric.pixels import MAP_NAMES, Base

INSIDE_SHARE = (0.22, 0.08, 0.08)  # of the face's mean colour, R G B
TEETH_BELOW = (
    0.07  # how far the upper teeth reach below the closed lip line, in units of eye line to lip line
)
TEETH_WIDTH = 0.9  # half width of the row that is lit, in half widths of the mouth
TEETH_LIGHT = (0.62, 0.36)  # their brightness: a constant plus a share of the face's brightest mean channel
TEETH_TINT = 0.15  # how far they take the face's hue: a painting's are not white
IVORY = (1.0, 0.97, 0.91)
SHADED = 0.15  # of their light is lost under the lip
SHADE_DEPTH = 0.02  # head units
SLIT = 0.012  # head units of opening under which lips count as closed, gradually
EDGE = 0.006  # head units over which teeth end


def paint_mouth(image: Tensor, base: Base) -> Tensor:
    """image (B, 3, H, H) in [-1, 1] with a painted interior where base.maps says the source shows none."""
    side = image.shape[-1]
    maps = base.maps.float()
    if maps.shape[-1] != side:
        maps = F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)
    channel = {name: maps[:, index] for index, name in enumerate(MAP_NAMES)}
    depth, opening = _opening(channel["face_y"], channel["mouth_inside"] > 0.4)
    new = (channel["mouth_new"].clamp(0, 1) * (opening / SLIT).clamp(0, 1))[:, None]
    skin = channel["front"].clamp(0, 1)[:, None] * (1 - channel["eye_open"].clamp(0, 1)[:, None])
    lit = (image.float().detach() + 1) / 2
    face = (lit * skin).sum((2, 3), keepdim=True) / skin.sum((2, 3), keepdim=True).clamp(min=1)
    dark = face * face.new_tensor(INSIDE_SHARE).view(1, 3, 1, 1)
    brightest = face.amax(1, keepdim=True)
    light = TEETH_LIGHT[0] + TEETH_LIGHT[1] * brightest
    hue = torch.lerp(face.new_tensor(IVORY).view(1, 3, 1, 1), face / brightest.clamp(min=0.05), TEETH_TINT)
    shade = 1 - SHADED * torch.exp(-(depth.clamp(min=0) / SHADE_DEPTH))[:, None]
    teeth = _teeth(channel["face_x"], channel["face_y"], base.mouth)[:, None]
    colour = torch.lerp(dark, torch.maximum(light * hue * shade, dark), teeth)
    return torch.lerp(image.float(), colour * 2 - 1, new)


def _opening(height: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Of pixels at a height on the face plane, inside the mouth or not, both (B, H, W): depth below the upper
    lip in their column (B, H, W) and how far the lips are apart there (B, 1, W), head units.
    """
    far = torch.full_like(height, 9.0)
    top = torch.where(inside, height, -far).amax(1, keepdim=True)
    bottom = torch.where(inside, height, far).amin(1, keepdim=True)
    return top - height, F.avg_pool1d((top - bottom).clamp(min=0), 5, 1, 2)


def _teeth(x: Tensor, y: Tensor, mouth: Tensor) -> Tensor:
    """How much a pixel at (x, y) of the face plane shows upper teeth (B, H, W); the row recedes into the dark
    at its sides.
    """
    centre_x, line_y, half_width, unit = (value.view(-1, 1, 1) for value in mouth.unbind(1))
    across = ((x - centre_x) / (TEETH_WIDTH * half_width)) ** 2
    edge = line_y - TEETH_BELOW * unit
    return torch.sigmoid((y - edge) / EDGE) * (1 - across).clamp(0, 1).sqrt()
