"""What the volumetric face space keeps of portraits, and what it makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from vasa.face.volumetric.pixels import Base
from vasa.face.volumetric.quick_warp import QuickWarp


@dataclass(slots=True)
class Appearance:
    """Everything about B portraits that no frame changes: what ``encode`` computes once.

    volume (B, C, D, h, h) canonical; identity (B, c, 4, 4) z_id; landmarks (B, 68, 3) neutral, head frame;
    pose (B, 6) and dynamics (B, E) of the portrait itself; features of E_app, finest first; small
    (B, 3, S, S) its pixels at network size, pixels those that frames are made of: (B, 3, H, H), or
    enlarged to (B, 3, 2 H, 2 H) where frames are finer than the network. photograph (B,): 1 for what a
    detector found, 0 for rendered faces (see PHOTO_RESIDUAL). side: H of the frames. held: whether motion
    fades to none at the edges of the frames, which then go on in a larger picture. warp:
    of one portrait that many frames are made of, the geometric warp made ready (FaceAutoencoder.ready).
    """

    volume: Tensor
    identity: Tensor
    landmarks: Tensor
    pose: Tensor
    dynamics: Tensor
    features: list[Tensor]
    small: Tensor
    pixels: Tensor
    photograph: Tensor
    side: int
    held: bool = False
    warp: QuickWarp | None = None

    def __getitem__(self, index: int | slice | Tensor) -> Appearance:
        def picked(value: Any) -> Any:  # a tensor, a list of them, or what all of the batch share
            if isinstance(value, int):
                return value
            if value is None or isinstance(value, QuickWarp):
                return None
            return [x[index] for x in value] if isinstance(value, list) else value[index]

        return Appearance(**{f.name: picked(getattr(self, f.name)) for f in fields(self)})

    @staticmethod
    def cat(parts: Sequence[Appearance]) -> Appearance:
        """Several batches of portraits of one size as one."""

        def joined(values: list[Any]) -> Any:
            if isinstance(values[0], int):
                return values[0]
            if values[0] is None or isinstance(values[0], QuickWarp):
                return None
            if isinstance(values[0], list):
                return [torch.cat(level) for level in zip(*values, strict=True)]
            return torch.cat(values)

        return Appearance(
            **{f.name: joined([getattr(part, f.name) for part in parts]) for f in fields(Appearance)}
        )

    def expand(self, batch: int) -> Appearance:
        """One portrait for a batch of frames, without copying: its tensors are views."""
        if self.pose.shape[0] == batch:
            return self

        def seen(value: Any) -> Any:
            if isinstance(value, list):
                return [seen(level) for level in value]
            return value.expand(batch, *value.shape[1:]) if isinstance(value, Tensor) else value

        return Appearance(**{f.name: seen(getattr(self, f.name)) for f in fields(self)})


@dataclass(slots=True)
class Rendering:
    """A decoded batch: image (B, 3, H, H) in [-1, 1]; the rest is None without source pixels.

    warped: the source carried by the geometric plus residual flow, at network size. alpha (B, 1, S, S): where
    pixels are synthesised.
    """

    image: Tensor
    warped: Tensor | None = None
    alpha: Tensor | None = None
    flow: Tensor | None = None
    base: Base | None = None
