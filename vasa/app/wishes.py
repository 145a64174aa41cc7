"""What a visitor chose on the page, as options of one video."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vasa.inference.asked import asked_of
from vasa.inference.config import GuidanceOverride, InferRun
from vasa.inference.controls import AUTO, NONE


@dataclass(slots=True)
class Wishes:
    """Values of the page's controls, in the order in which it shows them. guidance: of the sound; empty:
    the checkpoint's own."""

    gaze_yaw: float = 0.0
    gaze_pitch: float = 0.0
    distance: float = 1.0
    emotion: str = AUTO
    strength: float = 1.0
    head_motion: float = 1.0
    guidance: str = ""
    seed: int = 0

    def of(self, base: InferRun, **more: Any) -> InferRun:
        """Options of a video, checked. Raises: ValueError naming the option and its range."""
        mood = self.emotion
        strength = _number("strength", self.strength)
        if mood not in (AUTO, NONE) and strength != 1:
            mood = f"{mood}:{strength:g}"
        run = replace(
            base,
            gaze_yaw=_number("gaze_yaw", self.gaze_yaw),
            gaze_pitch=_number("gaze_pitch", self.gaze_pitch),
            distance=_number("distance", self.distance),
            emotion=mood,
            head_motion=_number("head_motion", self.head_motion),
            guidance=GuidanceOverride(audio=_strength(self.guidance)),
            seed=int(_number("seed", self.seed)),
            **more,
        )
        asked_of(run)
        return run


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {'empty' if value is None else repr(value)}; wanted a number.")
    return value


def _strength(text: str) -> float | None:
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise ValueError(f"guidance.audio is {text!r}; wanted a number from 0 on, such as 0.5.") from None
