"""Options of the run that measures a checkpoint. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from vasa.data.config import QUALITIES, TrialsConfig
from vasa.data.synthetic.config import DosesConfig
from vasa.pretrained.config import DetectorConfig


@dataclass(kw_only=True, slots=True)
class BenchmarkDemoRun:
    """Recomputes the table of numbers of a checkpoint folder."""

    checkpoint: Path = Path("checkpoints/demo")
    judges: Path = Path("checkpoints/judges")
    media: Path | None = (
        None  # folder with audio/, image/ and video/ of real people; None: those rows stay empty
    )
    output: Path = Path("outputs/benchmark_demo")  # benchmark.json, benchmark.md
    psnr_gain_db: float = 7.0  # wanted of self-reenactment: 7 for a checkpoint trained on CPUs, 10 on a GPU
    device: str = "cpu"
    threads: int = 1  # of torch; frames per second are those of one core
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    trials: TrialsConfig = field(default_factory=TrialsConfig)


SYNC_PROTOCOLS = ("demo", "pipeline")


@dataclass(kw_only=True, slots=True)
class SyncMetricConfig:
    """How lips are scored against sound. The defaults are those of SyncNet's published code."""

    weights: Path | None = None  # the published syncnet_v2.model; None: the stand-in among the judges
    protocol: str = "pipeline"  # pipeline finds and crops the face; demo: the video already is such a crop
    resize: bool = False  # demo: scale a square crop of another size to 224 px instead of refusing it
    max_shift: int = 15  # frames that sound is shifted either way
    min_track: int = 100  # pipeline: a face must be seen in more frames
    min_face_px: float = 100.0  # pipeline: the mean longer side of its box must be larger
    num_frames: int = 0  # scored of each clip, so that lengths are equal; shorter ones are refused; 0: all
    batch_size: int = 20  # windows at once; changes memory only

    def __post_init__(self) -> None:
        if self.protocol not in SYNC_PROTOCOLS:
            raise ValueError(
                f"sync.protocol is {self.protocol!r}; wanted one of {', '.join(SYNC_PROTOCOLS)}."
            )
        if min(self.max_shift, self.min_track, self.batch_size) < 1 or self.min_face_px < 0:
            raise ValueError(
                f"sync: max_shift {self.max_shift}, min_track {self.min_track}, batch_size {self.batch_size} "
                f"must be at least 1, min_face_px {self.min_face_px} at least 0."
            )
        if self.num_frames and self.num_frames < 6:
            raise ValueError(f"sync.num_frames is {self.num_frames}; wanted at least 6, or 0 for all.")


METRICS = ("sync", "capp", "pose", "fvd", "identity", "quality", "liveliness", "controls", "truth")


@dataclass(kw_only=True, slots=True)
class MeasureConfig:
    """What is measured, and by which networks. Networks without a file given are our stand-ins."""

    metrics: list[str] = field(default_factory=lambda: list(METRICS))
    judges: Path = Path("checkpoints/judges")
    sync: SyncMetricConfig = field(default_factory=SyncMetricConfig)
    i3d: Path | None = None  # i3d_pretrained_400.pt, for FVD
    inception: Path | None = None  # FID's Inception
    alexnet: Path | None = None  # for LPIPS; None: no LPIPS
    arcface: Path | None = None  # an ArcFace .onnx, for identity
    min_windows: int = 256  # of 25 frames: under so many FVD has no number
    min_frames: int = 2048  # under so many FID has no number
    seed: int = 0  # of bootstrap intervals and split halves
    device: str = "auto"
    threads: int = 1  # of torch, in each process
    workers: int = 1  # processes that measure at once
    detector: DetectorConfig = field(default_factory=DetectorConfig)

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics:
            raise ValueError(f"metrics={unknown or self.metrics}; wanted some of {', '.join(METRICS)}.")
        if min(self.min_windows, self.min_frames) < 2 or min(self.threads, self.workers) < 1:
            raise ValueError(
                f"min_windows is {self.min_windows}, min_frames {self.min_frames}, threads {self.threads}, "
                f"workers {self.workers}; wanted at least 2, 2, 1 and 1."
            )


@dataclass(kw_only=True, slots=True)
class EvalRun(MeasureConfig):
    """Measures anybody's videos. Networks without a file given are our stand-ins."""

    videos: Path = Path(
        "outputs/table"
    )  # folder of videos, or of folders of them: one row each, `real` first
    audio: Path | None = None  # folder of sounds of the same names; None: the videos' own
    reference: Path | None = (
        None  # folder of true videos: same names are compared frame by frame, all as sets
    )
    portraits: Path | None = None  # folder of pictures of the same names, for identity
    out: Path = Path("outputs/eval")  # table.md, .json, .html, clips.jsonl and the cache


@dataclass(kw_only=True, slots=True)
class CalibrateRun(MeasureConfig):
    """What does each metric see? Gives known faults to synthetic clips, in doses, and measures the response.

    Networks without a file given are our stand-ins; the same command with files of published weights repeats
    it for those.
    """

    out: Path = Path("outputs/calibration")  # the report, the clips and the cache
    num_clips: int = 8  # each with every fault at every dose
    seconds: float = 4.0  # of each clip
    size: int = 128  # px
    quality: str = "full"  # of the renderer: draft or full
    seed: int = 0  # of the clips and the faults' noise, of bootstrap intervals and split halves
    doses: DosesConfig = field(default_factory=DosesConfig)

    def __post_init__(self) -> None:
        MeasureConfig.__post_init__(self)
        if self.num_clips < 2:
            raise ValueError(
                f"num_clips is {self.num_clips}; wanted at least 2: a response is held against the spread "
                "between clips."
            )
        if self.seconds < 1 or self.size % 2 or not 64 <= self.size <= 512:
            raise ValueError(
                f"seconds is {self.seconds}, size {self.size}; wanted at least 1, and an even 64 to 512."
            )
        if self.quality not in QUALITIES:
            raise ValueError(f"quality is {self.quality!r}; wanted one of {', '.join(QUALITIES)}.")
        if not any(getattr(self.doses, one.name) for one in fields(self.doses)):
            raise ValueError("doses has none of any fault; wanted at least one, such as doses.blur=[1,2].")
