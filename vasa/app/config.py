"""Options of the web page, torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.pretrained.config import DetectorConfig

WIDEST_PORT = 65_535


@dataclass(kw_only=True, slots=True)
class LimitsConfig:
    """What one visitor may bring, and how many may wait."""

    upload_mb: float = 64.0  # megabytes of one file
    megapixels: float = 50.0  # of a picture, or of one frame of a video
    seconds: float = 120.0  # of a sound or a driving video
    rows: int = 24  # videos of one batch
    live_s: float = 900.0  # seconds of one live talk, which nobody else can render beside
    waiting: int = 4  # visitors in the queue behind the one whose video is made
    visits: int = 32  # at once; the one that has been idle longest ends for one more
    idle_s: float = 3600.0  # seconds after which a visit that asks for nothing ends, with its files

    def __post_init__(self) -> None:
        sizes = (self.upload_mb, self.megapixels, self.seconds, self.live_s, self.idle_s)
        if not min(sizes) > 0 or min(self.rows, self.visits) < 1 or self.waiting < 0:
            raise ValueError(
                f"limits upload_mb={self.upload_mb:g} megapixels={self.megapixels:g} "
                f"seconds={self.seconds:g} live_s={self.live_s:g} idle_s={self.idle_s:g} rows={self.rows} "
                f"visits={self.visits} waiting={self.waiting}; wanted more than 0 of each, and waiting at "
                "least 0."
            )


@dataclass(kw_only=True, slots=True)
class AppRun:
    """The web page on this machine: portraits speak, follow videos and talk live."""

    port: int = 7860  # of 127.0.0.1; 0 takes a free one
    checkpoint: Path = Path("checkpoints/demo")  # folder as scripts/bundle.py writes it
    device: str = "auto"  # auto, cpu, cuda or mps
    precision: str = "auto"  # as of scripts/infer.py
    fast: bool = False  # as of scripts/infer.py: motion of few evaluations, where the checkpoint has it
    fast_live: bool = True  # the same, of the live view alone
    threads: int = 0  # CPU threads of torch; 0: one for each core, at most four
    size: int = 256  # px, largest side of a video
    seconds: float = 4.0  # of synthetic speech where a visitor gives no sound
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= WIDEST_PORT:
            raise ValueError(f"port is {self.port}; wanted 0 to {WIDEST_PORT}.")
        if self.size % 2 or not 32 <= self.size <= 2048:
            raise ValueError(f"size is {self.size}; wanted an even number of pixels from 32 to 2048.")
        if not 0.04 <= self.seconds <= self.limits.seconds:
            raise ValueError(f"seconds is {self.seconds:g}; wanted 0.04 to limits.seconds.")
        if self.threads < 0:
            raise ValueError(f"threads is {self.threads}; wanted at least 0.")
