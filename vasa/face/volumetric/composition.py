"""Frames out of carried pixels and what the decoder says of them (face.source_pixels)."""

from __future__ import annotations

import torch
from torch import Tensor

from vasa.face.volumetric.appearance import Appearance, Rendering
from vasa.face.volumetric.decoder import Decoded
from vasa.face.volumetric.mouth import face_colour, paint_finer, paint_mouth
from vasa.face.volumetric.pixels import MAP_NAMES, Base
from vasa.geometry import pixel_grid
from vasa.nn.warp import enlarge, sample_image, upsample_flow

PHOTO_RESIDUAL, PHOTO_SYNTHESIS, PHOTO_PAINT = 0.45, 0.22, 0.6
"""Shares, on portraits that a detector found, of the residual flow, of what is synthesised on the front of
the face outside the mouth (lids, eyes, lips), and of the painted mouth interior that is left as it is.

What was learned was learned on procedural heads. Chosen on eight real clips (PSNR and sharpness in the face
box): a third of the synthesis gains 0.02 dB over a fifth and costs 2 % of the sharpness; leaving more of the
paint costs 0.01 dB and looks better.
"""
HELD_BAND = 0.35
"""Of half a picture: how far from its edges motion is whole again where they are held. A head that moves by a
third of that still does not fold."""
FULL_CORRECTION = 0.3
"""Correction (of a range of 2) from which on the fine detail of the pixels under it is given up."""


def composed(appearance: Appearance, base: Base, decoded: Decoded, redrawn: Tensor | None) -> Rendering:
    """Carried pixels plus corrections where the mask allows, and what was redrawn (B, 3, S, S).

    Frames are finer than the network: there the corrections are enlarged, and the detail that only the
    carried pixels have stays as far as they are hardly corrected.
    """
    assert decoded.flow is not None and decoded.mask_logit is not None
    photograph = appearance.photograph[:, None, None, None]
    flow = base.flow + decoded.flow * (1 - (1 - PHOTO_RESIDUAL) * photograph)
    if appearance.held:
        flow = _held(flow)
    warped = sample_image(appearance.small.float(), flow)
    alpha = base.synthesis[:, None] * torch.sigmoid(decoded.mask_logit)
    if appearance.held:
        alpha = alpha * freedom(alpha)
        redrawn = None if redrawn is None else redrawn * freedom(alpha)
    maps = dict(zip(MAP_NAMES, base.maps.split(1, 1), strict=True))
    share = PHOTO_SYNTHESIS + (1 - PHOTO_PAINT - PHOTO_SYNTHESIS) * maps["mouth_inside"]
    alpha = alpha * (1 - (1 - share) * photograph * maps["front"])  # as it is where photograph is 0
    correction = alpha * decoded.colour
    if redrawn is not None:
        correction = correction + redrawn
    painted = paint_mouth(warped, base)
    if appearance.side == appearance.small.shape[-1]:
        image = painted + correction
    else:
        strength = (correction.abs().amax(1, keepdim=True) / FULL_CORRECTION).clamp(0, 1)
        given = torch.cat([painted * strength + correction, strength], 1)
        image = _finer(appearance.pixels, base, flow, given, face_colour(warped, base), appearance.side)
    return Rendering(image.clamp_(-1, 1), warped, alpha, flow, base)


def _finer(pixels: Tensor, base: Base, flow: Tensor, given: Tensor, face: Tensor, side: int) -> Tensor:
    """Frames (B, 3, side, side) of finer pixels (B, 3, h, h). given (B, 4, S, S): what is added to them, and
    how much of them it covers. face (B, 3, 1, 1): the face's colour.

    On a CPU one by one: a frame fits into its caches, a batch does not.
    """
    if len(flow) > 1 and flow.device.type == "cpu":
        single = (
            (pixels[i, None], base.at(i), flow[i, None], given[i, None], face[i, None])
            for i in range(len(flow))
        )
        return torch.cat([_finer(*parts, side) for parts in single])
    fine = paint_finer(_carried(pixels, flow, side), base, face)
    given = enlarge(given, *fine.shape[-2:])
    return torch.addcmul(given[:, :3], 1 - given[:, 3:], fine)


def carried_alone(appearance: Appearance, base: Base) -> Rendering:
    """The geometric warp with a painted mouth: nothing learned."""
    flow = _held(base.flow) if appearance.held else base.flow
    pixels = appearance.small if appearance.side == appearance.small.shape[-1] else appearance.pixels
    warped = _carried(pixels, flow, appearance.side)
    return Rendering(paint_mouth(warped, base).clamp(-1, 1), warped, None, flow, base)


def freedom(like: Tensor) -> Tensor:
    """(S, S), of a map (..., S, S): 0 at the edges, smoothly up to 1 at HELD_BAND from them."""
    grid = pixel_grid(like.shape[-2], like.shape[-1], like.device)
    depth = ((1 - grid.abs().amax(-1)) / HELD_BAND).clamp(0, 1)
    return depth * depth * (3 - 2 * depth)


def _held(flow: Tensor) -> Tensor:
    """A flow (B, S, S, 2) that is none at the edges."""
    grid = pixel_grid(flow.shape[1], flow.shape[2], flow.device)
    return grid + freedom(flow[..., 0])[..., None] * (flow - grid)


def _carried(pixels: Tensor, flow: Tensor, side: int) -> Tensor:
    """Pixels (B, 3, h, h) carried by a flow of network size: (B, 3, side, side)."""
    if side == flow.shape[1]:
        return sample_image(pixels.float(), flow)
    return sample_image(pixels.float(), upsample_flow(flow, side, side), mode="bicubic")
