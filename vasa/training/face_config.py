"""Options of a stage-1 run. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.data.config import FramePairsConfig
from vasa.face.config import FaceConfig
from vasa.losses.config import FaceLossConfig
from vasa.training.config import OptimizerConfig, TrainingRun


@dataclass(kw_only=True, slots=True)
class TrainFaceRun(TrainingRun):
    """Stage 1: trains a face space on pairs of frames of one person."""

    face: FaceConfig = field(default_factory=FaceConfig)
    pairs: FramePairsConfig = field(default_factory=FramePairsConfig)
    losses: FaceLossConfig = field(default_factory=FaceLossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    init_pose: Path | None = (
        None  # weights whose E_pose replaces init's: a pose means the same in every face space
    )
    freeze_motion: bool = False  # keeps E_pose and E_dyn as init gave them, so that latents stay valid
    validation_identities: int = 32  # held-out identities that are rendered for validation and previews
    validation_batches: int = 4  # of 8 samples

    def __post_init__(self) -> None:
        if self.freeze_motion and self.init is None:
            raise ValueError("freeze_motion=true needs weights to keep: set init=.../face.safetensors.")
        if self.pairs.size != self.face.size:
            raise ValueError(
                f"pairs.size is {self.pairs.size} px but face.size is {self.face.size}; wanted the same."
            )
