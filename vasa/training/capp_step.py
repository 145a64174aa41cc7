"""How CAPP learns, and what it is worth: pairs of sound and head pose as an estimator would measure it.

The loss is CLIP's (Radford et al. 2021, figure 3), as VASA-1 says. Where we differ, because a few synthetic
hours show fewer faults of themselves than the paper's 2000 hours of real data:

* Each sound must also prefer its own track to four made from it: two that are early or late (the nearer to be
  preferred to the farther), one whose motion is scaled, and another clip's head. Thus the score has the shape
  that VASA-1 shows for its own (sensitivity to shifts and to the scale of motion).
* Estimators take an opening mouth for a nod, and a video with good lips and a random head must not score well
  for it. So within a row all tracks carry the same mouth, and heads are told from the heads of other clips by
  tracks that carry the mouth of a stranger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.data.config import PoseClipsConfig
from vasa.data.pose_clips import pose_clips
from vasa.pretrained.capp import WINDOW, CappNet
from vasa.training.judge_config import JudgeConfig
from vasa.training.runtime import mix

NEAR_SHIFTS, FAR_SHIFTS = (1, 2, 3, 4), (4, 6, 8, 12)
"""Frames by which tracks are early or late; the far one is always at least twice as far."""
SCALES = (1.33, 5.5)
"""Factors by which the motion of a refused track is larger or smaller: log-uniform between these."""
FIRST_TEMPERATURE, LOWEST_TEMPERATURE = 0.07, 0.02
"""Of the contrastive softmax, learned from 0.07 on as CLIP's; theirs may fall to 0.01, with far larger
batches.
"""

# What judge_pose does to a true track, measured on ten rendered clips of 4 s (yaw, pitch, roll; degrees).
GAIN_LOW, GAIN_HIGH = (0.8, 0.5, 0.8), (1.2, 1.0, 1.2)
JAW_MEAN_DEG, JAW_STD_DEG = (0.2, 1.6, 0.3), (1.0, 1.0, 0.7)
WHITE_DEG, SLOW_DEG = 0.3, 0.55
SLOW_SIGMA = 1.5
"""Frames: width of the Gaussian that the slower part of the noise is smoothed with."""
PAPER = {
    "shift 0 frames": 0.608, "shift 1 frames": 0.462, "shift 2 frames": 0.206, "shift 3 frames": 0.069,
    "shift 4 frames": 0.082, "motion x0.2": 0.368, "motion x0.5": 0.584, "motion x1.0": 0.608,
    "motion x1.5": 0.587, "motion x3.0": 0.505,
}  # fmt: skip
"""VASA-1's own curve, on the VoxCeleb2 test set: shown beside ours."""


@dataclass(slots=True)
class CappClips:
    """N clips of T frames: heard (N, T, D) as CappNet.hear gives it (fp16), angles (N, T, 3), jaw (N, T)."""

    heard: Tensor
    angles: Tensor
    jaw: Tensor


@dataclass(slots=True)
class CappBatch:
    """heard (B, WINDOW, D); poses (B, 5, WINDOW, 3) as measured, all with the row's own mouth: the true
    track, one moved a little, one moved further, one scaled, and the head of the row before (of the last row,
    for the first).
    """

    heard: Tensor
    poses: Tensor


def gather(config: PoseClipsConfig, network: CappNet) -> CappClips:
    """Animates the clips and lets the network's front end hear them."""
    heard, angles, jaw = [], [], []
    for clip in pose_clips(config):
        heard.append(network.hear(clip.audio, len(clip.pose)).half())
        angles.append(clip.pose[:, :3])
        jaw.append(clip.jaw)
    return CappClips(torch.stack(heard), torch.stack(angles), torch.stack(jaw))


