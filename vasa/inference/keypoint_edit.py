"""LivePortrait's and JoyVASA's rules as edits of raw keypoint motion, one at each end of a chain.

Between the two, raw motion is the portrait's own: heads are turned, distances kept and motion recorded there.
The last one knows the source and moves keypoints in ways that are no motion: it leaves them as expression.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vasa.face.keypoints.animation import Animator
from vasa.face.keypoints.config import RulesConfig
from vasa.face.keypoints.space import KeypointAppearance, KeypointFace, from_raw, to_raw
from vasa.inference.edits import Edit


def keypoint_edits(
    face: KeypointFace,
    appearance: KeypointAppearance,
    rules: RulesConfig,
    *,
    pose: str = "relative",
    distance: float = 1.0,
    sound: bool = False,
    reference: Tensor | None = None,
) -> tuple[Edit, Edit]:
    """What makes chunks of raw motion (t, 69) a portrait's, and what finishes it before it is rendered.

    sound: the motion was made of sound, so JoyVASA's rules hold; else LivePortrait's. reference (1, 69): what
    relative motion is measured from; None: its first frame.
    """
    animator = Animator(
        rules,
        appearance.canonical,
        from_raw(appearance.motion),
        face.retargeting,
        face.species,
        relative=pose == "relative",
        sound=sound,
    )
    move = _Move(animator, distance, reference)
    return move, _Finish(animator)


class _Move:
    def __init__(self, animator: Animator, distance: float, reference: Tensor | None) -> None:
        self._animator, self._nearer, self.first = animator, -math.log(distance), reference

    def __call__(self, motion: Tensor, first: int) -> Tensor:
        if self.first is None:
            self.first = motion[:1].clone()
        driving, start = from_raw(motion), from_raw(self.first)
        moved = self._animator.moved(driving, start)
        x = self._animator.scaled(moved, start)
        raw = as_motion(to_raw(moved), x, self._animator.canonical)
        raw[:, 5] += self._nearer
        return raw


class _Finish:
    def __init__(self, animator: Animator) -> None:
        self._animator = animator

    def __call__(self, motion: Tensor, first: int) -> Tensor:
        moved = from_raw(motion)
        x = self._animator.corrected(moved.keypoints(self._animator.canonical), moved)
        return as_motion(motion, x, self._animator.canonical)


def as_motion(motion: Tensor, x: Tensor, canonical: Tensor) -> Tensor:
    """Raw motion (t, 69) of the same pose whose expression puts keypoints at x (t, 21, 3)."""
    moved = from_raw(motion)
    place = torch.nn.functional.pad(moved.t[:, :2], (0, 1))[:, None]
    expression = (x - place) / moved.scale[..., None] - canonical @ moved.turned
    return torch.cat([motion[:, :6], expression.flatten(1)], 1)
