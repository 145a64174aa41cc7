"""Weights of the stage-1 losses. Each term is a field, so that a misspelt name is an error; 0 switches a term
off. Torch-free.
"""

from __future__ import annotations

from dataclasses import dataclass

LABELLED = ("pose", "controls", "landmarks", "warped", "flow", "mask")
"""Terms that need the renderer's truth; real video has none of it."""
LABELLED_SHARES = ("true_pose_share", "true_controls_share")
"""Shares of a batch whose codes are the renderer's truth."""
TRANSFERS = ("consistency", "cross_identity", "cross_cycle", "volume")
"""Terms on what was swapped between frames; see transfer_every."""


@dataclass(kw_only=True, slots=True)
class FaceLossConfig:
    """Stage 1. Not given in the papers unless said; the values worked on procedural heads."""

    encoder_steps: int = 0  # steps at the start that train the encoders on labels alone
    # steps at the start that teach E_dyn alone what changes between neighbouring frames, without labels
    # (training/change.py); instead of encoder_steps
    change_steps: int = 0
    hold_codes: bool = False  # from change_steps on E_dyn stays as it is, and all else trains around it
    # of samples whose warps use the true pose (labels), so that early blur does not move it
    true_pose_share: float = 0.5
    # of samples whose codes read as the true controls (labels), as generated motion does: where E_dyn
    # underreads a control, the decoder else learns to show less of it than it is told
    true_controls_share: float = 0.0
    geometry_gradient: bool = True  # through the geometric warp into the encoders; labels can stand in for it
    change: float = 0.5  # in change_steps: z_dyn says what changed, in principal components
    redraw: float = 1.0  # in change_steps: eyes and mouth of one frame redrawn as the other's by their codes
    l1: float = 1.0
    gradient: float = 1.0  # L1 of image gradients at three scales
    detail_weight: float = 6.0  # extra weight of the eyes' and mouth's boxes in l1 and gradient
    # of the weight that the background has in picture terms, where the record says what is foreground
    # (MegaPortraits: 0)
    background: float = 0.0
    warped: float = (
        0.35  # labels: L1 of the carried pixels alone, where the target's point shows in the source
    )
    flow: float = 0.10  # labels: Huber of the flow in pixels
    mask: float = 0.05  # labels: cross-entropy of the synthesis mask against true visibility
    pose: float = 0.5  # labels
    controls: float = 0.5  # labels
    landmarks: float = 2.0  # labels
    perceptual: float = 0.0  # MegaPortraits L_IN, VGG19's features; there 20
    face: float = 0.0  # MegaPortraits L_face, features of a face recogniser; there 4
    gaze: float = 0.0  # MegaPortraits L_gaze, features of a gaze network in the eyes; there 5
    # controls that a frozen teacher reads in the output, against those in the target; ours
    expression: float = 0.0
    adversarial: float = 0.0  # MegaPortraits L_adv, hinge; there 1. Above 0 trains a discriminator
    feature_matching: float = 0.0  # MegaPortraits L_FM; there 40. Needs adversarial
    adversarial_start: int = 0  # first step of both
    cycle: float = 0.05  # MegaPortraits L_cos on the code of the output; there 2
    cross_cycle: float = 0.0  # the same on another person under the driver's motion; there 2
    consistency: float = 0.5  # VASA-1 l_consist
    consistency_symmetric: bool = False  # also with the two frames' roles swapped
    cross_identity: float = 0.0  # VASA-1 l_cross_id
    volume: float = 0.0  # EMOPortraits: L1 of the canonical volumes of two frames of one person; there 1
    decorrelation: float = 0.0  # ours: squared correlation over the batch of z_dyn with the pose
    transfer_every: int = 4  # steps between evaluations of consistency, cross_* and volume
    transfer_share: float = 0.25  # of the batch that they are evaluated on
    driver_warp: float = (
        0.0  # of a grid cell: shapes disturbed before the dynamics encoder; MegaPortraits 0.1
    )
    crop_nudge: float = 0.0  # how far its crops are off (driver_augment.NUDGE_SCALE)

    def __post_init__(self) -> None:
        for name in LABELLED_SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"losses.{name} is {getattr(self, name)}; wanted a share between 0 and 1.")
        if self.transfer_every < 1 or not 0 < self.transfer_share <= 1:
            raise ValueError(
                f"losses.transfer_every is {self.transfer_every} and transfer_share {self.transfer_share}; "
                "wanted at least 1, and a share of the batch above 0."
            )
        if self.change_steps > 0 and self.encoder_steps > 0:
            raise ValueError(
                f"losses.change_steps is {self.change_steps} and encoder_steps {self.encoder_steps}: the "
                "encoders begin either without labels or with them; set one to 0."
            )
        if self.feature_matching > 0 and self.adversarial <= 0:
            raise ValueError(
                f"losses.feature_matching is {self.feature_matching} but losses.adversarial is 0: there is "
                "no discriminator whose features could be matched."
            )

    @property
    def needs_labels(self) -> list[str]:
        """Active terms that only synthetic records can serve."""
        return [name for name in (*LABELLED, *LABELLED_SHARES) if getattr(self, name) > 0]

    @property
    def teaches_codes(self) -> bool:
        """Whether the first steps teach E_dyn alone."""
        return self.change_steps > 0 or self.encoder_steps > 0

    @property
    def has_transfers(self) -> bool:
        return any(getattr(self, name) > 0 for name in TRANSFERS)