class CappStep:
    """Batches, loss and scores of CAPP. ``module``: the network and the temperature's logarithm."""

    def __init__(self, config: JudgeConfig, batch_size: int) -> None:
        self.config, self.batch_size = config, batch_size
        self.network = CappNet.fresh(config.capp)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(FIRST_TEMPERATURE)))
        self.module = nn.ModuleDict({"network": self.network})
        self.module.register_parameter("log_temperature", self.log_temperature)
        if batch_size > config.capp_clips.num_clips:
            raise ValueError(
                f"a CAPP batch of {batch_size} takes as many clips; capp_clips.num_clips is "
                f"{config.capp_clips.num_clips}, wanted at least as many."
            )

    @cached_property
    def clips(self) -> CappClips:
        """What is learned from, made when the first batch is: a finished run makes none."""
        return gather(self.config.capp_clips, self.network)

    @cached_property
    def held_out(self) -> CappClips:
        """What scores are measured on."""
        return gather(self.config.capp_validation, self.network)

    def batch_at(self, step: int) -> CappBatch:
        """A pure function of (seed, step)."""
        generator = torch.Generator().manual_seed(mix(self.config.seed, step, 1))
        clips, size, reach = self.clips, self.batch_size, max(FAR_SHIFTS)
        chosen = torch.randperm(len(clips.jaw), generator=generator)[:size]
        last = clips.jaw.shape[1] - WINDOW - reach
        start = torch.randint(reach, last + 1, (size,), generator=generator)
        near, far, factor = _faults(size, generator)
        true = _windows(clips.angles, chosen, start)
        moved = [_windows(clips.angles, chosen, start + shift) for shift in (near, far)]
        poses = torch.stack([true, *moved, scaled(true, factor[:, None, None]), true.roll(1, 0)], 1)
        measured = as_estimated(poses, _windows(clips.jaw, chosen, start), generator)
        return CappBatch(_windows(clips.heard, chosen, start).float(), measured)

    def loss(self, batch: CappBatch, step: int) -> dict[str, Tensor]:
        """Scalars by name: the contrastive loss over the batch, and over each sound's own tracks.

        In fp32: at these widths bf16 is slower on a CPU (0.7 against 0.4 s a step), and cosines need the
        digits.
        """
        with torch.autocast(batch.heard.device.type, enabled=False):
            sound = self.network.embed_sound(batch.heard)  # (B, E)
            tracks = self.network.embed_pose(batch.poses.flatten(0, 1)).unflatten(0, (-1, 5))  # (B, 5, E)
            inverse = (-self.log_temperature).exp().clamp(max=1 / LOWEST_TEMPERATURE)
            strangers = tracks[:, 4].roll(-1, 0)  # each row's head, with the mouth of the next row
            matches = inverse * sound @ strangers.T  # (B, B)
            own = inverse * torch.einsum("be,bve->bv", sound, tracks)  # (B, 5)
            row, first = (
                torch.arange(len(sound), device=sound.device),
                own.new_zeros(len(own), dtype=torch.long),
            )
            parts = {
                "clips": (F.cross_entropy(matches, row) + F.cross_entropy(matches.T, row)) / 2,
                "faults": F.cross_entropy(own, first),
                "distance": F.cross_entropy(own[:, 1:3], first),
            }
        return {"total": torch.stack(list(parts.values())).sum(), **parts}

    def scores(self, network: CappNet) -> dict[str, float]:
        """The network's scores on clips held out, and the paper's beside them."""
        found = capp_scores(network, self.held_out, self.config.seed)
        paper = {f"paper/{name}": value for name, value in PAPER.items()}
        return {**{f"held_out/{name}": value for name, value in found.items()}, **paper}


