"""CAPP of a clip: how well its head moves with its sound (VASA-1, section 4.1).

The network (vasa/pretrained/capp.py) scores 3 s; a clip's score is the mean over windows. Poses are measured
in frames, never taken from a generator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from vasa.metrics.protocol import EvalClip, Unscored
from vasa.pretrained.capp import WINDOW, CappNet
from vasa.records import SAMPLES_PER_FRAME, VIDEO_FPS

HOP = VIDEO_FPS
"""Frames from one window to the next: 1 s. Not given in the paper."""


class CappMetric:
    """Column ``capp``: mean cosine of sound and head pose over windows of 3 s, one every second.

    pose: frames uint8 (T, H, W, 3) -> (T, 6) or (T, 3), yaw, pitch and roll first, in radians, of a camera
    that does not follow the head; raises Unscored where there is no face. identity: what pose and network
    depend on (weights' hashes). batch: windows at once; of no effect on the score.
    """

    name = "capp"

    def __init__(
        self,
        network: CappNet,
        pose: Callable[[np.ndarray], Tensor],
        identity: dict[str, Any],
        batch: int = 64,
    ) -> None:
        self._network, self._pose, self._identity, self._batch = network, pose, identity, batch

    @property
    def identity(self) -> dict[str, Any]:
        return {"metric": "capp", "version": 1, "hop": HOP, **self._identity}

    @property
    def label(self) -> str:
        return (
            f"CAPP on {self._network.config.audio}, trained here on synthetic clips: compares rows "
            "of one table, not comparable in absolute value with published numbers"
        )

    def measure(self, clip: EvalClip) -> dict[str, float]:
        """Sound and frames beyond the shorter of the two are left out.

        Raises: Unscored under 3 s, without sound, or without a face.
        """
        if clip.audio is None:
            raise Unscored("no sound")
        num_frames = min(len(clip.frames), len(clip.audio) // SAMPLES_PER_FRAME)
        if num_frames < WINDOW:
            raise Unscored("shorter than 3 s")
        pose = self._pose(clip.frames)[:num_frames]
        heard = self._network.hear(clip.audio[: num_frames * SAMPLES_PER_FRAME], num_frames)
        return {"capp": float(self._network.score(heard, pose, HOP, self._batch).mean())}
