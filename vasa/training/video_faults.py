"""What is wrong with bad videos, in doses: blur, noise, jitter, flicker, drift, and frames out of order.

A dose of 0 changes nothing, 1 is gross. Temporal faults choose which frames are shown, the others change
pixels. Every draw comes from the generator that is passed in. Nothing here knows of networks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.data.synthetic.degradation import blurred

FAULTS = ("blur", "noise", "jitter", "frozen", "shuffled", "skipping", "flicker", "drift")
BLUR_SIGMA = 3.0
"""px at 128 px, at dose 1."""
JITTER_PX, NOISE, FLICKER = 3.0, 0.1, 0.3
"""Standard deviations at dose 1: of a frame's place (px at 128 px), of its pixels in [0, 1], of the logarithm
of its brightness.
"""
DRIFT = 0.8
"""Share of another person in the last frame, at dose 1."""


def shown(doses: dict[str, float], num: int, spare: int, generator: torch.Generator) -> Tensor:
    """Which of num + spare frames are shown, (num,): in order but for the temporal faults.

    skipping: the share of the spare frames that are jumped over. frozen: the chance that a frame repeats the
    one before. shuffled: the share of frames that change places with each other.
    """
    jumps = round(doses.get("skipping", 0.0) * spare)
    start = int(torch.randint(spare - jumps + 1, (), generator=generator))
    places = torch.randint(1, num, (jumps,), generator=generator)
    order = start + torch.arange(num) + torch.bincount(places, minlength=num).cumsum(0)
    repeats = torch.rand(num, generator=generator) < doses.get("frozen", 0.0)
    held = (
        torch.where(repeats, 0, torch.arange(num)).cummax(0).values
    )  # the newest frame that is not a repeat
    order = order[held]
    moved = torch.randperm(num, generator=generator)[: round(doses.get("shuffled", 0.0) * num)]
    order[moved.sort().values] = order[moved]
    return order


def spoil(frames: Tensor, doses: dict[str, float], other: Tensor, generator: torch.Generator) -> Tensor:
    """frames (T, 3, S, S) in [0, 1] with the faults of pixels. other: frames of somebody else, for drift."""
    size = frames.shape[-1]
    if dose := doses.get("drift", 0.0):
        weight = DRIFT * dose * torch.linspace(0, 1, len(frames)).view(-1, 1, 1, 1)
        frames = torch.lerp(frames, other, weight)
    if dose := doses.get("blur", 0.0):
        frames = blurred(frames, BLUR_SIGMA * dose * size / 128)
    if dose := doses.get("jitter", 0.0):
        shifts = torch.randn(len(frames), 2, generator=generator) * JITTER_PX * dose / 128
        frames = moved(frames, shifts * 2)
    if dose := doses.get("flicker", 0.0):
        gain = (torch.randn(len(frames), 1, 1, 1, generator=generator) * FLICKER * dose).exp()
        frames = frames * gain
    if dose := doses.get("noise", 0.0):
        frames = frames + torch.randn(frames.shape, generator=generator) * NOISE * dose
    return frames.clamp(0, 1)


def moved(frames: Tensor, shifts: Tensor) -> Tensor:
    """Every frame of (T, 3, H, W) moved by shifts (T, 2) in image coordinates; edges are repeated."""
    theta = torch.eye(2, 3).repeat(len(frames), 1, 1)
    theta[:, :, 2] = -shifts
    grid = F.affine_grid(theta, list(frames.shape), align_corners=False)
    return F.grid_sample(frames, grid, padding_mode="border", align_corners=False)
