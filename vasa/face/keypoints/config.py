"""Options of LivePortrait's rules. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

REGIONS = ("auto", "all", "exp", "pose", "lip", "eyes")
COMPATS = ("none", "upstream")
SPECIES = ("human", "animal")


@dataclass(kw_only=True, slots=True)
class RulesConfig:
    """How driving motion moves a source's keypoints."""

    # of the driving that is taken: all, exp, pose, lip or eyes; auto: lip where a source video is to say
    # what is heard, else all
    region: str = "auto"
    # motion scaled to the source's face; LivePortrait's "expression-friendly"
    friendly: bool = True
    stitching: bool = True  # shoulders stay where the source has them
    close_lips: bool = False  # of a source whose lips are open, before it moves
    eye_retargeting: bool = False  # eyes as open as the driving's, in place of its motion
    lip_retargeting: bool = False  # lips likewise
    open_source_eyes: bool = False  # a source video's eyes as open as in its first frame
    multiplier: float = 1.0  # of the way from the source
    # of motion made of sound: none: ours; upstream: JoyVASA's windows as published, two frames late, one
    # noise for all, the head averaged over four seconds
    compat: str = "none"
    smooth: float = 3e-7  # noise variance that a source video's motion is smoothed for; 0: not

    # The portrait's picture: the square around the landmarks of its face times crop_scale, moved by shares of
    # that, vx > 0 to the right and vy > 0 down. Defaults are LivePortrait's.
    crop_scale: float = 2.3
    crop_vx: float = 0.0
    crop_vy: float = -0.125
    crop_rotate: bool = True  # so that the face is upright in it; else as the photograph has it
    # The same of a driving video or picture, which is never turned
    driving_scale: float = 2.2
    driving_vx: float = 0.0
    driving_vy: float = -0.1

    def __post_init__(self) -> None:
        if self.region not in REGIONS:
            raise ValueError(f"region is {self.region!r}; wanted one of {', '.join(REGIONS)}.")
        if self.compat not in COMPATS:
            raise ValueError(f"compat is {self.compat!r}; wanted one of {', '.join(COMPATS)}.")
        if not 0 <= self.multiplier <= 5 or not 0 <= self.smooth <= 1:
            raise ValueError(
                f"multiplier is {self.multiplier:g} and smooth {self.smooth:g}; wanted 0 to 5, and 0 to 1."
            )
        for one, other in (("close_lips", "lip_retargeting"), ("open_source_eyes", "eye_retargeting")):
            if getattr(self, one) and getattr(self, other):
                raise ValueError(f"{one} and {other} each say how open the same is; leave one of them out.")
        for name in ("crop", "driving"):
            scale, moved = getattr(self, f"{name}_scale"), [getattr(self, f"{name}_v{i}") for i in "xy"]
            if not 1 <= scale <= 8 or not all(-1 <= share <= 1 for share in moved):
                raise ValueError(
                    f"{name}_scale is {scale:g}, {name}_vx {moved[0]:g} and {name}_vy {moved[1]:g}; wanted 1 "
                    "to 8, and -1 to 1 of both."
                )

    @property
    def framing(self) -> tuple[float, float, float, bool]:
        """What decides a portrait's picture."""
        return self.crop_scale, self.crop_vx, self.crop_vy, self.crop_rotate
