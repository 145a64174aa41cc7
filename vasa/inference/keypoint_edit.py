"""LivePortrait's and JoyVASA's rules as edits of raw keypoint motion, one at each end of a chain.

Between the two, raw motion is the portrait's own: heads are turned, distances kept and motion recorded there.
The last one knows the source and moves keypoints in ways that are no motion: it leaves them as expression.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vasa.face.keypoints.animation import Animator
from vasa.face.keypoints.config import RulesConfig
from vasa.face.keypoints.resting import resting_expression
from vasa.face.keypoints.space import KeypointFace, from_raw, to_raw
from vasa.inference.edits import Edit
from vasa.inference.generation import Portrait
from vasa.inference.keypoint_framing import OpeningTrack, check_openings


@dataclass(slots=True)
class Driver:
    """Where motion is from. name: for messages. sound: it was made of sound, so JoyVASA's rules hold; else
    LivePortrait's. reference (1, 69): what relative motion is measured from; None: its first frame. alone: it
    is one frame, held, whose expression is measured from a face at rest. openings: of its eyes and lips,
    where they are wanted. tells: whether it has those of the eyes, and of the lips.
    """

    name: str
    sound: bool = False
    reference: Tensor | None = None
    alone: bool = False
    openings: OpeningTrack | None = None
    tells: tuple[bool, bool] = (False, False)


def keypoint_edits(
    face: KeypointFace,
    portrait: Portrait,
    rules: RulesConfig,
    driver: Driver,
    *,
    pose: str = "relative",
    distance: float = 1.0,
) -> tuple[Edit, Edit]:
    """What makes chunks of raw motion (t, 69) a portrait's, and what finishes it before it is rendered.

    Raises: ValueError where rules want openings of eyes or lips that are not known.
    """
    relative, known = pose == "relative", portrait.openings
    check_openings(rules, face.species, relative, known is not None, driver.name, driver.tells)
    own = from_raw(portrait.motion)
    if known is not None:
        told = torch.from_numpy(known).to(portrait.motion)[None]
        own.eyes, own.lips = told[:, :2], told[:, 2:]
    animator = Animator(
        rules,
        portrait.appearance.canonical,
        own,
        face.retargeting,
        face.species,
        relative=relative,
        sound=driver.sound,
        lip_rest=resting_expression() if driver.alone else None,
    )
    return _Move(animator, distance, driver.reference), _Finish(animator, driver.openings)


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
    def __init__(self, animator: Animator, openings: OpeningTrack | None) -> None:
        self._animator, self._openings = animator, openings

    def __call__(self, motion: Tensor, first: int) -> Tensor:
        moved = from_raw(motion)
        if self._openings is not None:
            told = self._openings.take(first, len(motion)).to(motion)
            moved.eyes, moved.lips = told[:, :2], told[:, 2:]
        x = self._animator.corrected(moved.keypoints(self._animator.canonical), moved)
        return as_motion(motion, x, self._animator.canonical)


def as_motion(motion: Tensor, x: Tensor, canonical: Tensor) -> Tensor:
    """Raw motion (t, 69) of the same pose whose expression puts keypoints at x (t, 21, 3)."""
    moved = from_raw(motion)
    place = torch.nn.functional.pad(moved.t[:, :2], (0, 1))[:, None]
    expression = (x - place) / moved.scale[..., None] - canonical @ moved.turned
    return torch.cat([motion[:, :6], expression.flatten(1)], 1)
