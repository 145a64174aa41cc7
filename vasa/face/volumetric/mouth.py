"""A mouth interior that nobody learned: dark, with upper teeth that stay with the skull, lit as the face is.

It is painted wherever a mouth opens that the portrait shows closed. What is learned starts from it: a decoder
that must find teeth by itself, in an opening a few pixels high, paints the mean of lip, tooth and dark, and a
mouth that opens a little looks closed. On photographs it also keeps teeth white, which learned colours of
procedural heads do not.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.face.volumetric.pixels import MAP_NAMES, Base
from vasa.geometry import pixel_grid
from vasa.nn.warp import sample_image

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
SEEN_INSIDE = 0.4  # of mouth_inside, from which on a pixel counts for how far lips are apart
LEAST_NEW = 1e-3  # of mouth_new, under which nothing is seen of the paint
MARGIN = 4  # pixels of base's size around the mouth that enlarging and the mean of an opening reach


def paint_mouth(image: Tensor, base: Base) -> Tensor:
    """image (B, 3, H, H) in [-1, 1] with a painted interior where base.maps says the source shows none."""
    side = base.maps.shape[-1]
    if image.shape[-1] == side:
        return _painted(image, base.maps.float(), base.mouth, face_colour(image, base))
    small = F.interpolate(image.float(), (side, side), mode="area")
    return paint_finer(image.clone(), base, face_colour(small, base))


def paint_finer(image: Tensor, base: Base, face: Tensor) -> Tensor:
    """The same, given the face's colour (B, 3, 1, 1). Changes the image. On a CPU only the mouth's rectangle
    is gone through.
    """
    height = image.shape[-1]
    rows = columns = slice(0, height)
    if image.device.type == "cpu":
        found = _rectangle(base, height)
        if found is None:
            return image
        rows, columns = found
    grid = pixel_grid(height, height, image.device)[rows, columns]
    maps = sample_image(base.maps.float(), grid.expand(len(image), -1, -1, -1))
    part = image[..., rows, columns]
    if torch.is_grad_enabled():
        part = part.clone()  # gradients want it as it was
    image[..., rows, columns] = _painted(part, maps, base.mouth, face)
    return image


def face_colour(image: Tensor, base: Base) -> Tensor:
    """The mean colour (B, 3, 1, 1) in [0, 1] of the face's front in an image (B, 3, S, S) of base's size."""
    maps = base.maps.float()
    front, eyes = (maps[:, MAP_NAMES.index(name), None].clamp(0, 1) for name in ("front", "eye_open"))
    skin = front * (1 - eyes)
    lit = (image.float().detach() + 1) / 2
    return (lit * skin).sum((2, 3), keepdim=True) / skin.sum((2, 3), keepdim=True).clamp(min=1)


def _rectangle(base: Base, height: int) -> tuple[slice, slice] | None:
    """Rows and columns, of pictures of ``height``, beyond which no frame of a batch is painted; None: no
    mouth is open. Numbers are read from the device.
    """
    maps = base.maps.float()
    inside = (maps[:, MAP_NAMES.index("mouth_inside")] > SEEN_INSIDE).any(0)
    new = (maps[:, MAP_NAMES.index("mouth_new")] > LEAST_NEW).any(0) & inside.any(0)
    spans = [torch.nonzero(line)[:, 0] for line in (new.any(1), inside.any(0))]
    if min(map(len, spans)) == 0:
        return None
    scale, side = height / maps.shape[-1], maps.shape[-1]
    ends = [(max(int(s[0]) - MARGIN, 0), min(int(s[-1]) + 1 + MARGIN, side)) for s in spans]
    rows, columns = (slice(math.floor(a * scale), math.ceil(b * scale)) for a, b in ends)
    return rows, columns


def _painted(image: Tensor, maps: Tensor, mouth: Tensor, face: Tensor) -> Tensor:
    """image (B, 3, h, w), maps (B, 12, h, w) of the same pixels, whole columns of the mouth among them."""
    channel = {name: maps[:, index] for index, name in enumerate(MAP_NAMES)}
    depth, opening = _opening(channel["face_y"], channel["mouth_inside"] > SEEN_INSIDE)
    new = (channel["mouth_new"].clamp(0, 1) * (opening / SLIT).clamp(0, 1))[:, None]
    dark = face * _constant(INSIDE_SHARE, face)
    brightest = face.amax(1, keepdim=True)
    light = TEETH_LIGHT[0] + TEETH_LIGHT[1] * brightest
    hue = torch.lerp(_constant(IVORY, face).expand_as(face), face / brightest.clamp(min=0.05), TEETH_TINT)
    shade = 1 - SHADED * torch.exp(-(depth.clamp(min=0) / SHADE_DEPTH).clamp(max=30))[:, None]
    teeth = _teeth(channel["face_x"], channel["face_y"], mouth)[:, None]
    colour = torch.lerp(dark, torch.maximum(light * hue * shade, dark), teeth)
    return torch.lerp(image.float(), colour * 2 - 1, new)


def _constant(values: tuple[float, float, float], like: Tensor) -> Tensor:
    """(1, 3, 1, 1), without a copy from the host."""
    return torch.cat([like.new_full((1, 1, 1, 1), value) for value in values], 1)


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
