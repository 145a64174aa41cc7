"""Parts of a face from different motions: lips, eyes, brows and head, each from its own.

Lips, eyes and brows are the labelled directions of z_dyn (records.CONTROL_NAMES); the head is the pose. What
is left of z_dyn, off the labelled directions, stays with the motion that everything unnamed comes from: it
hardly shows (docs/editing.md has the measurement), and moved with any one region it would leak into others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from vasa.face.space import FaceSpace
from vasa.inference.edits import Edit
from vasa.records import CONTROL_INDEX

REGION_CONTROLS: dict[str, tuple[str, ...]] = {
    "lips": ("jaw", "lip_width", "lip_pucker", "lip_press", "smile"),
    "eyes": ("gaze_yaw", "gaze_pitch", "blink_left", "blink_right"),
    "brows": ("brow_raise", "frown"),
}


class Endless:
    """Motion of some length, as long as asked for: at its end it is gone through backwards, and so on."""

    def __init__(self, chunks: Iterator[Tensor], edits: Sequence[Edit] = ()) -> None:
        """chunks: raw motion (t, E), at least one, on one device; what has come once is kept. edits: applied
        as it comes."""
        self._chunks, self._edits = chunks, edits
        self._known = torch.empty(0, 0)
        self._length, self._ended = 0, False

    def __call__(self, first: int, count: int) -> Tensor:
        """Frames ``first`` to ``first`` + count - 1, (count, E)."""
        while self._length < first + count and not self._ended:
            self._read()
        turn = max(2 * self._length - 2, 1)
        place = torch.arange(first, first + count, device=self._known.device) % turn
        return self._known[torch.minimum(place, (2 * self._length - 2 - place).abs())]

    def _read(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            self._ended = True
            return
        for edit in self._edits:
            chunk = edit(chunk, self._length)
        length = self._length + len(chunk)
        if length > len(self._known):  # room for twice as many, so that growing costs little in all
            known, self._known = self._known, chunk.new_empty(2 * length, chunk.shape[1])
            if self._length:
                self._known[: self._length] = known[: self._length]
        self._known[self._length : length] = chunk
        self._length = length


class Regions:
    """An ``Edit``: some regions of a motion out of others. sources: by name, of REGION_CONTROLS or "head"."""

    def __init__(self, face: FaceSpace, sources: Mapping[str, Endless]) -> None:
        self._face, self._sources = face, sources

    def __call__(self, motion: Tensor, first: int) -> Tensor:
        pose = self._face.layout.pose
        motion, controls = motion.clone(), self._face.controls(motion).clone()
        for name, source in self._sources.items():
            other = source(first, len(motion)).to(motion)
            if name == "head":
                motion[:, pose] = other[:, pose]
            else:
                some = [CONTROL_INDEX[control] for control in REGION_CONTROLS[name]]
                controls[:, some] = self._face.controls(other)[:, some]
        if set(self._sources) - {"head"}:
            motion = self._face.set_controls(motion, controls)
        return motion


class Only:
    """An ``Edit``: the head's motion alone ("pose"), or the face's ("dynamics"); the rest is the
    portrait's."""

    def __init__(self, face: FaceSpace, portrait_motion: Tensor, what: str) -> None:
        layout = face.layout
        self._held = {"pose": layout.dynamics, "dynamics": layout.pose}[what]
        self._own = portrait_motion

    def __call__(self, motion: Tensor, first: int) -> Tensor:
        motion = motion.clone()
        motion[:, self._held] = self._own[:, self._held].to(motion)
        return motion
