"""Options of the benchmark and of the training plan. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


def _names(option: str, text: str, folder: str) -> list[str]:
    """``[a,b]`` or ``a,b`` -> the names."""
    names = [name.strip() for name in text.strip("[] ").split(",")]
    if not all(names):
        raise ValueError(f"{option} is {text!r}; wanted names of configs/{folder}, with commas.")
    return names


@dataclass(kw_only=True, slots=True)
class BenchmarkRun:
    """What a frame of each network costs, counted and measured."""

    # names of configs/face, with commas; measured in turns, so that their ratios hold on a busy machine
    face: str = "demo,fast,default,paper"
    output: Path = Path("outputs/benchmark")  # folder of face.json and face.md
    rounds: int = 3  # of CPU time, whose median counts; 0 only counts operations
    gpu_batch: int = 8  # frames, and training samples, of the batched measurements on a CUDA device
    gpu_seconds: float = 3.0  # of each measurement there

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.gpu_batch < 1 or self.gpu_seconds <= 0:
            raise ValueError(
                f"rounds is {self.rounds}, gpu_batch {self.gpu_batch}, gpu_seconds {self.gpu_seconds}; "
                "wanted at least 0, at least 1 and more than 0."
            )

    @property
    def faces(self) -> list[str]:
        return _names("face", self.face, "face")


@dataclass(kw_only=True, slots=True)
class PlanTrainingRun:
    """Hours, memory and disk that training stage 1 takes on given GPUs, from counted operations."""

    # names of configs/experiment/train_face, with commas, planned as they ship; empty: none
    recipes: str = "pose_teacher,voxceleb2,paper"
    # names of configs/face, planned with all terms on MegaPortraits' schedule; empty: none
    face: str = "paper,paper_256,default"
    gpus: str = "4xA6000"  # number x name: A6000, A100, H100, H200 or 4090
    # for face=. GLOBAL; null: MegaPortraits', 24 up to 256 px and 16 above
    batch: int | None = None
    steps: int | None = None  # for face=; null: MegaPortraits', 200,000 up to 256 px and 300,000 above
    transfer_share: float = 0.25  # for face=: of a batch that swapped codes are rendered for
    transfer_every: int = 4  # for face=: steps between such renderings
    efficiency_low: float = 0.25  # share of the GPUs' dense bf16 rate that training reaches, assumed
    efficiency_high: float = 0.40
    num_clips: int = 1_128_246  # of the data set: VoxCeleb2's utterances (Chung et al. 2018, table 1)
    max_frames: int = 64  # stored of each clip; this and masks as scripts/preprocess.py has them
    masks: bool = True
    keep_states: int = 3  # training states on disk at once, one of them being written

    def __post_init__(self) -> None:
        if not 0 < self.efficiency_low <= self.efficiency_high <= 1:
            raise ValueError(
                f"efficiency_low is {self.efficiency_low} and efficiency_high {self.efficiency_high}; wanted "
                "0 to 1, the low one first."
            )
        if min(self.batch or 1, self.steps or 1, self.transfer_every, self.keep_states, self.max_frames) < 1:
            raise ValueError("batch, steps, transfer_every, keep_states and max_frames must be at least 1.")
        if not 0 <= self.transfer_share <= 1 or self.num_clips < 0:
            raise ValueError(
                f"transfer_share is {self.transfer_share}, num_clips {self.num_clips}; "
                "wanted 0 to 1, and at least 0."
            )

    @property
    def faces(self) -> list[str]:
        return _names("face", self.face, "face") if self.face else []

    @property
    def experiments(self) -> list[str]:
        return _names("recipes", self.recipes, "experiment/train_face") if self.recipes else []
