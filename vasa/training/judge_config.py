"""Options of the runs that train judges, teachers and the aligner. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.data.config import (
    JUDGE_SEEDS,
    QUALITIES,
    EmotionClipsConfig,
    PoolConfig,
    PoseClipsConfig,
    VideoPoolConfig,
    check_split,
)
from vasa.pretrained.config import (
    CappNetConfig,
    EmotionNetConfig,
    IdentityNetConfig,
    LandmarkNetConfig,
    MatteNetConfig,
    RegionNetConfig,
    SyncNetConfig,
    VideoNetConfig,
)
from vasa.training.config import LoopConfig, OptimizerConfig

NUM_CONTROLS = 11  # of records.py, which imports torch
WITHOUT_POOLS = ("emotion", "capp", "syncnet", "video")
"""Kinds that learn from clips of their own."""
SECTIONS = {
    "landmarks": ("landmarks", "augment"),
    "expression": ("regions", "augment"),
    "emotion": ("emotion", "emotion_clips"),
    "identity": ("identity", "augment"),
    "capp": ("capp", "capp_clips", "capp_validation"),
    "syncnet": ("syncnet", "sync_clips", "sync_validation"),
    "video": ("video", "video_clips", "video_validation"),
    "matte": ("matte", "augment"),
}
"""The sections of JudgeConfig that a kind reads."""


@dataclass(kw_only=True, slots=True)
class SyncClipsConfig:
    """Talking mouths with their sound, of people of the judges' own, rendered once."""

    cache: Path = Path("data/judge_pools/sync")  # a folder in it for every config
    split: str = "train"  # whose voices speak
    seed: int = 8_000_000  # of the speech, and the first person
    num_clips: int = 480  # each of another person
    frames: int = 48  # of each
    randomised_share: float = 0.3  # of people, with random textures
    espeak_share: float = 0.67  # of voices; above 0 needs the training extra
    recordings: int = 2  # of each clip's speech besides the clean one: rooms, microphones, noise
    size: int = 128  # px of the rendered frame
    quality: str = "draft"
    room: float = 1.3  # what is kept around the mouth, in sides of the network's view

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.seed not in JUDGE_SEEDS or self.seed + self.num_clips - 1 not in JUDGE_SEEDS:
            raise ValueError(f"sync clips: people from {self.seed} on lie outside {JUDGE_SEEDS}.")
        if self.quality not in QUALITIES or self.recordings < 0 or self.room < 1:
            raise ValueError(
                f"sync clips: quality {self.quality!r} is unknown, recordings {self.recordings} is negative "
                f"or room {self.room} below 1."
            )


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

    kind: str = "landmarks"  # landmarks, expression, emotion, identity, capp, syncnet, video or matte
    pools: list[str] = field(
        default_factory=list
    )  # in TrainJudgesRun.pools; emotion, capp, syncnet and video need none
    validation_pools: list[str] = field(default_factory=list)
    seed: int = 0
    steps: int = 1000
    batch_size: int | None = None  # samples a step; None: the loop's
    learning_rate: float = 1.5e-3
    landmarks: LandmarkNetConfig = field(default_factory=LandmarkNetConfig)
    regions: RegionNetConfig = field(default_factory=RegionNetConfig)
    identity: IdentityNetConfig = field(default_factory=IdentityNetConfig)
    emotion: EmotionNetConfig = field(default_factory=EmotionNetConfig)
    emotion_clips: EmotionClipsConfig = field(default_factory=EmotionClipsConfig)
    stretch_frames: int = 12  # whose mean expression the emotion is read from
    reader: str = "judge_expression"  # the expression network through which emotion is read
    # what that one gets wrong in such a mean, by control: standard deviations, learned under
    reading_noise: list[float] = field(
        default_factory=lambda: [0.04, 0.03, 0.07, 0.07, 0.14, 0.09, 0.04, 0.1, 0.05, 0.09, 0.1]
    )
    capp: CappNetConfig = field(default_factory=CappNetConfig)
    capp_clips: PoseClipsConfig = field(default_factory=PoseClipsConfig)
    capp_validation: PoseClipsConfig = field(
        default_factory=lambda: PoseClipsConfig(split="validation", num_clips=240, seconds=4.0)
    )
    syncnet: SyncNetConfig = field(default_factory=SyncNetConfig)
    sync_clips: SyncClipsConfig = field(default_factory=SyncClipsConfig)
    sync_validation: SyncClipsConfig = field(
        default_factory=lambda: SyncClipsConfig(
            split="validation",
            seed=6_900_000,
            num_clips=40,
            frames=95,
            randomised_share=0.0,
            recordings=0,
            room=1.0,
        )
    )
    sync_windows: int = 32  # neighbouring windows of each clip in a batch
    video: VideoNetConfig = field(default_factory=VideoNetConfig)
    video_clips: VideoPoolConfig = field(default_factory=lambda: VideoPoolConfig(first_seed=7_000_000))
    video_validation: VideoPoolConfig = field(
        default_factory=lambda: VideoPoolConfig(first_seed=7_500_000, num_people=32, randomised_share=0.0)
    )
    matte: MatteNetConfig = field(default_factory=MatteNetConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if self.kind not in SECTIONS:
            raise ValueError(f"judge kind {self.kind!r} is unknown; wanted one of {', '.join(SECTIONS)}.")
        if len(self.reading_noise) != NUM_CONTROLS or not 1 <= self.stretch_frames <= 16:
            raise ValueError("judge: wanted reading_noise of 11 numbers, stretch_frames of 1 to 16.")


@dataclass(kw_only=True, slots=True)
class TrainJudgesRun:
    """Trains some or all of the frozen stand-in networks and exports them."""

    only: list[str] = field(default_factory=list)  # names in `judges`, with or without judge_; empty: all
    target: str = ""  # the same for one: target=capp
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
        asked = [*self.only, self.target] if self.target else self.only
        self.only = [f"judge_{name}" if f"judge_{name}" in self.judges else name for name in asked]
        unknown = [name for name in self.only if name not in self.judges]
        if unknown:
            raise ValueError(f"only={unknown} is unknown; wanted some of {', '.join(self.judges)}.")
        for name, judge in self.judges.items():
            missing = [pool for pool in [*judge.pools, *judge.validation_pools] if pool not in self.pools]
            if missing or (not judge.pools and judge.kind not in WITHOUT_POOLS):
                raise ValueError(
                    f"judges.{name} learns from pools {judge.pools}, of which {missing} do not exist."
                )
