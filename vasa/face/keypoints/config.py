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

    def __post_init__(self) -> None:
        if self.region not in REGIONS:
            raise ValueError(f"region is {self.region!r}; wanted one of {', '.join(REGIONS)}.")
        if self.compat not in COMPATS:
            raise ValueError(f"compat is {self.compat!r}; wanted one of {', '.join(COMPATS)}.")
        if not 0 <= self.multiplier <= 5 or not 0 <= self.smooth <= 1:
            raise ValueError(
                f"multiplier is {self.multiplier:g} and smooth {self.smooth:g}; wanted 0 to 5, and 0 to 1."
            )
