"""Options of the contact sheets of procedural heads. Torch-free."""

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
