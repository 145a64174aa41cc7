"""Options of preprocessing. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.pretrained.config import DetectorConfig, MatteConfig

SPACINGS = ("even", "consecutive")


@dataclass(kw_only=True, slots=True)
class PreprocessRun:
    """Videos of talking people into frames cut around the face, for stage 1."""

    root: Path  # folder of videos, at any depth; folders named as VoxCeleb2's id00012 say who speaks
    out: Path  # folder of the clips and their manifest; the same command carries on
    size: int = 256  # px of the frames' sides; 0.2 MB a frame at 256, 0.8 at 512
    max_frames: int = 64  # kept of each video
    spacing: str = "even"  # of those: even over the video, or consecutive around its middle
    masks: bool = True  # store who is foreground, too, for losses that leave the background out; a third more
    min_seconds: float = 1.0  # shorter videos are rejected
    # the face's way from the crop's middle, in sides of the crop; above it the head leaves the picture, or
    # another person comes in
    max_drift: float = 0.35
    validation_share: float = 0.02  # of speakers, chosen by a hash of the name
    workers: int = 1  # processes
    threads: int = 1  # of each process
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    matte: MatteConfig = field(default_factory=MatteConfig)

    def __post_init__(self) -> None:
        if self.size % 2 or not 64 <= self.size <= 1024:
            raise ValueError(f"size is {self.size}; wanted an even number from 64 to 1024.")
        if self.spacing not in SPACINGS:
            raise ValueError(f"spacing is {self.spacing!r}; wanted one of {', '.join(SPACINGS)}.")
        if self.max_frames < 2 or min(self.workers, self.threads) < 1:
            raise ValueError(
                f"max_frames is {self.max_frames}, workers {self.workers}, threads {self.threads}; wanted at "
                "least 2, 1 and 1."
            )
        if self.min_seconds < 0.08 or self.max_drift <= 0 or not 0 <= self.validation_share <= 1:
            raise ValueError(
                f"min_seconds is {self.min_seconds}, max_drift {self.max_drift}, validation_share "
                f"{self.validation_share}; wanted at least 0.08, above 0, and from 0 to 1."
            )
