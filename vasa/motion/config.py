"""Settings of stage 2, torch-free. The defaults are VASA-1's where the paper gives a value; every other says
where it is from.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GUIDED = ("audio", "gaze", "distance", "emotion")
"""Conditions that guidance may strengthen, in this order."""


@dataclass(kw_only=True, slots=True)
class TransformerConfig:
    """The denoiser H(x_t, t, C). Source: VASA-1, section 3.2 (8 layers, width 512, 8 heads; about 29 M
    parameters).
    """

    width: int = 512
    num_layers: int = 8
    num_heads: int = 8
    feedforward: int = (
        2048  # not given; the paper's 29 M parameters leave room for exactly four times the width
    )
    audio_context_layers: int = 0
    """Convolutions over 5 frames that audio features pass before the transformer. 0 for features that know
    their surroundings, such as wav2vec 2.0's; log-mel ones do not, and attention takes very long to learn
    what a neighbouring frame is.
    """
    local_kernel: int = 0
    """Frames that a depthwise convolution in each feed-forward sees; 0 has none, as the paper."""
    audio_as_tokens: bool = True
    """True: audio frames are tokens beside the motion tokens (the paper joins all conditions along time).
    False: they are added to the motion token of the same frame: half the tokens, and the alignment is given,
    not learned.
    """

    def __post_init__(self) -> None:
        if self.local_kernel < 0 or (self.local_kernel and self.local_kernel % 2 == 0):
            raise ValueError(f"transformer.local_kernel={self.local_kernel}; wanted 0 or an odd number.")
        if self.width % (2 * self.num_heads):
            raise ValueError(
                f"transformer.width={self.width} with num_heads={self.num_heads}; wanted a multiple of 2x it."
            )


@dataclass(kw_only=True, slots=True)
class DropoutConfig:
    """How often a training sample loses a condition. Source: VASA-1, section 3.2."""

    audio: float = 0.1
    gaze: float = 0.1
    distance: float = 0.1
    emotion: float = 0.1
    history: float = 0.5
    """X_pre and A_pre together: they are absent together in a first window, and at no other time."""
    audio_tail: float = 0.1
    """Share of samples whose last frames of A are dropped (the paper: "the last few frames"; rate and number
    not given). The number is uniform in 1 .. W - 1, since a last window may hold a single frame of sound.
    """


@dataclass(kw_only=True, slots=True)
class ScheduleConfig:
    """The forward process; not given in the paper. Cosine as in DiffPoseTalk, which VASA-1 cites for its
    transformer.
    """

    num_train_steps: int = 1000
    beta_schedule: str = "squaredcos_cap_v2"

    def __post_init__(self) -> None:
        if self.num_train_steps < 2:
            raise ValueError(f"schedule.num_train_steps={self.num_train_steps}; wanted at least 2.")


@dataclass(kw_only=True, slots=True)
class ObjectiveConfig:
    """Weights of the loss terms. VASA-1 has the first only; see ``diffusion.motion_losses`` for what the
    others do.
    """

    x0: float = 1.0
    pose_velocity: float = 0.0
    pose_acceleration: float = 0.0
    join_weight: float = 1.0  # of those velocities and accelerations that reach back into X_pre


@dataclass(kw_only=True, slots=True)
class GuidanceConfig:
    """Strength lambda_c of classifier-free guidance per condition; 0 costs no evaluation. VASA-1: audio 0.5,
    gaze 1.
    """

    audio: float = 0.5
    gaze: float = 1.0
    distance: float = 0.0
    emotion: float = 0.0

    def as_dict(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in GUIDED}


@dataclass(kw_only=True, slots=True)
class SamplerConfig:
    """How motion is drawn. VASA-1: 50 steps by default, 10 tested; the sampler is not given."""

    name: str = "dpm++"
    """One of ``diffusion.SAMPLERS``: dpm++ (DPM-Solver++ 2M), sde-dpm++ or ddim."""
    steps: int = 50
    guidance: GuidanceConfig = field(default_factory=GuidanceConfig)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"sampler.steps={self.steps}; wanted at least 1.")


@dataclass(kw_only=True, slots=True)
class MotionConfig:
    """Everything of stage 2 that a checkpoint must remember."""

    window_frames: int = 100  # W, not given; DiffPoseTalk's
    history_frames: int = 10  # K, not given; DiffPoseTalk's
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    dropout: DropoutConfig = field(default_factory=DropoutConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)

    def __post_init__(self) -> None:
        if not 2 <= self.history_frames <= self.window_frames:
            raise ValueError(
                f"history_frames={self.history_frames} with window_frames={self.window_frames}; wanted "
                "2 <= history <= window: they come from one window, and acceleration needs two."
            )
