"""Options of a stage-1 run. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.data.config import ClipPairsConfig, FramePairsConfig
from vasa.face.config import DiscriminatorConfig, FaceConfig
from vasa.losses.config import FaceLossConfig
from vasa.pretrained.config import TeachersConfig
from vasa.training.config import OptimizerConfig, TrainingRun

DATA = ("synthetic", "clips")
OF_CODES = ("face/raw_change", "face/raw_redraw")
"""Scalars that are only logged in losses.change_steps."""


@dataclass(kw_only=True, slots=True)
class TrainFaceRun(TrainingRun):
    """Stage 1: trains a face space on pairs of frames of one person."""

    face: FaceConfig = field(default_factory=FaceConfig)
    data: str = "synthetic"  # what is learned from: synthetic (pairs), or clips, real video without labels
    pairs: FramePairsConfig = field(default_factory=FramePairsConfig)  # also what validates
    clips: ClipPairsConfig = field(default_factory=ClipPairsConfig)
    teachers: TeachersConfig = field(default_factory=TeachersConfig)
    licence: str = "any"  # of frozen networks: any, or commercial_ok, which refuses those that forbid it
    losses: FaceLossConfig = field(default_factory=FaceLossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    discriminator_optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    init_pose: Path | None = (
        None  # weights whose E_pose replaces init's: a pose means the same in every face space
    )
    freeze_motion: bool = False  # keeps E_pose and E_dyn as init gave them, so that latents stay valid
    freeze_pose: bool = False  # keeps E_pose as init_pose gave it: a teacher, as in MegaPortraits' code
    # resolution schedule: for the first low_steps steps pictures are encoded, decoded and judged at low_size
    # px; motion is read at full size throughout. Only without source pixels
    low_size: int = 0
    low_steps: int = 0
    validation_identities: int = 32  # held-out identities that are rendered for validation and previews
    # the people that are learned from validate too: only to see how far a network can learn few by heart
    validate_on_training: bool = False
    validation_batches: int = 4  # of 8 samples

    def __post_init__(self) -> None:
        if self.freeze_motion and self.init is None:
            raise ValueError("freeze_motion=true needs weights to keep: set init=.../face.safetensors.")
        if self.freeze_pose and self.init is None and self.init_pose is None:
            raise ValueError(
                "freeze_pose=true needs a pose encoder to keep: set init_pose=.../face.safetensors."
            )
        if self.losses.change_steps > 0 and self.init is None and self.init_pose is None:
            raise ValueError(
                "losses.change_steps needs a pose encoder that can cut crops: set "
                "init_pose=.../face.safetensors."
            )
        for canary in self.loop.canaries:
            if canary.metric in OF_CODES and self.losses.change_steps < canary.step <= self.loop.steps:
                raise ValueError(
                    f"loop.canaries judges {canary.metric} at step {canary.step}, and losses.change_steps="
                    f"{self.losses.change_steps} ends before; set loop.canaries=[], or others."
                )
        if self.low_steps > 0 and self.low_size not in (self.face.size // 2, self.face.size // 4):
            raise ValueError(
                f"low_size is {self.low_size} px; wanted a half or a quarter of face.size={self.face.size}, "
                "or low_steps=0."
            )
        if self.low_steps > 0 and self.face.source_pixels:
            raise ValueError(
                f"low_steps is {self.low_steps}, but a face space with source pixels has one size only; set "
                "low_steps=0, or face.source_pixels=false."
            )
        if self.losses.hold_codes and self.init is None and not self.losses.teaches_codes:
            raise ValueError(
                "losses.hold_codes keeps E_dyn as it is, but nothing has taught it: set losses.change_steps, "
                "or init=.../face.safetensors."
            )
        for name, size in (("pairs", self.pairs.size), ("clips", self.clips.size)):
            if size != self.face.size:
                raise ValueError(
                    f"{name}.size is {size} px but face.size is {self.face.size}; wanted the same."
                )
        if self.data not in DATA:
            raise ValueError(f"data is {self.data!r}; wanted one of {', '.join(DATA)}.")
        if self.data == "clips" and self.losses.needs_labels:
            raise ValueError(
                f"data=clips has no labels, but losses {', '.join(self.losses.needs_labels)} need them; set "
                "them to 0, as experiment=label_free does."
            )
