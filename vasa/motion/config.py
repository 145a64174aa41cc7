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
    """How often a training sample loses a condition. Source: VASA-1, section 3.2. At 1 it is never learned,
    and not shown at inference either.
    """

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
class LengthsConfig:
    """How long the windows and histories are that a model learns. VASA-1 has one length of each (the
    defaults); one model of many serves whole files and live speech, which waits for few frames.
    """

    min_window: int | None = None  # frames of the shortest window; None: all have W
    min_history: int | None = None  # frames of the shortest history; None: all have K
    whole_share: float = 0.5  # of samples that have W and K in any case: what files are made with

    def check(self, window: int, history: int) -> None:
        """Raises: ValueError where these do not fit windows and histories of so many frames."""
        for name, least, most in (
            ("window", self.min_window, window),
            ("history", self.min_history, history),
        ):
            if least is not None and not 2 <= least <= most:
                raise ValueError(f"lengths.min_{name}={least}; wanted 2 to {most}, or null.")
        if not 0 <= self.whole_share <= 1:
            raise ValueError(f"lengths.whole_share={self.whole_share}; wanted 0 to 1.")


@dataclass(kw_only=True, slots=True)
class ScheduleConfig:
    """The forward process; not given in the paper. Cosine, T = 500, as in DiffPoseTalk, which VASA-1 cites
    for its transformer.
    """

    num_train_steps: int = 500  # T
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
    smoothed: str = "pose"  # what these two terms see: pose, or all (which irons blinks out)

    def __post_init__(self) -> None:
        if self.smoothed not in ("pose", "all"):
            raise ValueError(f"objective.smoothed={self.smoothed!r}; wanted pose or all.")


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
    window_frames: int | None = None  # of a window as it is drawn, at most W; None: W
    lookahead_frames: int = 0
    """Frames at a window's end that are drawn, thrown away and drawn again at the next window's start: every
    frame given out has then at least so much sound after it. None in the paper.
    """
    unheard_frames: int = 0
    """Of these, the last ones, whose sound is not waited for: live speech is answered before it is there. A
    model that was trained with ``dropout.audio_tail`` knows windows whose sound ends early."""
    neutral: bool = False
    """What is drawn where nobody names an emotion: True a neutral face, False what the sound suggests, as the
    paper. A small model of many moods picks one at random, so it does better with the first.
    """
    baked: bool = False
    """True for a student (``training/distill_step.py``): its ``steps`` evaluations make what its teacher made
    with ``guidance``, which is part of the weights now; neither can be chosen any more.
    """

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"sampler.steps={self.steps}; wanted at least 1.")
        if self.lookahead_frames < 0:
            raise ValueError(f"sampler.lookahead_frames={self.lookahead_frames}; wanted at least 0.")
        if not 0 <= self.unheard_frames <= self.lookahead_frames:
            raise ValueError(
                f"sampler.unheard_frames={self.unheard_frames}; wanted 0 to lookahead_frames="
                f"{self.lookahead_frames}: a frame that is given out has been heard."
            )


@dataclass(kw_only=True, slots=True)
class MotionConfig:
    """Everything of stage 2 that a checkpoint must remember."""

    window_frames: int = 100  # W, not given; DiffPoseTalk's
    history_frames: int = 10  # K, not given; DiffPoseTalk's
    lengths: LengthsConfig = field(default_factory=LengthsConfig)
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
        self.lengths.check(self.window_frames, self.history_frames)
        check_window(
            self.sampler.window_frames or self.window_frames,
            self.sampler.lookahead_frames,
            self.window_frames,
        )

    @property
    def hop_frames(self) -> int:
        """Frames given out of a window unless others are asked for: windows meet this often."""
        return (self.sampler.window_frames or self.window_frames) - self.sampler.lookahead_frames


def check_window(window: int, lookahead: int, most: int) -> None:
    """Whether windows of so many frames, so many of them thrown away, can be drawn. Raises: ValueError."""
    if not 2 <= window <= most:
        raise ValueError(
            f"windows of {window} frames are asked for; wanted 2 to {most}, which this model was built for."
        )
    if window - lookahead < 2:
        raise ValueError(
            f"windows of {window} frames of which lookahead_frames={lookahead} are thrown away leave fewer "
            "than the two that the next window goes on from."
        )
