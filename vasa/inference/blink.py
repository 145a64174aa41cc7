"""More, fewer or no blinks than the motion model makes: its own are kept where they fit the rate, the others
opened, and what is missing added.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vasa.face.space import FaceSpace
from vasa.inference.asked import Asked
from vasa.inference.follow import LIDS
from vasa.inference.noise import SeededNoise
from vasa.inference.slow import SlowPart
from vasa.records import VIDEO_FPS

BEGINS, IS_ONE = 0.12, 0.35
"""Closure beyond the lids' rest at which one begins, and that it reaches if it is a blink: as
vasa.metrics.liveliness counts them.
"""
FRAMES = (5, 8)
"""Of an added blink, at least and at most: 0.20 to 0.34 s, as in vasa.data.synthetic.dynamics.blinks."""
GAP_S = 0.7
"""From the end of one to the next, at least."""
RESTS_S, REST_WIDTH = 1.0, 0.05
"""Time over which the lids' rest is taken, and beyond which distance a frame pulls it no harder."""


class BlinkEdit:
    """An ``Edit`` of the lids. When and how long blinks that are added come is the asked seed's.

    A balance grows with the asked rate and a blink takes one from it. One that the model makes stays if the
    balance is above a half of one; above a limit drawn anew each time, around one, a blink is added.
    """

    def __init__(self, face: FaceSpace, asked: Asked) -> None:
        self._face, self._asked = face, asked
        self._noise = SeededNoise(asked.seed)
        self._random = self._noise(0, 1)
        self._slow = SlowPart(RESTS_S, REST_WIDTH)
        self._balance, self._limit = self._drawn(0, 1), 1.0
        self._opening = self._inside = False  # in the middle of a blink that is opened, that stays
        self._added: list[float] = []  # closure of the blink being added, of the frames to come
        self._free = 0  # first frame at which the next may begin

    def __call__(self, motion: Tensor, first: int) -> Tensor:
        self._random = self._noise(first, first + len(motion))
        controls = self._face.controls(motion).clone()
        lids = controls[:, LIDS]
        rest = self._slow(lids, (lids.mean(1) < IS_ONE).to(lids))
        beyond = (lids - rest).mean(1).tolist()
        rates = self._asked.at("blink_rate", first, first + len(motion)).tolist()
        keeps, adds = zip(*(self._frame(beyond, i, first, rate) for i, rate in enumerate(rates)), strict=True)
        kept = torch.tensor(keeps).to(lids)[:, None]
        closure = torch.tensor(adds).to(lids)[:, None]
        lids = torch.where(kept > 0, lids, torch.minimum(lids, rest))
        controls[:, LIDS] = torch.where(closure > 0, torch.maximum(lids, rest + closure * (1 - rest)), lids)
        return self._face.set_controls(motion, controls)

    def _frame(self, beyond: list[float], i: int, first: int, rate: float) -> tuple[bool, float]:
        """Whether the lids of frame i stay as they are made, and the closure of an added blink."""
        frame = first + i
        self._balance += rate / 60 / VIDEO_FPS
        if beyond[i] <= BEGINS:
            self._opening = self._inside = False
        elif not (self._opening or self._inside) and _peak(beyond[i:]) > IS_ONE:
            self._inside = rate > 0 and self._balance >= 0.5 and not self._added and frame >= self._free
            self._opening = not self._inside
            self._balance -= self._inside
        if self._inside:
            self._free = frame + round(GAP_S * VIDEO_FPS)
        elif not self._added and self._balance >= self._limit and frame >= self._free:
            self._balance, self._limit = self._balance - 1, self._drawn(0.6, 1.4)
            self._added = self._blink()
            self._free = frame + len(self._added) + round(GAP_S * VIDEO_FPS)
        return not self._opening, self._added.pop(0) if self._added else 0.0

    def _blink(self) -> list[float]:
        """Closure frame by frame: a lid closes twice as fast as it opens."""
        frames = round(self._drawn(*FRAMES))
        phase = (torch.arange(frames) + self._drawn(0.3, 0.7)) / frames
        shape = torch.minimum((phase / 0.30).clamp(0, 1), ((1 - phase) / 0.55).clamp(0, 1))
        return (self._drawn(0.94, 1.0) * shape.square() * (3 - 2 * shape)).tolist()

    def _drawn(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self._random))


def _peak(beyond: list[float]) -> float:
    """The most that a closure reaches before it ends, as far as it is known; a blink cut off by the chunk's
    end counts as one.
    """
    highest = 0.0
    for value in beyond:
        if value <= BEGINS:
            return highest
        highest = max(highest, value)
    return 1.0
