"""Sizes and settings of a JoyVASA motion model, torch-free: what a checkpoint must remember.

The defaults are those of the released file, motion_generator_hubert_chinese.pt.
"""

from __future__ import annotations

from dataclasses import dataclass, field

POSITIONS = ("legacy", "fixed")
SCHEDULES = ("cosine", "linear", "quadratic", "sigmoid")
TARGETS = ("sample", "noise")
HUBERT_HEAD_DIM = 64
"""Width of an attention head in every published HuBERT; the number of heads follows from it."""


@dataclass(kw_only=True, slots=True)
class HubertSizes:
    """The speech encoder inside. The defaults are HuBERT-base (Hsu et al. 2021); kernels and strides of its
    front end, 320 samples a step, are the same in all sizes.
    """

    width: int = 768
    num_layers: int = 12
    feedforward: int = 3072
    conv_width: int = 512
    position_kernel: int = 128
    position_groups: int = 16

    def __post_init__(self) -> None:
        if self.width % HUBERT_HEAD_DIM or self.width % self.position_groups:
            raise ValueError(
                f"hubert.width={self.width}; wanted a multiple of {HUBERT_HEAD_DIM}, the width of a head, "
                f"and of position_groups={self.position_groups}."
            )


@dataclass(kw_only=True, slots=True)
class JoyvasaConfig:
    """The denoiser, its diffusion and its speech encoder."""

    motion_dim: int = 73
    """Entries of a frame: 70 are used (``joyvasa_template``); the released file has three more for an emotion
    that nobody gives it.
    """
    window_frames: int = 100  # L
    history_frames: int = 10  # P
    width: int = 256
    num_layers: int = 8
    num_heads: int = 8
    feedforward: int = 1024
    position_rows: int = 600
    step_rows: int = 501
    num_steps: int = 50  # T
    schedule: str = "cosine"
    target: str = "sample"
    """What the network estimates: the clean motion, or the noise."""
    position: str = "legacy"
    """legacy: every token gets row P + L of the table, as the file was trained; fixed: each its own row."""
    hubert: HubertSizes = field(default_factory=HubertSizes)
    guidance_scale: float = 2.8
    """x_0 = x_0(null) + scale (x_0(audio) - x_0(null)); of upstream's command line."""

    def __post_init__(self) -> None:
        for name, known in (("position", POSITIONS), ("schedule", SCHEDULES), ("target", TARGETS)):
            if getattr(self, name) not in known:
                raise ValueError(f"joyvasa.{name}={getattr(self, name)!r}; wanted one of {', '.join(known)}.")
        tokens = self.history_frames + self.window_frames
        if self.history_frames < 1 or self.window_frames < self.history_frames:
            raise ValueError(
                f"joyvasa.history_frames={self.history_frames} with window_frames={self.window_frames}; "
                "wanted 1 <= history <= window."
            )
        if tokens >= self.position_rows or self.num_steps >= self.step_rows:
            raise ValueError(
                f"joyvasa: {tokens} tokens and {self.num_steps} steps; wanted fewer than position_rows="
                f"{self.position_rows} and step_rows={self.step_rows}."
            )
        if self.width % (2 * self.num_heads):
            raise ValueError(
                f"joyvasa.width={self.width} with num_heads={self.num_heads}; wanted a multiple of 2x it."
            )


@dataclass(kw_only=True, slots=True)
class JoyvasaObjectiveConfig:
    """Weights of the eight loss terms and what training hides; the values of JoyVASA's training script."""

    criterion: str = "l2"  # or l1
    all: float = 1.0
    exp: float = 0.1
    exp_velocity: float = 1e-4
    exp_smoothness: float = 1e-4
    head: float = 1e-2
    head_velocity: float = 1e-2
    head_smoothness: float = 1e-2
    head_transition: float = 1e-2
    null_audio: float = 0.1
    """Share of samples whose audio is replaced by the null vector, for guidance."""
    cut_first: float = 0.3
    cut_second: float = 0.4
    """Shares of first and second windows that end at a random frame."""

    def __post_init__(self) -> None:
        if self.criterion not in ("l1", "l2"):
            raise ValueError(f"objective.criterion={self.criterion!r}; wanted l1 or l2.")
