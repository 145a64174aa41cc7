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
        fine = paint_finer(_carried(appearance, flow), base, face_colour(warped, base))
        strength = (correction.abs().amax(1, keepdim=True) / FULL_CORRECTION).clamp(0, 1)
        given = torch.cat([painted * strength + correction, strength], 1)
        given = enlarge(given, *fine.shape[-2:])
        image = torch.addcmul(given[:, :3], 1 - given[:, 3:], fine)
    return Rendering(image.clamp_(-1, 1), warped, alpha, flow, base)


def carried_alone(appearance: Appearance, base: Base) -> Rendering:
    """The geometric warp with a painted mouth: nothing learned."""
    flow = _held(base.flow) if appearance.held else base.flow
    warped = _carried(appearance, flow)
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


def _carried(appearance: Appearance, flow: Tensor) -> Tensor:
    """The portrait's pixels (B, 3, H, H) carried by a flow of network size."""
    if appearance.side == appearance.small.shape[-1]:
        return sample_image(appearance.small.float(), flow)
    flow = upsample_flow(flow, appearance.side, appearance.side)
    return sample_image(appearance.pixels.float(), flow, mode="bicubic")
