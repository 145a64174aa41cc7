"""The FaceSpace protocol: what every face space can do, and nothing else.

A face space turns a portrait into an appearance (once) and a frame into a raw motion vector, and renders an
appearance under a motion. Whoever calls it knows the motion only through its MotionLayout.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from vasa.records import MotionLayout


class FaceSpace(Protocol):
    """Shapes: B frames; S the network's size; H >= S the portrait's own size; E the layout's width."""

    @property
    def layout(self) -> MotionLayout: ...

    @property
    def size(self) -> int: ...

    def encode(
        self, image: Tensor, points: Tensor | None = None, resting: float = 0.0, speaking: bool = False
    ) -> Any:
        """Portrait crop (1, 3, H, H) in [-1, 1] -> its appearance, opaque to the caller.

        points (1, 5, 2): where a detector saw eyes, nose tip and mouth corners, image coordinates. resting:
        share of the portrait's expression that counts as how this face looks at rest, 0 to 1, so that motion
        is added to it. speaking: a frame of a video, whose lips are wherever they are; of a photograph, a
        closed mouth is made out more finely.
        """
        ...

    def own_motion(self, appearance: Any) -> Tensor:
        """The raw motion (1, E) that shows the portrait as it is."""
        ...

    def hold_edges(self, appearance: Any) -> Any:
        """The same appearance for frames that go on in a larger picture: at their edges nothing moves."""
        ...

    def ready(self, appearance: Any) -> Any:
        """The same appearance for many frames: what none of them changes is worked out now."""
        ...

    def replayable(self, appearance: Any) -> bool:
        """Whether rendering it copies no number between host and device: a CUDA graph may record it."""
        ...

    def motion(self, images: Tensor) -> Tensor:
        """Frames (B, 3, S, S) in [-1, 1] -> raw motion (B, E)."""
        ...

    def render(self, appearance: Any, motion: Tensor) -> Tensor:
        """One appearance under raw motion (B, E) -> frames (B, 3, H, H) in [-1, 1]."""
        ...

    def controls(self, motion: Tensor) -> Tensor:
        """Raw motion (B, E) -> the expression it says (B, 11), records.CONTROL_NAMES."""
        ...

    def set_controls(self, motion: Tensor, controls: Tensor) -> Tensor:
        """Raw motion (B, E) with its dynamics moved so that they say ``controls`` (B, 11); pose untouched."""
        ...