def _faults(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Shifts in frames, near and far, of random directions, and factors of the motion: (B,) each."""
    near = torch.tensor(NEAR_SHIFTS)[torch.randint(len(NEAR_SHIFTS), (size,), generator=generator)]
    far = torch.tensor(FAR_SHIFTS)[torch.randint(len(FAR_SHIFTS), (size,), generator=generator)]
    far = torch.maximum(far, 2 * near)
    sign = torch.randint(2, (3, size), generator=generator) * 2 - 1
    low, high = math.log(SCALES[0]), math.log(SCALES[1])
    factor = (sign[2] * (low + (high - low) * torch.rand(size, generator=generator))).exp()
    return near * sign[0], far * sign[1], factor


def _windows(values: Tensor, clips: Tensor, start: Tensor) -> Tensor:
    """WINDOW frames from start (B,) of clips (B,): values (N, T, ...) -> (B, WINDOW, ...)."""
    return values[clips[:, None], start[:, None] + torch.arange(WINDOW)]


def scaled(angles: Tensor, factor: Tensor | float) -> Tensor:
    """A track (B, T, 3) whose deviations from its own mean are ``factor`` times as large."""
    mean = angles.mean(1, keepdim=True)
    return mean + (angles - mean) * factor


def as_estimated(poses: Tensor, jaw: Tensor, generator: torch.Generator) -> Tensor:
    """True angles (B, V, T, 3), with mouths that open by jaw (B, T), as a pose estimator measures them.

    Each row is one face: its V tracks share gains and the mouth's pull, and have noise of their own.
    """
    batch, variants, frames, axes = poses.shape

    def uniform(low: tuple[float, ...], high: tuple[float, ...]) -> Tensor:
        bounds = torch.tensor(low), torch.tensor(high)
        return bounds[0] + (bounds[1] - bounds[0]) * torch.rand((batch, 1, 1, axes), generator=generator)

    pull = torch.randn((batch, 1, 1, axes), generator=generator) * torch.tensor(JAW_STD_DEG)
    pull = (pull + torch.tensor(JAW_MEAN_DEG)) * jaw[:, None, :, None]
    reach = math.ceil(3 * SLOW_SIGMA)
    kernel = (-0.5 * (torch.arange(-reach, reach + 1) / SLOW_SIGMA) ** 2).exp()
    slow = torch.randn((batch * variants * axes, 1, frames + 2 * reach), generator=generator)
    slow = F.conv1d(slow, (kernel / kernel.norm())[None, None]).view(batch, variants, axes, frames)
    white = torch.randn(tuple(poses.shape), generator=generator)
    level = (0.4 * torch.randn((batch, 1, 1, 1), generator=generator)).exp()
    noise = level * (WHITE_DEG * white + SLOW_DEG * slow.transpose(2, 3))
    return uniform(GAIN_LOW, GAIN_HIGH) * poses + torch.deg2rad(pull + noise)


@torch.no_grad()
def capp_scores(network: CappNet, clips: CappClips, seed: int) -> dict[str, float]:
    """Mean cosines over clips (one window of each): against shifts of the sound, against scales of the motion
    (as measured: the noise is not scaled), with another clip's head, and with that head over this clip's
    mouth; and the share of pairs that score above the same sound with another head.
    """
    device = next(network.parameters()).device
    count, reach = len(clips.jaw), 8
    generator = torch.Generator().manual_seed(mix(seed, 2))
    every = torch.arange(count)
    start = torch.randint(reach, clips.jaw.shape[1] - WINDOW - reach + 1, (count,), generator=generator)
    true, jaw = _windows(clips.angles, every, start), _windows(clips.jaw, every, start)

    def sound(shift: int) -> Tensor:
        return network.embed_sound(_windows(clips.heard, every, start + shift).float().to(device))

    def pose(angles: Tensor) -> Tensor:
        return network.embed_pose(as_estimated(angles[:, None], jaw, generator)[:, 0].to(device))

    heard, moved = sound(0), pose(true)
    own, another = (heard * moved).sum(-1), (heard * moved.roll(1, 0)).sum(-1)
    found = {"shift 0 frames": own.mean()}
    for shift in (1, 2, 3, 4, 8):
        found[f"shift {shift} frames"] = ((sound(-shift) + sound(shift)) / 2 * moved).sum(-1).mean()
    for factor in (0.2, 0.5, 1.5, 3.0):
        found[f"motion x{factor}"] = (heard * pose(scaled(true, factor))).sum(-1).mean()
    found["motion x1.0"] = own.mean()
    found["another clip's head"] = another.mean()
    found["another clip's head, this mouth"] = (heard * pose(true.roll(1, 0))).sum(-1).mean()
    found["share above another head"] = (own > another).float().mean()
    return {name: float(value) for name, value in found.items()}
