"""Options of the run that measures a checkpoint. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.data.config import TrialsConfig
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
