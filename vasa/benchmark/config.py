"""Options of the benchmark and of the training plan. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.data.config import ClipPairsConfig
from vasa.preprocess.config import SegmentConfig
from vasa.preprocess.signals_config import SignalsConfig, SyncOffsetConfig
from vasa.pretrained.config import DetectorConfig, MatteConfig

ALL_PARTS = ("end", "stream", "faces", "keypoints", "startup")


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
class BenchmarkKeypointsRun:
    """What a frame of LivePortrait's space and a step of JoyVASA take, plain and optimised."""

    output: Path = Path("outputs/benchmark")  # folder of keypoints.json and keypoints.md
    rounds: int = 5  # of processor time, whose medians count
    narrow: int = 1  # divides the widths of the face's networks; published ones have 1

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}; wanted at least 1.")


@dataclass(kw_only=True, slots=True)
class BenchmarkAllRun:
    """What everything takes, from start-up to a finished video and a live talk; or, with vs, how this tree
    compares with another commit.
    """

    # with commas: end (files, end to end), stream, faces (what a frame costs), keypoints, startup
    parts: str = "end,stream,faces,keypoints,startup"
    # a commit, branch or tag: the same videos are made by its code and by this tree's, in turns, in place of
    # the parts
    vs: str | None = None
    output: Path = Path("outputs/benchmark")  # folder of all.json and all.md; with vs of vs.json and vs.md
    checkpoint: Path = Path("checkpoints/demo")
    image: Path | None = None  # portrait of the videos and talks; None: a synthetic one
    device: str = "auto"  # auto, cpu, cuda or mps
    threads: int = 1  # CPU threads of torch
    fast: bool | None = None  # the motion model's student; null: as infer.py and stream.py have it
    sizes: str = "128,256,512"  # px of videos and talks, with commas; vs takes the first
    batches: str = "1,8"  # frames rendered at once, with commas; talks render by the hop; vs takes the last
    # ways of computing a video (vasa/benchmark/variants.py), with commas; empty: those of the device
    variants: str = ""
    rounds: int = 6  # in turns, of everything that is compared
    clip_seconds: float = 4.0  # of synthetic speech in a video
    seconds: float = 10.0  # of a live talk
    face: str = "demo,fast,default,paper"  # names of configs/face, of which a frame is counted and timed
    narrow: int = 1  # divides the widths of the keypoint networks; published ones have 1

    def __post_init__(self) -> None:
        unknown = set(self.chosen_parts) - set(ALL_PARTS)
        if unknown or not self.chosen_parts:
            raise ValueError(f"parts is {self.parts!r}; wanted some of {', '.join(ALL_PARTS)}, with commas.")
        for name, numbers in (("sizes", self.sizes), ("batches", self.batches)):
            if not all(number.strip().isdigit() and int(number) for number in numbers.split(",")):
                raise ValueError(f"{name} is {numbers!r}; wanted numbers from 1, with commas.")
        if self.rounds < 2 or min(self.threads, self.narrow) < 1:
            raise ValueError(
                f"rounds is {self.rounds}, threads {self.threads}, narrow {self.narrow}; wanted at least 2, "
                "1 and 1."
            )
        if not 0.04 <= self.clip_seconds <= 3600 or not 0.2 <= self.seconds <= 3600:
            raise ValueError(
                f"clip_seconds is {self.clip_seconds:g} and seconds {self.seconds:g}; wanted 0.04 to 3600, "
                "and 0.2 to 3600."
            )

    @property
    def chosen_parts(self) -> list[str]:
        return [part.strip() for part in self.parts.split(",") if part.strip()]

    @property
    def sizes_px(self) -> list[int]:
        return [int(size) for size in self.sizes.split(",")]

    @property
    def batch_sizes(self) -> list[int]:
        return [int(batch) for batch in self.batches.split(",")]

    @property
    def chosen_variants(self) -> list[str]:
        return [name.strip() for name in self.variants.split(",") if name.strip()]

    @property
    def faces(self) -> list[str]:
        return _names("face", self.face, "face")


@dataclass(kw_only=True, slots=True)
class LoaderBenchmark:
    """How many samples a second stage 1's pairs of real clips are read at."""

    clips: ClipPairsConfig = field(default_factory=ClipPairsConfig)
    workers: str = "1,2,4,8,14"  # with commas: measured as processes, and as threads of one (loop.workers)
    batch_size: int = 8  # samples that a worker prepares at a time
    seconds: float = 10.0  # of each measurement, after a first batch of every worker

    def __post_init__(self) -> None:
        if not all(name.strip().isdigit() and int(name) for name in self.workers.split(",")):
            raise ValueError(f"workers is {self.workers!r}; wanted numbers from 1, with commas.")
        if self.batch_size < 1 or self.seconds <= 0:
            raise ValueError(
                f"batch_size is {self.batch_size} and seconds {self.seconds}; wanted at least 1, and above 0."
            )

    @property
    def counts(self) -> list[int]:
        return [int(name) for name in self.workers.split(",")]


@dataclass(kw_only=True, slots=True)
class BenchmarkDataRun:
    """What preprocessing costs by step, and at what rate training reads what came of it."""

    root: Path | None = None  # folder of videos; None: procedural heads, recorded at the sizes of from_px
    from_px: str = "224,512"  # with commas
    seconds: float = 60.0  # of video that are recorded at each
    size: int = 256  # px of the clips
    masks: bool = True
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    signals: SignalsConfig = field(default_factory=SignalsConfig)
    sync: SyncOffsetConfig = field(default_factory=SyncOffsetConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    matte: MatteConfig = field(default_factory=MatteConfig)
    device: str = "cpu"  # of the networks
    workers: str = "1,2"  # of the loader, with commas: as processes, and as threads; empty: not measured
    loader_seconds: float = 10.0  # of each measurement of the loader
    output: Path = Path("outputs/benchmark_data")  # data.json, data.md, the recordings and the clips

    def __post_init__(self) -> None:
        if not all(px.strip().isdigit() and 96 <= int(px) <= 2160 for px in self.from_px.split(",")):
            raise ValueError(f"from_px is {self.from_px!r}; wanted numbers from 96 to 2160, with commas.")
        if self.size % 2 or not 64 <= self.size <= 1024:
            raise ValueError(f"size is {self.size}; wanted an even number from 64 to 1024.")
        if not all(count.strip().isdigit() for count in self.workers.split(",") if count.strip()):
            raise ValueError(f"workers is {self.workers!r}; wanted numbers from 1, with commas, or nothing.")
        if self.seconds <= 0 or self.loader_seconds <= 0:
            raise ValueError(
                f"seconds is {self.seconds}, loader_seconds {self.loader_seconds}; wanted more than 0."
            )

    @property
    def sizes(self) -> list[int]:
        return [2 * (int(px) // 2) for px in self.from_px.split(",")]

    @property
    def counts(self) -> list[int]:
        return [int(count) for count in self.workers.split(",") if count.strip()]


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
    clip_seconds: float = 7.8  # mean length of an utterance (Chung et al. 2018)
    masks: bool = True  # stored with the frames, as scripts/preprocess.py has it
    keep_states: int = 3  # training states on disk at once, one of them being written

    def __post_init__(self) -> None:
        if not 0 < self.efficiency_low <= self.efficiency_high <= 1:
            raise ValueError(
                f"efficiency_low is {self.efficiency_low} and efficiency_high {self.efficiency_high}; wanted "
                "0 to 1, the low one first."
            )
        if min(self.batch or 1, self.steps or 1, self.transfer_every, self.keep_states) < 1:
            raise ValueError("batch, steps, transfer_every and keep_states must be at least 1.")
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
