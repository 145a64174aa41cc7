"""Options of the runs that train judges, teachers and the aligner. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.data.config import EmotionClipsConfig, PoolConfig
from vasa.pretrained.config import EmotionNetConfig, IdentityNetConfig, LandmarkNetConfig, RegionNetConfig
from vasa.training.config import LoopConfig, OptimizerConfig

NUM_CONTROLS = 11  # of records.py, which imports torch
KINDS = ("landmarks", "expression", "emotion", "identity")


@dataclass(kw_only=True, slots=True)
class AugmentConfig:
    """How far the pixels a judge learns from stray from the renderer's. Shares are of the pictures."""

    crops: bool = False  # move the crop: for networks that must find the face themselves
    scale_low: float = 0.6  # of the face in the crop
    scale_high: float = 1.6
    shift: float = 0.25  # of the crop's width, either way
    roll: float = 0.52  # radians, either way
    faceless: float = 0.0  # share of pictures whose face is destroyed, to learn confidence from
    occlude: float = 0.15
    background: float = 0.5
    colour: float = 1.0  # strength
    blur: float = 0.3
    noise: float = 0.15  # largest standard deviation, pixels being in [-1, 1]
    landmark_noise: float = (
        0.012  # standard deviation, in image coordinates, where crops are cut by landmarks
    )

    def __post_init__(self) -> None:
        if not 0 < self.scale_low <= self.scale_high:
            raise ValueError(
                f"augment: scale_low {self.scale_low} and scale_high {self.scale_high} are no range."
            )
        for name in ("faceless", "occlude", "background", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augment.{name}={getattr(self, name)}; wanted a share between 0 and 1.")


@dataclass(kw_only=True, slots=True)
class JudgeConfig:
    """One network to train. kind says which of the sizes below is read."""

    kind: str = "landmarks"  # landmarks, expression, emotion or identity
    pools: list[str] = field(default_factory=list)  # names in TrainJudgesRun.pools; emotion needs none
    validation_pools: list[str] = field(default_factory=list)
    seed: int = 0
    steps: int = 1000
    learning_rate: float = 1.5e-3
    landmarks: LandmarkNetConfig = field(default_factory=LandmarkNetConfig)
    regions: RegionNetConfig = field(default_factory=RegionNetConfig)
    identity: IdentityNetConfig = field(default_factory=IdentityNetConfig)
    emotion: EmotionNetConfig = field(default_factory=EmotionNetConfig)
    emotion_clips: EmotionClipsConfig = field(default_factory=EmotionClipsConfig)
    stretch_frames: int = 12  # whose mean expression the emotion is read from
    # what the expression judge gets wrong in such a mean, by control: standard deviations, learned under
    reading_noise: list[float] = field(
        default_factory=lambda: [0.04, 0.05, 0.07, 0.07, 0.18, 0.15, 0.05, 0.14, 0.08, 0.1, 0.1]
    )
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"judge kind {self.kind!r} is unknown; wanted one of {', '.join(KINDS)}.")
        if len(self.reading_noise) != NUM_CONTROLS or not 1 <= self.stretch_frames <= 16:
            raise ValueError("judge: wanted reading_noise of 11 numbers, stretch_frames of 1 to 16.")


@dataclass(kw_only=True, slots=True)
class TrainJudgesRun:
    """Trains some or all of the frozen stand-in networks and exports them."""

    only: list[str] = field(default_factory=list)  # names in `judges`; empty: all
    run_dir: Path = Path("checkpoints/judge_runs")  # one folder per network: states, logs
    output: Path = Path("checkpoints/judges")
    pool_dir: Path = Path("data/judge_pools")
    pools: dict[str, PoolConfig] = field(default_factory=dict)
    judges: dict[str, JudgeConfig] = field(default_factory=dict)
    validation_frames: int = 600  # of each validation pool
    loop: LoopConfig = field(default_factory=LoopConfig)  # steps and seed are each judge's own
    optimizer: OptimizerConfig = field(
        default_factory=OptimizerConfig
    )  # the learning rate is each judge's own

    def __post_init__(self) -> None:
        unknown = [name for name in self.only if name not in self.judges]
        if unknown:
            raise ValueError(f"only={unknown} is unknown; wanted some of {', '.join(self.judges)}.")
        for name, judge in self.judges.items():
            missing = [pool for pool in [*judge.pools, *judge.validation_pools] if pool not in self.pools]
            if missing or (not judge.pools and judge.kind != "emotion"):
                raise ValueError(
                    f"judges.{name} learns from pools {judge.pools}, of which {missing} do not exist."
                )
