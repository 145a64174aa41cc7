"""Pairs of frames of real clips for stage 1, drawn as a pure function of (seed, sample position).

Reads what scripts/preprocess.py wrote, or any folder in that form: manifest.csv and, for each clip, a
safetensors file of ``frames`` uint8 (T, S, S, 3), ``ticks`` int32 (T,) in frames at 25 per second and, where
who is foreground is known, ``mask`` uint8 (T, S, S). Single frames are read from mapped files that are closed
again, so memory does not grow with the number of clips. There is no truth beside the frames themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.functional import interpolate

from vasa.data.config import ClipPairsConfig
from vasa.data.frame_pairs import FacePairs
from vasa.data.manifest import KEPT, MANIFEST, read_manifest
from vasa.records import VIDEO_FPS

_log = logging.getLogger(__name__)
NEAR_TICKS = VIDEO_FPS // 2
"""Within half a second the head hardly turns, while lips and lids move."""


class ClipPairs:
    """Batches of two frames of one clip, and a frame of another speaker."""

    def __init__(self, config: ClipPairsConfig) -> None:
        self.config = config
        self._clips: list[str] = []
        self._speakers = np.empty(0, np.int64)
        self._has_mask = False

    def prepare(self) -> None:
        """Reads the manifest.

        Raises: FileNotFoundError; ValueError where the split has not two speakers, frames are too small, or
        some clips have masks and others none.
        """
        config = self.config
        path = config.root / MANIFEST
        kept = [row for row in read_manifest(path) if row.status == KEPT]
        masked = sum(row.masks > 0 for row in kept)
        if 0 < masked < len(kept):
            raise ValueError(
                f"{path}: {masked} of {len(kept)} clips have masks; wanted all or none, as one run of "
                "scripts/preprocess.py makes them."
            )
        rows = [row for row in kept if row.split == config.split and row.frames > 1]
        fine = [row for row in rows if row.side_px >= config.min_side_px]
        enlarged = sum(row.side_px < row.size for row in fine)
        _log.info(
            "%s, %s: %d clips, %d of them enlarged from fewer pixels; %d below min_side_px=%d left out.",
            path, config.split, len(fine), enlarged, len(rows) - len(fine), config.min_side_px,
        )  # fmt: skip
        rows = fine
        names = sorted({row.speaker for row in rows})
        if len(names) < 2:
            raise ValueError(
                f"{path} has {len(names)} speakers in the {config.split} split; wanted at least 2: "
                "preprocess more videos, or with another validation_share, or lower min_side_px."
            )
        small = [row for row in rows if row.size < config.size]
        if small:
            raise ValueError(
                f"size is {config.size}, but {small[0].clip} has frames of {small[0].size} px; "
                f"preprocess with size={config.size} or more, into another folder."
            )
        number = {name: index for index, name in enumerate(names)}
        self._clips = [row.clip for row in rows]
        self._speakers = np.array([number[row.speaker] for row in rows])
        self._has_mask = masked > 0

    def __len__(self) -> int:
        """Clips of the split, once prepared."""
        return len(self._clips)

    def sample(self, position: int) -> dict[str, Any]:
        """One sample, a function of (seed, position): the fields of FacePairs without B."""
        config = self.config
        rng = np.random.default_rng((config.seed, position, 31))
        clip = stranger = int(rng.integers(len(self)))
        while self._speakers[stranger] == self._speakers[clip]:
            stranger = int(rng.integers(len(self)))
        near = rng.random() < config.near_share
        found = self._read(clip, lambda ticks: _pair(ticks, near, rng))
        (other,) = self._read(stranger, lambda ticks: (int(rng.integers(len(ticks))),))["frames"]
        jitter = rng.normal(0, config.colour_jitter, (2, 7)).astype(np.float32)
        pictures = {"source": found["frames"][0], "target": found["frames"][1]}
        if self._has_mask:
            pictures["mask"] = found["mask"][1]
        first, second = found["ticks"]
        warp = rng.standard_normal((2, 7, 7, 2), np.float32)
        nudge = rng.standard_normal((2, 6), np.float32)
        is_mirrored, is_other_mirrored = (rng.random(2) < 0.5) & config.flip
        if is_mirrored:
            pictures = {name: _mirrored(picture) for name, picture in pictures.items()}
        return {
            **pictures,
            "driver": pictures["target"],
            "other": _mirrored(other) if is_other_mirrored else other,
            "is_cross": torch.tensor(False),
            "jitter": torch.from_numpy(jitter),
            "warp": torch.from_numpy(warp),
            "nudge": torch.from_numpy(nudge),
            "ids": f"{self._clips[clip]}:{int(first)}->{int(second)}",
        }

    def batch_at(self, step: int, batch_size: int, rows: slice = slice(None)) -> FacePairs:
        """The global batch of a step, or some rows of it: positions step * batch_size onwards."""
        if not len(self):
            self.prepare()
        samples = [self.sample(step * batch_size + n) for n in range(batch_size)[rows]]
        columns = {key: [sample[key] for sample in samples] for key in samples[0]}
        ids = columns.pop("ids")
        return FacePairs(ids=ids, **{key: torch.stack(values) for key, values in columns.items()})

    def _read(self, clip: int, choose: Callable[[np.ndarray], Sequence[int]]) -> dict[str, list[Tensor]]:
        """The frames (and masks) of a clip that ``choose`` picks by their ticks, at the wanted size."""
        path = self.config.root / self._clips[clip]
        try:
            with safe_open(path, "pt") as file:
                ticks = file.get_tensor("ticks").numpy()
                rows = choose(ticks)
                images = file.get_slice("frames")
                found = {"frames": [self._resized(images[row : row + 1]) for row in rows]}
                if self._has_mask:
                    masks = file.get_slice("mask")
                    found["mask"] = [self._resized(masks[row : row + 1][..., None])[..., 0] for row in rows]
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{path} cannot be read ({error}); delete it and run scripts/preprocess.py again."
            ) from error
        found["ticks"] = [torch.tensor(int(ticks[row])) for row in rows]
        return found

    def _resized(self, image: Tensor) -> Tensor:
        """(1, S, S, C) uint8 -> (size, size, C), averaged over what a pixel covers."""
        size = self.config.size
        if image.shape[1] != size:
            planes = image.permute(0, 3, 1, 2)
            smaller = interpolate(planes, (size, size), mode="bilinear", antialias=True)
            image = smaller.permute(0, 2, 3, 1)
        return image[0].contiguous()


def _mirrored(picture: Tensor) -> Tensor:
    """(S, S, ...) with left and right changed."""
    return picture.flip(1)


def _pair(ticks: np.ndarray, near: bool, rng: np.random.Generator) -> tuple[int, int]:
    """Source and target, two frames of T; if near, at most NEAR_TICKS apart, or neighbours where stored
    frames lie farther apart.
    """
    target = int(rng.integers(len(ticks)))
    apart = np.abs(ticks - ticks[target])
    apart[target] = np.iinfo(apart.dtype).max
    reach = max(NEAR_TICKS, apart.min()) if near else apart[target] - 1
    return int(rng.choice(np.flatnonzero(apart <= reach))), target
