"""Rendered talking clips of procedural people with their animation, in memory-mapped files.

The small video network learns from them. A pool is a pure function of its config, rendered in shards of eight
clips, each written whole, so that rendering carries on where it stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vasa.checkpoint import atomic_path
from vasa.data.config import ClipsConfig, SpokenConfig, VideoPoolConfig
from vasa.data.judge_pools import claim
from vasa.data.synthetic.clips import SyntheticClips
from vasa.data.synthetic.heads import make_identities
from vasa.data.synthetic.renderer import render
from vasa.records import Animation

_log = logging.getLogger(__name__)

SHARD_CLIPS = 8
SECONDS = 4.0
"""Of the speech that each clip is a part of."""
AT_ONCE = 11
"""Frames rendered together."""


class VideoPool:
    """A rendered pool on disk. Renders what is missing when it is opened.

    pose (N, T, 6) and controls (N, T, 11) of its N clips, person (N,) counted from 0.
    """

    def __init__(self, config: VideoPoolConfig, folder: str | Path) -> None:
        self.config, self.folder = config, Path(folder)
        claim(self.folder, asdict(config))
        shards = range(-(-len(self) // SHARD_CLIPS))
        missing = [shard for shard in shards if not self._path(shard).is_file()]
        begun = time.monotonic()
        for done, shard in enumerate(missing, 1):
            self._render(shard)
            left = (time.monotonic() - begun) / done * (len(missing) - done)
            _log.info("%s: %d of %d shards rendered, %.0f s left", self.folder, done, len(missing), left)
        self._frames = [np.load(self._path(shard), mmap_mode="r") for shard in shards]
        animations = [animation_of(config, clip) for clip in range(len(self))]
        self.pose = torch.stack([a.pose for a in animations])
        self.controls = torch.stack([a.controls for a in animations])
        self.person = torch.arange(len(self)) // config.clips_each

    def __len__(self) -> int:
        return self.config.num_people * self.config.clips_each

    def frames(self, clip: int, chosen: Sequence[int] | Tensor) -> Tensor:
        """Chosen frames of a clip: uint8 (len(chosen), 3, S, S)."""
        shard = self._frames[clip // SHARD_CLIPS]
        return torch.from_numpy(shard[clip % SHARD_CLIPS][np.asarray(chosen)])

    def _path(self, shard: int) -> Path:
        return self.folder / f"clips_{shard:05d}.npy"

    def _render(self, shard: int) -> None:
        first = shard * SHARD_CLIPS
        clips = [render_clip(self.config, c) for c in range(first, min(first + SHARD_CLIPS, len(self)))]
        with atomic_path(self._path(shard)) as temporary:
            np.save(temporary, np.stack(clips))


def animation_of(config: VideoPoolConfig, clip: int) -> Animation:
    """The animation (T frames) of a clip: a part of somebody's speech, 15 ms."""
    spoken = SpokenConfig(espeak_share=0.0)
    speech = ClipsConfig(num_clips=clip + 1, seed=config.first_seed, seconds=SECONDS, spoken=spoken)
    animation = SyntheticClips("train", speech).animation_only(clip).truth.animation
    assert animation is not None
    generator = torch.Generator().manual_seed(config.first_seed * 31 + clip)
    start = int(torch.randint(max(len(animation) - config.frames, 0) + 1, (), generator=generator))
    return animation[start : start + config.frames]


@torch.inference_mode()
def render_clip(config: VideoPoolConfig, clip: int) -> np.ndarray:
    """The frames of a clip: uint8 (T, 3, S, S)."""
    person = clip // config.clips_each
    randomised = person < config.randomised_share * config.num_people
    mode = "randomised" if randomised else "portrait"
    identity = make_identities([config.first_seed + person], mode)
    animation, parts = animation_of(config, clip), []
    for start in range(0, config.frames, AT_ONCE):
        part = animation[start : start + AT_ONCE]
        image = render(identity[[0] * len(part)], part, config.size, config.quality).image
        parts.append((image.clamp(0, 1) * 255 + 0.5).to(torch.uint8))
    return torch.cat(parts).numpy()
