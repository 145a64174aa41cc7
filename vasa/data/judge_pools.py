"""Labelled single frames of procedural people, rendered once into memory-mapped files: what judges learn
from.

A pool is a pure function of its config. It is rendered in shards, each written whole, so rendering carries
on where it stopped. Frames are RGB and the mask of Truth in one uint8 array; labels are those of the
animation.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vasa.checkpoint import atomic_path
from vasa.data.config import PoolConfig
from vasa.data.synthetic.animation import random_animation
from vasa.data.synthetic.clips import talking_clip
from vasa.data.synthetic.heads import make_identities
from vasa.data.synthetic.renderer import render
from vasa.records import EMOTIONS, Animation

_log = logging.getLogger(__name__)

SHARD_FRAMES = 256
FRAMES_PER_CLIP = 8
"""Neighbouring frames of a pool, of which the talking ones come from one clip."""
LABELS = ("pose", "controls", "landmarks", "emotion", "person", "has_emotion")


@dataclass(slots=True)
class LabelledFrames:
    """B frames. frames: uint8 (B, 4, S, S), RGB and mask (255 head, 128 torso, 0 background). pose (B, 6),
    controls (B, 11), landmarks (B, 68, 2), emotion (B, 8) where has_emotion (B,) is 1, person (B,) counted
    from 0 over all pools.
    """

    frames: Tensor
    pose: Tensor
    controls: Tensor
    landmarks: Tensor
    emotion: Tensor
    has_emotion: Tensor
    person: Tensor

    @property
    def images(self) -> Tensor:
        """(B, 3, S, S) in [-1, 1]."""
        return self.frames[:, :3].float() / 127.5 - 1

    @property
    def alpha(self) -> Tensor:
        """1 where the person is, 0 in the background: (B, 1, S, S)."""
        return (self.frames[:, 3:].float() / 128).clamp(max=1)


class Pool:
    """A rendered pool on disk; `pool[indices]` reads frames. Renders what is missing when it is opened."""

    def __init__(self, config: PoolConfig, folder: str | Path) -> None:
        self.config = config
        self.folder = Path(folder)
        claim(self.folder, asdict(config))
        missing = [shard for shard in range(self._num_shards) if not self._path(shard).is_file()]
        begun = time.monotonic()
        for done, shard in enumerate(missing, 1):
            _render_shard(config, shard, self._path(shard))
            left = (time.monotonic() - begun) / done * (len(missing) - done)
            _log.info("%s: %d of %d shards rendered, %.0f s left", self.folder, done, len(missing), left)
        self._frames = [np.load(self._path(s), mmap_mode="r") for s in range(self._num_shards)]
        labels = [np.load(self._path(s).with_suffix(".npz")) for s in range(self._num_shards)]
        self.labels = {n: torch.from_numpy(np.concatenate([part[n] for part in labels])) for n in LABELS}

    def __len__(self) -> int:
        return self.config.num_identities * self.config.frames_each

    def __getitem__(self, indices: Sequence[int]) -> LabelledFrames:
        frames = np.stack([self._frames[i // SHARD_FRAMES][i % SHARD_FRAMES] for i in indices])
        rows = torch.as_tensor(indices)
        return LabelledFrames(torch.from_numpy(frames), **{name: self.labels[name][rows] for name in LABELS})

    @property
    def _num_shards(self) -> int:
        return -(-len(self) // SHARD_FRAMES)

    def _path(self, shard: int) -> Path:
        return self.folder / f"frames_{shard:05d}.npy"


def claim(folder: Path, wanted: dict[str, Any]) -> None:
    """A pool's folder belongs to one config. Raises: ValueError when it was begun with another."""
    note = folder / "pool.json"
    if note.is_file():
        found = json.loads(note.read_text())
        if found != wanted:
            changed = {k: (found.get(k), v) for k, v in wanted.items() if found.get(k) != v}
            raise ValueError(
                f"{folder} was rendered with another config {changed}; remove it or name another."
            )
        return
    with atomic_path(note) as temporary:
        temporary.write_text(json.dumps(wanted, indent=1))


