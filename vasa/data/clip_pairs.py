"""Pairs of frames of real clips for stage 1, drawn as a pure function of (seed, sample position).

Reads the folder that scripts/preprocess.py wrote: its manifest and, of its shards, the frames that are drawn.
There is no truth beside the frames themselves. Who is foreground, where the clips have masks, and where
landmarks are was measured.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vasa.data.clip_store import ClipStore
from vasa.data.config import ClipPairsConfig
from vasa.data.frame_pairs import FacePairs
from vasa.data.manifest import MANIFEST
from vasa.records import VIDEO_FPS, mirrored_points

_log = logging.getLogger(__name__)
NEAR_FRAMES = VIDEO_FPS // 2
"""Within half a second the head hardly turns, while lips and lids move."""


class ClipPairs:
    """Batches of two frames of one clip, and a frame of another speaker."""

    def __init__(self, config: ClipPairsConfig) -> None:
        self.config = config
        self._store: ClipStore | None = None
        self._chosen = np.empty(0, np.int64)
        self._has_masks = False

    def prepare(self) -> None:
        """Reads the manifest.

        Raises: FileNotFoundError; ValueError where the split has not two speakers, frames are too small, or
        some clips have masks and others none.
        """
        config, path = self.config, self.config.root / MANIFEST
        store = ClipStore(config.root, config.split)
        masked = store.has("mask")
        if masked.any() and not masked.all():
            raise ValueError(
                f"{path}: {masked.sum()} of {len(store)} clips have masks; wanted all or none, as one run of "
                "scripts/preprocess.py makes them."
            )
        usable = store.num_frames > 1
        fine = usable & ~(store.side_px < config.min_side_px)
        chosen = np.flatnonzero(fine)
        enlarged = int((store.side_px < store.size)[chosen].sum())
        _log.info(
            "%s, %s: %d clips, %d of them enlarged from fewer pixels; %d below min_side_px=%d left out.",
            path, config.split, len(chosen), enlarged, (usable & ~fine).sum(), config.min_side_px,
        )  # fmt: skip
        num_speakers = len(np.unique(store.speaker[chosen]))
        if num_speakers < 2:
            raise ValueError(
                f"{path} has {num_speakers} speakers in the {config.split} split; wanted at least 2: "
                "preprocess more videos, or with another validation_share, or lower min_side_px."
            )
        if config.landmarks and "landmarks" not in store.signals(int(chosen[0])):
            raise ValueError(
                f"{path}: clip {store.clip_id(chosen[0])} has no landmarks; set clips.landmarks=false, and a "
                "mean face's are taken."
            )
        small = chosen[store.size[chosen] < config.size]
        if len(small):
            raise ValueError(
                f"size is {config.size}, but clip {store.clip_id(small[0])} has frames of "
                f"{store.size[small[0]]} px; preprocess with size={config.size} or more, into another folder."
            )
        self._store, self._chosen, self._has_masks = store, chosen, bool(masked.any())

    def __len__(self) -> int:
        """Clips of the split, once prepared."""
        return len(self._chosen)

    def sample(self, position: int) -> dict[str, Any]:
        """One sample, a function of (seed, position): the fields of FacePairs without B."""
        config, store = self.config, self._store
        assert store is not None, "prepared first"
        rng = np.random.default_rng((config.seed, position, 31))
        clip = stranger = self._draw(rng)
        while store.speaker[stranger] == store.speaker[clip]:
            stranger = self._draw(rng)
        near = rng.random() < config.near_share
        first, second = _pair(int(store.num_frames[clip]), near, rng)
        source, target = self._resized(store.frames(clip, (first, second)))
        pictures = {"source": source, "target": target}
        third = int(rng.integers(store.num_frames[stranger]))
        (other,) = self._resized(store.frames(stranger, [third]))
        if self._has_masks:
            pictures["mask"] = self._resized(store.masks(clip, [second])[..., None])[0, ..., 0]
        jitter = rng.normal(0, config.colour_jitter, (2, 7)).astype(np.float32)
        warp = rng.standard_normal((2, 7, 7, 2), np.float32)
        nudge = rng.standard_normal((2, 6), np.float32)
        is_mirrored, is_other_mirrored = (rng.random(2) < 0.5) & config.flip
        if is_mirrored:
            pictures = {name: _mirrored(picture) for name, picture in pictures.items()}
        if config.landmarks:
            points = np.stack([*store.landmarks(clip, (first, second)), *store.landmarks(stranger, [third])])
            for index, flipped in enumerate((is_mirrored, is_mirrored, is_other_mirrored)):
                points[index] = mirrored_points(points[index]) if flipped else points[index]
            pictures["measured_points"] = torch.from_numpy(points)
        return {
            **pictures,
            "driver": pictures["target"],
            "other": _mirrored(other) if is_other_mirrored else other,
            "is_cross": torch.tensor(False),
            "jitter": torch.from_numpy(jitter),
            "warp": torch.from_numpy(warp),
            "nudge": torch.from_numpy(nudge),
            "ids": f"{store.clip_id(clip)}:{first}->{second}",
        }

    def _draw(self, rng: np.random.Generator) -> int:
        return int(self._chosen[rng.integers(len(self))])

    def batch_at(self, step: int, batch_size: int, rows: slice = slice(None)) -> FacePairs:
        """The global batch of a step, or some rows of it: positions step * batch_size onwards."""
        if not len(self):
            self.prepare()
        samples = [self.sample(step * batch_size + n) for n in range(batch_size)[rows]]
        columns = {key: [sample[key] for sample in samples] for key in samples[0]}
        ids = columns.pop("ids")
        return FacePairs(ids=ids, **{key: torch.stack(values) for key, values in columns.items()})

    def _resized(self, images: np.ndarray) -> Tensor:
        """(N, S, S, C) uint8 -> (N, size, size, C), averaged over what a pixel covers."""
        size, found = self.config.size, torch.from_numpy(images)
        if found.shape[1] == size:
            return found
        smaller = interpolate(found.permute(0, 3, 1, 2), (size, size), mode="bilinear", antialias=True)
        return smaller.permute(0, 2, 3, 1).contiguous()


def _mirrored(picture: Tensor) -> Tensor:
    """(S, S, ...) with left and right changed."""
    return picture.flip(1)


def _pair(num_frames: int, near: bool, rng: np.random.Generator) -> tuple[int, int]:
    """Source and target, two frames of a clip; if near, at most NEAR_FRAMES apart."""
    target = int(rng.integers(num_frames))
    low, high = (max(target - NEAR_FRAMES, 0), target + NEAR_FRAMES + 1) if near else (0, num_frames)
    source = int(rng.integers(low, min(high, num_frames) - 1))
    return source + (source >= target), target
