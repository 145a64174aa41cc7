"""How the sync judge learns, and what it is worth.

Where we differ from the published training: that one draws pairs, true or shifted, and pulls or pushes each
by itself to a margin (Chung and Zisserman 2016, eq. 1). Here each of a clip's neighbouring windows of lips
must choose its own sound among all of them, and every sound its lips (CLIP's loss with the negative distance
in place of the scaled cosine), which asks of few clips what pairs ask of many. Other clips' windows are left
out: with a few hundred people a network tells those apart by knowing who has which voice, and learns nothing
of lips. The zero embeddings that pad the sound of the published score are refused too, so that the ends of a
short clip do not attract the offset. Distances are what the score compares, so there is no temperature.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.metrics.syncnet import sync_scores
from vasa.pretrained.crops import similarity, warp_crop
from vasa.pretrained.syncnet import WINDOW_FRAMES, SyncNet, sound_windows
from vasa.training.judge_augment import recolour
from vasa.training.judge_config import JudgeConfig
from vasa.training.runtime import mix
from vasa.training.sync_clips import SyncClips, sync_clips

SCALE, SHIFT, ROLL = 1.2, 0.05, 0.1
"""How far the view strays: its side by a factor, its middle in sides either way, radians. Boxes of different
detectors differ by as much.
"""
SOFT_SHARE, NOISE = 0.3, 20.0
"""Share of clips that lose detail, largest standard deviation of noise in grey levels."""
SCORED_FRAMES, LARGEST_OFFSET, MAX_SHIFT = 75, 10, 15
"""Of the held-out test: clips of 3 s, offsets asked for, shifts looked at."""
NOISE_LEVELS = (16, 32, 64)
"""Grey levels: doses of noise on the mouth."""
SETTLING_BATCHES = 20


@dataclass(slots=True)
class SyncBatch:
    """frames (B, 3, W + 4, S, S): BGR, 0 to 255. sound (B, W, 1, 13, 20): the windows that belong to them."""

    frames: Tensor
    sound: Tensor


class SyncStep:
    """Batches, loss and scores of the sync judge. ``module`` holds the network."""

    def __init__(self, config: JudgeConfig, batch_size: int) -> None:
        self.config, self.batch_size = config, batch_size
        self.network = SyncNet(config.syncnet)
        self.module = nn.ModuleDict({"network": self.network})
        self.clips = sync_clips(config.sync_clips, config.syncnet)
        self.heard = heard(self.clips.sound)
        count, frames = self.clips.frames.shape[:2]
        if batch_size > count or config.sync_windows + WINDOW_FRAMES > frames:
            raise ValueError(
                f"a batch of {batch_size} clips x {config.sync_windows} windows needs as many clips of at "
                f"least {config.sync_windows + WINDOW_FRAMES} frames; sync_clips has {count} of {frames}."
            )

    def batch_at(self, step: int) -> SyncBatch:
        """A pure function of (seed, step)."""
        generator = torch.Generator().manual_seed(mix(self.config.seed, step, 1))
        (count, frames), size, windows = (
            self.clips.frames.shape[:2],
            self.batch_size,
            self.config.sync_windows,
        )
        chosen = torch.randperm(count, generator=generator)[:size, None]
        start = torch.randint(frames - WINDOW_FRAMES - windows + 1, (size, 1), generator=generator)
        recording = torch.randint(self.heard.shape[1], (size, 1), generator=generator)
        seen = self.clips.frames[chosen, start + torch.arange(windows + WINDOW_FRAMES - 1)]
        sound = self.heard[chosen, recording, start + torch.arange(windows)]
        pixels = filmed(seen, self.config.syncnet.image_size, 1 / self.config.sync_clips.room, generator)
        return SyncBatch(pixels, sound)

    def loss(self, batch: SyncBatch, step: int) -> dict[str, Tensor]:
        """Scalars by name: the two choices and their mean; ``nearest``: share of lips that chose well."""
        sound = self.network.sound(batch.sound.flatten(0, 1)).unflatten(0, batch.sound.shape[:2])
        return contrast(self.network.lip(batch.frames), sound)

    def scores(self, network: SyncNet) -> dict[str, float]:
        """The network's scores on clips held out, by name, after its normalisation has settled."""
        self.settle(network)
        clips = sync_clips(self.config.sync_validation, network.config)
        found = sync_judge_scores(network, clips, self.config.seed)
        return {f"held_out/{name}": value for name, value in found.items()}

    @torch.no_grad()
    def settle(self, network: SyncNet) -> None:
        """Gathers the statistics of normalisation anew, under the network's own weights.

        Averaged weights come with the statistics of the last step's weights, which are others (Izmailov et
        al. 2018, "Averaging weights leads to wider optima", section 3.2).
        """
        norms = [
            m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
        ]
        momentum = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean
        network.train()
        device = next(network.parameters()).device
        for step in range(SETTLING_BATCHES):
            batch = self.batch_at(step)
            network.lip(batch.frames.to(device))
            network.sound(batch.sound.flatten(0, 1).to(device))
        network.eval()
        for norm, value in zip(norms, momentum, strict=True):
            norm.momentum = value


