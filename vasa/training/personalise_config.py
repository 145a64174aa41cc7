"""Options of ``scripts/personalise.py``: one person's minute beside a checkpoint. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.face.config import PersonConfig
from vasa.pretrained.config import DetectorConfig
from vasa.training.config import LoopConfig, OptimizerConfig


@dataclass(kw_only=True, slots=True)
class PersonLossConfig:
    """Weights of the terms between a made frame and the true one; chosen on real clips."""

    l1: float = 1.0
    squared: float = 2.0  # squared error, which is what PSNR counts
    gradient: float = 0.5  # L1 of image gradients at three scales
    pose: float = 20.0  # squared difference of poses from what the face space says, radians and half widths
    dynamics: float = 1.0  # of controls from what the face space says
    background: float = 0.1  # weight of what lies outside the face's box, which has 1
    detail: float = 1.0  # extra weight of the eyes' and mouth's boxes

    def __post_init__(self) -> None:
        if min(self.l1, self.squared, self.gradient, self.pose, self.dynamics, self.background) < 0:
            raise ValueError("losses: a weight is below 0; wanted 0 or more.")
        if self.detail < 0:
            raise ValueError("losses: a weight is below 0; wanted 0 or more.")


@dataclass(kw_only=True, slots=True)
class PersonaliseRun:
    """Learns one consenting person from a video of them; the folder then speaks as they do."""

    video: Path  # of the person alone, face towards the camera; a minute is best, a second the least
    out: Path  # folder of the new checkpoint; the same command carries on
    consent: bool = False  # "I have this person's consent": without it nothing is done
    checkpoint: Path = Path("checkpoints/demo")  # whose face space and motion model the person is put beside
    judges: Path = Path(
        "checkpoints/judges"
    )  # that measure what was learned, on frames it was not learned from

    # minutes of two CPU cores, or of a GPU, that learning may take; it decides the number of steps
    minutes: float = 10.0
    steps: int = 0  # of learning; 0: as many as fit into `minutes`, and at most max_steps
    max_steps: int = 100
    # cosine that frames must have to the others as the judge of identity sees them: of the clips here the
    # lowest is 0.74, of two people in one video mostly below 0.6; 0 does not look
    same_person: float = 0.6
    max_seconds: float = 60.0  # of the video that are used, from its start
    held_out: float = 0.2  # share of the video, its end, that is never learned from, and measured on

    person: PersonConfig = field(default_factory=PersonConfig)
    losses: PersonLossConfig = field(default_factory=PersonLossConfig)
    # of sampled frames, that learning must do without: the nearest are not always there
    drop: float = 0.3
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)  # loop.steps is overwritten, see steps
    detector: DetectorConfig = field(default_factory=DetectorConfig)

    def __post_init__(self) -> None:
        if not self.consent:
            raise ValueError(
                f"consent is false; nobody is learned from {self.video.name!r} without it: add consent=true "
                "if you have this person's consent."
            )
        if not 0 < self.minutes <= 600 or min(self.steps, self.max_steps - 1) < 0:
            raise ValueError(
                f"minutes is {self.minutes:g}, steps {self.steps}, max_steps {self.max_steps}; wanted above "
                "0 up to 600, at least 0 and at least 1."
            )
        if not 0.05 <= self.held_out <= 0.5 or not 0 <= self.drop < 1:
            raise ValueError(
                f"held_out is {self.held_out:g} and drop {self.drop:g}; wanted 0.05 to 0.5, and 0 up to 1."
            )
        if not 0 <= self.same_person < 1:
            raise ValueError(f"same_person is {self.same_person:g}; wanted 0 up to 1.")
        if not 1 <= self.max_seconds <= 600:
            raise ValueError(f"max_seconds is {self.max_seconds:g}; wanted 1 to 600.")
