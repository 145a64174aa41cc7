"""What judges see in a clip's frames: looked at once, however many metrics ask.

Judges and the cutting of faces come from outside, so that a metric can be tested on constructed tracks and
the same numbers can be had from other estimators.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vasa.metrics.protocol import Unscored
from vasa.pretrained.judges import Measurement

Framed = Callable[[np.ndarray], np.ndarray]
"""Frames uint8 (T, H, W, 3) of a clip -> uint8 (T, S, S, 3), cut by the crop rule; raises Unscored where it
finds no face (or several). ONE square for all frames of a clip: a square that follows the face would take the
head's motion out of the frames. A single picture is a clip of one frame.
"""
KEPT = 64
"""Clips whose measurements are kept: true videos are looked at again as references by every other row."""


class LooksAtFrames(Protocol):
    """What a metric wants of ``vasa.pretrained.judges.Judges``."""

    def measure(self, frames: Tensor) -> Measurement: ...

    def felt(self, seen: Measurement) -> Tensor: ...


class Seen:
    """``seen(frames)`` cuts, looks and remembers what the same pixels showed.

    judges: ``Judges``, or anything with its two methods. framed: see ``Framed``. identity: all that
    measurements depend on (weights' hashes, how frames are cut), as plain data.
    """

    def __init__(self, judges: LooksAtFrames, framed: Framed, identity: dict[str, Any]) -> None:
        self.judges, self.framed, self.identity = judges, framed, identity
        self._known: OrderedDict[str, Measurement | Unscored] = OrderedDict()

    def __call__(self, frames: np.ndarray) -> Measurement:
        """frames uint8 (T, H, W, 3). Raises: Unscored as ``framed`` does, each time it is asked."""
        pixels = hashlib.sha256(np.ascontiguousarray(frames).data)
        key = f"{frames.shape} {frames.dtype} {pixels.hexdigest()}"
        if key not in self._known:
            self._known[key] = self._look(frames)
        self._known.move_to_end(key)
        found = self._known[key]
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        if isinstance(found, Unscored):
            raise found
        return found

    def _look(self, frames: np.ndarray) -> Measurement | Unscored:
        try:
            cut = self.framed(frames)
        except Unscored as reason:
            return reason
        if cut.dtype != np.uint8 or cut.ndim != 4 or cut.shape[1] != cut.shape[2] or len(cut) != len(frames):
            raise ValueError(
                f"framed gave {cut.dtype} {cut.shape} for {len(frames)} frames; wanted uint8 (T, S, S, 3)."
            )
        return self.judges.measure(torch.from_numpy(np.array(cut)).permute(0, 3, 1, 2))
