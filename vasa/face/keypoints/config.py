"""Options of LivePortrait's rules. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

REGIONS = ("all", "exp", "pose", "lip", "eyes")
SPECIES = ("human", "animal")


@dataclass(kw_only=True, slots=True)
class AnimationConfig:
    """How driving motion moves a source's keypoints."""

    species: str = "human"  # whose weights, and whose rules
    region: str = "all"  # of the driving that is taken: all, exp, pose, lip or eyes
    relative: bool = True  # to the driving's first frame; else in its place
    friendly: bool = True  # motion scaled to the source's face; LivePortrait's "expression-friendly"
    stitching: bool = True  # shoulders stay where the source has them
    close_lips: bool = False  # of a source whose lips are open, before it moves
    eye_retargeting: bool = False  # eyes as open as the driving's, in place of its motion
    lip_retargeting: bool = False  # lips likewise
    open_source_eyes: bool = False  # a source video's eyes as open as in its first frame
    multiplier: float = 1.0  # of the way from the source
    smooth: float = 3e-7  # noise variance that a source video's motion is smoothed for; 0: not
    single_picture: bool = False  # the driving is one picture
    sound: bool = False  # the driving was made of sound: JoyVASA's rules

    def __post_init__(self) -> None:
        if self.species not in SPECIES or self.region not in REGIONS:
            raise ValueError(
                f"species is {self.species!r} and region {self.region!r}; wanted one of "
                f"{', '.join(SPECIES)}, and one of {', '.join(REGIONS)}."
            )
        if not 0 <= self.multiplier <= 5 or not 0 <= self.smooth <= 1:
            raise ValueError(
                f"multiplier is {self.multiplier:g} and smooth {self.smooth:g}; wanted 0 to 5, and 0 to 1."
            )
