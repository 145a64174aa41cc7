"""A face space over another: what it does not do in its own way, the other does."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vasa.face.space import FaceSpace
from vasa.records import MotionLayout


class DelegatedFace:
    """A FaceSpace (face/space.py) that is ``space`` but for what a subclass overrides."""

    def __init__(self, space: FaceSpace) -> None:
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

    def ready(self, appearance: Any) -> Any:
        return self.space.ready(appearance)

    def replayable(self, appearance: Any) -> bool:
        return self.space.replayable(appearance)

    def motion(self, images: Tensor) -> Tensor:
        return self.space.motion(images)

    def render(self, appearance: Any, motion: Tensor) -> Tensor:
        return self.space.render(appearance, motion)

    def controls(self, motion: Tensor) -> Tensor:
        return self.space.controls(motion)

    def set_controls(self, motion: Tensor, controls: Tensor) -> Tensor:
        return self.space.set_controls(motion, controls)
