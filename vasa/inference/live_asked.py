"""What is asked of a performance that is running, and may be asked otherwise at any time."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vasa.inference.asked import Asked, asked_of
from vasa.inference.config import InferRun

EASE = 10
"""Frames in which one thing that is asked becomes another: 0.4 s."""
CHANGEABLE = (
    "gaze_yaw",
    "gaze_pitch",
    "distance",
    "emotion",
    "head_yaw",
    "head_pitch",
    "head_roll",
    "head_motion",
    "blink_rate",
)
"""Options of VideoOptions that ``set`` takes."""


class LiveAsked(Asked):
    """As ``Asked`` of some options, until ``set`` changes them: from the next frames that are made on."""

    def __init__(self, options: InferRun) -> None:
        """Raises: ValueError as ``asked_of``; for a track of controls, which wants a known end."""
        if options.controls is not None:
            raise ValueError(
                f"controls={options.controls} is a track of a whole video; a live talk takes changes as they "
                "come: leave it out."
            )
        first = asked_of(options)
        super().__init__(first._constants, options.emotion, None, options.seed, options.guidance.as_dict())
        self._options, self._lock = options, threading.Lock()
        self._parts: list[tuple[int, Asked]] = [(0, first)]
        self._next: Asked | None = None
        self._has_rate = options.blink_rate is not None

    def set(self, **changes: Any) -> None:
        """Asks for other values, in the units of VideoOptions. Raises: ValueError naming what cannot be
        changed, or a value and its range.
        """
        unknown = [name for name in changes if name not in CHANGEABLE]
        if unknown:
            raise ValueError(f"{unknown[0]} cannot be changed; wanted some of {', '.join(CHANGEABLE)}.")
        if changes.get("blink_rate", 0) is None or ("blink_rate" in changes and not self._has_rate):
            raise ValueError(
                f"blink_rate={changes['blink_rate']} where a talk began with blink_rate={self._rate}; begin "
                "it with a rate to change it."
            )
        with self._lock:
            options = replace(self._options, **changes)
            self._next = asked_of(options)
            self._options = options

    @property
    def _rate(self) -> float | None:
        return self._options.blink_rate

    def varies(self, *names: str) -> bool:
        return any(name in CHANGEABLE and (name != "blink_rate" or self._has_rate) for name in names)

    def most(self, name: str) -> float:
        return self._parts[-1][1].most(name)

    def constant(self, name: str) -> float | None:
        return None if self.varies(name) else self._constants[name]

    def at(self, name: str, first: int, stop: int) -> Tensor:
        self._take_next(first)
        frames = np.arange(first, stop)
        value = self._parts[0][1].at(name, first, stop)
        for start, part in self._parts[1:]:
            phase = torch.from_numpy(((frames - start + 1) / EASE).clip(0, 1)).to(value)
            share = (phase.square() * (3 - 2 * phase)).view(-1, *[1] * (value.ndim - 1))
            value = torch.lerp(value, part.at(name, first, stop), share)
        return value

    def broadly(self, name: str, first: int, stop: int) -> Tensor:
        """As ``at``: nobody knows what comes."""
        return self.at(name, first, stop)

    def _take_next(self, first: int) -> None:
        with self._lock:
            if self._next is not None:
                self._parts.append((first, self._next))
                self._next = None
        while len(self._parts) > 1 and first >= self._parts[1][0] + EASE:
            del self._parts[0]
