"""Options of preprocessing. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.data.config import EncodeConfig, SplitConfig
from vasa.preprocess.signals_config import NONE, SignalsConfig, SyncOffsetConfig
from vasa.pretrained.config import DetectorConfig, MatteConfig
from vasa.supervised import ENGINES

LAYOUTS = ("voxceleb2", "folder", "long")


@dataclass(kw_only=True, slots=True)
class SourceConfig:
    """Which videos there are, and who speaks in them."""

    root: Path  # the data set's folder
    layout: str = (
        "folder"  # voxceleb2: its own tree; folder: any; long: recordings of minutes, many clips each
    )
    name: str = ""  # what the manifest calls the data set; empty: the layout
    # of a file's folders below root, how many say who speaks: 1 is the first; 0: each file is a speaker of
    # its own (long: its name without the number at its end). VoxCeleb2's tree says it itself
    speaker_depth: int = 0
    need_audio: bool = True  # a video without sound is rejected; false: it is kept, with silence

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"data.layout is {self.layout!r}; wanted one of {', '.join(LAYOUTS)}.")
        if not 0 <= self.speaker_depth <= 8:
            raise ValueError(f"data.speaker_depth is {self.speaker_depth}; wanted 0 to 8 folders.")
        self.name = self.name or self.layout


@dataclass(kw_only=True, slots=True)
class SegmentConfig:
    """How a video is cut into clips of one person."""

    # VASA-1 speaks of clips of 5 to 15 s in its evaluation; longer stretches become several
    min_seconds: float = 5.0
    max_seconds: float = 15.0
    detect_hz: float = 2.0  # looks for faces, besides one at the start of each shot
    second_face: float = 0.3  # area of another face, of the largest, from which it counts as a second person
    # the face's way from the crop's middle, in sides of the crop, up and down counting one and a half times;
    # beyond it the chin or an ear leaves the picture (seen at 0.24 down, and at 0.26 aside)
    max_drift: float = 0.25

    def __post_init__(self) -> None:
        if not (self.min_seconds >= 0.2 and 2 * self.min_seconds <= self.max_seconds <= 60):
            raise ValueError(
                f"segments.min_seconds is {self.min_seconds}, max_seconds {self.max_seconds}; wanted at "
                "least 0.2, and from twice as much to 60: else a long stretch has no parts of allowed length."
            )
        if not 0.2 <= self.detect_hz <= 25:
            raise ValueError(f"segments.detect_hz is {self.detect_hz}; wanted 0.2 to 25.")
        if not 0 < self.second_face <= 1 or not 0 < self.max_drift <= 0.45:
            raise ValueError(
                f"segments.second_face is {self.second_face}, max_drift {self.max_drift}; wanted above 0, up "
                "to 1 and 0.45."
            )


@dataclass(kw_only=True, slots=True)
class QualityConfig:
    """What a clip must be to be kept. 0 turns a rule off; what is measured is in the manifest anyway."""

    max_enlarge: float = 2.0  # how many times a crop may be enlarged to reach its size
    min_blur: float = 0.0  # sharpness, see preprocess/quality.py; 0.02 and less is soft
    min_brightness: float = 0.08  # mean luma, 0 to 1
    max_brightness: float = 0.92
    max_clipped: float = 0.5  # share of pixels that are black or white
    min_side_px: float = 0.0  # pixels of the video that the crop's side covers
    max_yaw_range: float = 0.0  # degrees between the head's extreme turns, by the signals
    max_pitch_range: float = 0.0
    iqa: Path | None = None  # model of perceived quality, see preprocess/quality.py
    min_iqa: float = 0.0

    def __post_init__(self) -> None:
        numbers = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("iqa", "min_iqa")
        }
        wrong = [f"quality.{name}={value}" for name, value in numbers.items() if not value >= 0]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: wanted 0, which turns a rule off, or more.")
        if self.min_iqa and self.iqa is None:
            raise ValueError(
                f"quality.min_iqa is {self.min_iqa} but nothing scores; give quality.iqa=FILE too."
            )


@dataclass(kw_only=True, slots=True)
class PreprocessRun:
    """Videos of talking people into shards of clips, with a row of the manifest for every input."""

    data: SourceConfig
    out: Path  # folder of the shards and their manifest; the same command carries on
    size: int = 256  # px of the frames' sides
    masks: bool = True  # store who is foreground, too, for losses that leave the background out
    mask_stride: int = 2  # every so many frames are looked at for it; between them is what lies between
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    sync: SyncOffsetConfig = field(default_factory=SyncOffsetConfig)
    min_sync_confidence: float = 0.0  # clips below are rejected; needs sync.weights. LatentSync: 3
    signals: SignalsConfig = field(default_factory=SignalsConfig)
    min_agreement: float = 0.0  # lowest cosine of a look's identity to the others'; needs signals.identity
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    splits: SplitConfig = field(default_factory=SplitConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    matte: MatteConfig = field(default_factory=MatteConfig)
    inputs_per_shard: int = 200
    engine: str = (
        "local"  # local: processes of this machine; ray: actors of the cluster that RAY_ADDRESS names
    )
    workers: int = 1  # processes; 0: this one alone, where an input that kills its decoder kills the run
    threads: int = 1  # of each process
    gpus: float = (
        0.0  # that each of Ray's workers holds; 0.25: four share one. Local ones share what is there
    )
    timeout_s: float = 3600.0  # an input that takes longer, with 12 s for each megabyte of it, is given up
    # statuses of inputs that are made again, with their whole shards: [crashed,timeout,failed] after a
    # machine's trouble
    retry: list[str] = field(default_factory=list)
    num_shards: int = 1  # parts that the shards are dealt to, as to the jobs of a Slurm array ...
    shard_index: int = 0  # ... and which of them this is
    strict: bool = False  # end with an error where more than max_rejected_share of the inputs gave no clip
    max_rejected_share: float = 0.5
    device: str = "auto"  # of the networks that tell signals and masks

    def __post_init__(self) -> None:
        if self.size % 2 or not 64 <= self.size <= 1024:
            raise ValueError(f"size is {self.size}; wanted an even number from 64 to 1024.")
        if self.engine not in ENGINES:
            raise ValueError(f"engine is {self.engine!r}; wanted one of {', '.join(ENGINES)}.")
        if self.workers < (self.engine == "ray") or min(self.threads, self.inputs_per_shard) < 1:
            raise ValueError(
                f"workers is {self.workers}, threads {self.threads}, inputs_per_shard "
                f"{self.inputs_per_shard}; wanted at least 0 (with engine=ray 1), 1 and 1."
            )
        if self.mask_stride < 1:
            raise ValueError(f"mask_stride is {self.mask_stride}; wanted at least 1, which is every frame.")
        if not 0 <= self.shard_index < self.num_shards:
            raise ValueError(
                f"shard_index is {self.shard_index} of num_shards={self.num_shards}; wanted 0 to "
                f"{self.num_shards - 1}."
            )
        if self.gpus < 0 or (self.gpus and self.engine != "ray"):
            raise ValueError(
                f"gpus is {self.gpus} with engine={self.engine}; wanted 0 or more, and 0 without engine=ray: "
                "processes of one machine share the GPUs that CUDA_VISIBLE_DEVICES shows."
            )
        if "kept" in self.retry:
            raise ValueError("retry holds kept; wanted statuses of inputs that gave no clip.")
        if not 0 <= self.max_rejected_share <= 1 or self.timeout_s <= 0:
            raise ValueError(
                f"max_rejected_share is {self.max_rejected_share}, timeout_s {self.timeout_s}; wanted a "
                "share from 0 to 1, and more than 0."
            )
        if self.min_sync_confidence > 0 and self.sync.weights is None:
            raise ValueError(
                f"min_sync_confidence is {self.min_sync_confidence}, but nothing measures it; give "
                "sync.weights."
            )
        if self.min_agreement > 0 and self.signals.identity == NONE:
            raise ValueError(
                f"min_agreement is {self.min_agreement}, but nothing tells identity; set signals.identity."
            )


@dataclass(kw_only=True, slots=True)
class ReportDataRun:
    """One HTML page about a folder that preprocessing wrote."""

    data: Path  # the folder
    root: Path | None = None  # of the raw videos, for pictures of what was rejected
    output: Path | None = None  # the page; None: report.html in the folder
    pictures: int = 24  # of kept clips, and of what was rejected
    seed: int = 0  # of their choice

    def __post_init__(self) -> None:
        if self.pictures < 0:
            raise ValueError(f"pictures is {self.pictures}; wanted 0 or more.")