def heard(sound: Tensor) -> Tensor:
    """MFCC windows (N, R, T - 5, 1, 13, 20) of sound (N, R, T * 640) int16."""
    rows = torch.stack([sound_windows(wave.numpy()) for wave in sound.flatten(0, 1)])
    return rows.unflatten(0, sound.shape[:2])


def filmed(seen: Tensor, size: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Frames (B, T, 3, P, P) uint8 through other crops, cameras and lights, each constant over a clip: (B, 3,
    T, S, S) float, 0 to 255. ratio: the view's side in sides of the stored square.
    """
    batch, length = seen.shape[:2]

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=generator) - 1

    scale = ratio * SCALE ** uniform(batch)
    matrix = similarity(2 * SHIFT * ratio * uniform(batch, 2), scale, ROLL * uniform(batch))
    pixels = seen.flatten(0, 1).float() / 127.5 - 1
    pixels = warp_crop(pixels, matrix.repeat_interleave(length, 0), size)
    soft = F.interpolate(F.avg_pool2d(pixels, 2), size=(size, size), mode="bilinear", align_corners=False)
    lost = (torch.rand(batch, generator=generator) < SOFT_SHARE).repeat_interleave(length).view(-1, 1, 1, 1)
    pixels = torch.where(lost, soft, pixels)
    tall = pixels.unflatten(0, (batch, length)).transpose(1, 2).reshape(batch, 3, length * size, size)
    tall = recolour(tall, 1.0, generator)
    amount = NOISE / 127.5 * torch.rand((batch, 1, 1, 1), generator=generator) ** 2
    tall = tall + amount * torch.randn(tuple(tall.shape), generator=generator)
    return ((tall.clamp(-1, 1) + 1) * 127.5).view(batch, 3, length, size, size)


def contrast(lips: Tensor, sound: Tensor) -> dict[str, Tensor]:
    """Scalars of embeddings (B, W, E) and (B, W, E) of windows that belong together one by one."""
    with torch.autocast(lips.device.type, enabled=False):
        lips, sound = lips.float(), sound.float()
        near = -torch.cdist(lips, sound)  # (B, W, W)
        silence = -lips.norm(dim=2, keepdim=True)
        own = torch.arange(lips.shape[1], device=lips.device).repeat(len(lips))
        to_sound = F.cross_entropy(torch.cat([near, silence], 2).flatten(0, 1), own)
        to_lips = F.cross_entropy(near.transpose(1, 2).flatten(0, 1), own)
    nearest = (near.detach().argmax(2).flatten() == own).float().mean()
    return {
        "total": (to_sound + to_lips) / 2,
        "lips_to_sound": to_sound,
        "sound_to_lips": to_lips,
        "nearest": nearest,
    }


@torch.no_grad()
def sync_judge_scores(network: SyncNet, clips: SyncClips, seed: int) -> dict[str, float]:
    """On 3 s of each clip: share of offsets of 1 to 10 frames either way that are found exactly, and to a
    frame; mean S_D and S_C, as they are, with another clip's sound, and with noise on the mouth.

    The offsets are real: the video stays where it is and the sound is another part of the same longer clip.
    """
    first, count = LARGEST_OFFSET, SCORED_FRAMES - WINDOW_FRAMES
    wanted = SCORED_FRAMES + 2 * LARGEST_OFFSET
    if clips.frames.shape[1] < wanted:
        raise ValueError(f"sync_validation.frames is {clips.frames.shape[1]}; wanted at least {wanted}.")
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(mix(seed, 2))
    sound = [network.sound(windows.to(device)).cpu() for windows in heard(clips.sound[:, :1])[:, 0]]

    def lips(index: int, level: float) -> Tensor:
        seen = clips.frames[index, first : first + SCORED_FRAMES - 1].float()
        noise = level * torch.randn(tuple(seen.shape), generator=generator) if level else 0.0
        frames = (seen + noise).clamp(0, 255).transpose(0, 1)[None]
        return network.lip(frames.to(device))[0].cpu()

    own, swapped, errors = [], [], []
    asked = [k for k in range(-LARGEST_OFFSET, LARGEST_OFFSET + 1) if k]
    for index in range(len(sound)):
        mouth = lips(index, 0)
        own.append(sync_scores(mouth, sound[index][first : first + count], MAX_SHIFT))
        swapped.append(sync_scores(mouth, sound[index - 1][first : first + count], MAX_SHIFT).s_c)
        for k in asked:
            early = sound[index][first + k : first + k + count]
            errors.append(abs(sync_scores(mouth, early, MAX_SHIFT).offset - k))
    found = {
        "offsets found exactly": _share(errors, 0),
        "offsets found to a frame": _share(errors, 1),
        "S_D": sum(s.s_d for s in own) / len(own),
        "S_C": sum(s.s_c for s in own) / len(own),
        "S_C with another clip's sound": sum(swapped) / len(swapped),
    }
    for level in NOISE_LEVELS:
        noised = [
            sync_scores(lips(index, level), heard_of[first : first + count], MAX_SHIFT).s_c
            for index, heard_of in enumerate(sound)
        ]
        found[f"S_C with noise of {level} levels"] = sum(noised) / len(noised)
    return found


def _share(errors: list[int], most: int) -> float:
    return sum(error <= most for error in errors) / len(errors)
