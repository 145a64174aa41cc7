"""Options of procedural heads: their contact sheets, and the doses of their faults. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.data.config import MODES, QUALITIES

SHEETS = ("people", "controls", "poses", "emotions", "truth")
"""What a sheet's columns show; its rows are people, but for `people`, which is one grid of neutral faces."""


@dataclass(kw_only=True, slots=True)
class PreviewRun:
    """Contact sheets of procedural heads, one PNG per kind."""

    first_seed: int = 0  # the people have seeds first_seed, first_seed + 1, ...
    num_people: int = 4  # rows of a sheet; `people` shows four times as many
    size: int = 128  # px of one picture, even, 32 to 1024
    mode: str = "portrait"  # of the heads: portrait or randomised
    quality: str = "full"  # of the renderer: draft or full
    sheets: list[str] = field(
        default_factory=list
    )  # some of people, controls, poses, emotions, truth; empty: all of them
    out: Path = Path("outputs/preview")  # folder for <kind>.png

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}; wanted one of {', '.join(MODES)}.")
        if self.quality not in QUALITIES:
            raise ValueError(f"quality is {self.quality!r}; wanted one of {', '.join(QUALITIES)}.")
        if self.num_people < 1 or self.first_seed < 0:
            raise ValueError(
                f"num_people is {self.num_people} and first_seed {self.first_seed}; wanted 1 and 0 at least."
            )
        unknown = [name for name in self.sheets if name not in SHEETS]
        if unknown:
            raise ValueError(f"sheets has {unknown[0]!r}; wanted some of {', '.join(SHEETS)}.")


SHARES = ("stiff_lips", "frozen_gaze", "identity_drift", "dropped_frames")
"""Faults whose dose is a share."""


@dataclass(kw_only=True, slots=True)
class DosesConfig:
    """Doses of each fault of synthetic.faults; an empty list leaves the fault out. No dose may be the one
    that changes nothing: every response is held against the faultless clip anyway.
    """

    lag: list[int] = field(  # frames of 40 ms by which the sound comes late; below 0: early
        default_factory=lambda: [-6, -3, -1, 1, 3, 6]
    )
    jitter: list[float] = field(default_factory=lambda: [0.5, 1.0, 2.0])  # degrees, of each head angle
    blur: list[float] = field(default_factory=lambda: [1.0, 2.0, 4.0])  # px, sigma of a Gaussian
    stiff_lips: list[float] = field(default_factory=lambda: [0.25, 0.5, 1.0])  # share of motion lost
    frozen_gaze: list[float] = field(default_factory=lambda: [0.25, 0.5, 1.0])  # share of motion lost
    identity_drift: list[float] = field(  # share of the way to somebody else at the clip's end
        default_factory=lambda: [0.25, 0.5, 1.0]
    )
    dropped_frames: list[float] = field(  # share of frames that repeat the one before
        default_factory=lambda: [0.1, 0.2, 0.4]
    )
    mouth_noise: list[float] = field(  # standard deviation, of values in [0, 1], inside the mouth's box
        default_factory=lambda: [0.1, 0.2, 0.4]
    )
    motion_scale: list[float] = field(  # factor of the head's motion; those of VASA-1's CAPP curve
        default_factory=lambda: [0.2, 0.5, 1.5, 3.0]
    )

    def __post_init__(self) -> None:
        if 0 in self.lag:
            raise ValueError("doses.lag has 0, which is the faultless clip; leave it out.")
        for name in ("jitter", "blur", "mouth_noise", *SHARES):
            high = 1.0 if name in SHARES else float("inf")
            if any(not 0 < dose <= high for dose in getattr(self, name)):
                wanted = "shares above 0, at most 1" if name in SHARES else "numbers above 0"
                raise ValueError(f"doses.{name} is {getattr(self, name)}; wanted {wanted}.")
        if any(dose < 0 or dose == 1 for dose in self.motion_scale):
            raise ValueError(f"doses.motion_scale is {self.motion_scale}; wanted factors from 0, but not 1.")
