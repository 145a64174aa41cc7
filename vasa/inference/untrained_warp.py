"""What the geometric warp alone makes of a portrait: the baseline that evaluations hold learning against."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.records import MotionLayout


class UntrainedWarp:
    """A volumetric face space with source pixels whose frames the geometric warp makes alone: a baseline."""

    def __init__(self, space: FaceAutoencoder) -> None:
        self.space = space

    @property
    def layout(self) -> MotionLayout:
        return self.space.layout

    @property
    def size(self) -> int:
        return self.space.size

    def encode(
        self, image: Tensor, points: Tensor | None = None, resting: float = 0.0, speaking: bool = False
    ) -> Any:
        return self.space.encode(image, points, resting, speaking)

    def own_motion(self, appearance: Any) -> Tensor:
        return self.space.own_motion(appearance)

    def hold_edges(self, appearance: Any) -> Any:
        return self.space.hold_edges(appearance)

    def motion(self, images: Tensor) -> Tensor:
        return self.space.motion(images)

    def render(self, appearance: Any, motion: Tensor) -> Tensor:
        return self.space.render(appearance, motion, learned=False)

    def controls(self, motion: Tensor) -> Tensor:
        return self.space.controls(motion)

    def set_controls(self, motion: Tensor, controls: Tensor) -> Tensor:
        return self.space.set_controls(motion, controls)
