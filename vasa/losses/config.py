"""Weights of the stage-1 losses. Each is a field, so that a misspelt name is an error; 0 switches a term
off. Torch-free.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(kw_only=True, slots=True)
class FaceLossConfig:
    """Stage 1. Not given in the papers unless said; the values worked on procedural heads."""

    encoder_steps: int = 0  # steps at the start that train the encoders on labels alone
    true_pose_share: float = (
        0.5  # of samples whose warps use the true pose (labels), so that early blur does not move it
    )
    geometry_gradient: bool = True  # through the geometric warp into the encoders; labels can stand in for it
    l1: float = 1.0
    gradient: float = 1.0  # L1 of image gradients at three scales
    detail_weight: float = 6.0  # extra weight of the eyes' and mouth's boxes in l1 and gradient
    warped: float = 0.35  # L1 of the carried pixels alone, where the target's point shows in the source
    flow: float = 0.10  # Huber of the flow in pixels, where truth exists
    mask: float = 0.05  # cross-entropy of the synthesis mask against true visibility
    pose: float = 0.5  # labels
    controls: float = 0.5
    landmarks: float = 2.0
    consistency: float = 0.5  # VASA-1 l_consist, symmetric L1
    consistency_every: int = 4  # steps between its evaluations, on a quarter of the batch
    cycle: float = 0.05  # MegaPortraits' contrastive term on z_dyn
    cross_identity: float = 0.0  # VASA-1 l_cross_id; needs identity_teacher
    identity_teacher: Path | None = None  # weights of the frozen face recogniser
    # what a frozen teacher reads in eyes and mouth, in the place of MegaPortraits' gaze loss; needs
    # expression_teacher
    expression: float = 0.0
    expression_teacher: Path | None = None

    def __post_init__(self) -> None:
        for weight, teacher in (("cross_identity", "identity_teacher"), ("expression", "expression_teacher")):
            if getattr(self, weight) > 0 and getattr(self, teacher) is None:
                raise ValueError(
                    f"losses.{weight} is {getattr(self, weight)} but losses.{teacher} is not set."
                )
        if self.consistency_every < 1:
            raise ValueError(f"losses.consistency_every is {self.consistency_every}; wanted at least 1.")