def _render_shard(config: PoolConfig, shard: int, path: Path) -> None:
    first = shard * SHARD_FRAMES
    last = min(first + SHARD_FRAMES, config.num_identities * config.frames_each)
    frames, labels = [], []
    for start in range(first, last, 8):
        part, label = render_labelled(config, range(start, min(start + 8, last)))
        frames.append(part)
        labels.append(label)
    arrays: dict[str, Any] = {name: np.concatenate([part[name] for part in labels]) for name in LABELS}
    with atomic_path(path.with_suffix(".npz")) as temporary:
        np.savez(temporary, **arrays)
    with atomic_path(path) as temporary:  # last: its presence says that the shard is whole
        np.save(temporary, np.concatenate(frames))


@torch.inference_mode()
def render_labelled(config: PoolConfig, indices: range) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Frames `indices` of a pool: uint8 (N, 4, S, S) and their labels."""
    person = [index // config.frames_each for index in indices]
    everybody = sorted(set(person))
    rows = torch.tensor([everybody.index(p) for p in person])
    identities = make_identities([config.first_seed + p for p in everybody], config.mode)[rows]
    animation, emotion, has_emotion = draw_animation(config, indices)
    out = render(identities, animation, config.size, config.quality)
    rgb = (out.image.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    frames = torch.cat([rgb, out.mask[:, None]], 1)
    labels = {
        "pose": animation.pose,
        "controls": animation.controls,
        "landmarks": out.landmarks,
        "emotion": emotion,
        "has_emotion": has_emotion,
        "person": torch.tensor(person),
    }
    return frames.numpy(), {name: value.numpy() for name, value in labels.items()}


def draw_animation(config: PoolConfig, indices: range) -> tuple[Animation, Tensor, Tensor]:
    """Poses and expressions of frames `indices`, emotion weights (N, 8), and whether they have any (N,)."""
    animation = random_animation([config.first_seed * 31 + index for index in indices])
    emotion, has_emotion = torch.zeros(len(indices), len(EMOTIONS)), torch.zeros(len(indices))
    for row, index in enumerate(indices):
        generator = torch.Generator().manual_seed(config.first_seed * 31 + index)
        share, when = torch.rand(2, generator=generator).tolist()
        if share < config.talking_share:
            clip = talking_clip("train", config.first_seed, index // FRAMES_PER_CLIP)
            assert clip.truth.animation is not None and clip.emotion is not None
            frame = int(when * clip.num_frames)
            animation.pose[row] = clip.truth.animation.pose[frame]
            animation.controls[row] = clip.truth.animation.controls[frame]
            emotion[row], has_emotion[row] = clip.emotion, 1
    emotion[:, 0] = 1 - emotion[:, 1:].sum(-1)
    return animation, emotion, has_emotion


class FrameSampler:
    """Batches over several pools as a pure function of (seed, step):

    Every frame once in each pass, in a fresh order.
    """

    def __init__(self, pools: Sequence[Pool], batch_size: int, seed: int) -> None:
        self.pools, self.batch_size, self.seed = pools, batch_size, seed
        self._starts = np.cumsum([0, *(len(pool) for pool in pools)])
        self._people = np.cumsum([0, *(pool.config.num_identities for pool in pools)])
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def num_people(self) -> int:
        return int(self._people[-1])

    def batch(self, step: int) -> LabelledFrames:
        return self.frames([self._index(step * self.batch_size + k) for k in range(self.batch_size)])

    def frames(self, indices: Sequence[int]) -> LabelledFrames:
        """Frames by their index over all pools, in that order."""
        order = np.argsort(indices, kind="stable")
        found = np.searchsorted(self._starts, np.asarray(indices)[order], side="right") - 1
        parts = []
        for number, pool in enumerate(self.pools):
            mine = np.asarray(indices)[order][found == number] - self._starts[number]
            if len(mine):
                part = pool[mine.tolist()]
                part.person = part.person + int(self._people[number])
                parts.append(part)
        back = torch.from_numpy(np.argsort(order, kind="stable"))
        names = ("frames", *LABELS)
        return LabelledFrames(**{n: torch.cat([getattr(part, n) for part in parts])[back] for n in names})

    def _index(self, position: int) -> int:
        epoch, place = divmod(position, len(self))
        if self._order[0] != epoch:
            generator = np.random.Generator(np.random.PCG64([self.seed, epoch]))
            self._order = (epoch, generator.permutation(len(self)))
        return int(self._order[1][place])
