"""Options of scripts/stream.py. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.inference.config import InferRun, LivePlan
from vasa.inference.speed import live_threads
from vasa.pretrained.config import DetectorConfig, MatteConfig

SOURCES = ("mic", "file", "stdin")
SINKS = ("window", "file", "stdout")
FORMATS = ("mp4", "raw")


@dataclass(kw_only=True, slots=True)
class StreamRun:
    """A portrait that speaks while it hears."""

    image: Path | None = None  # portrait; None: a synthetic one
    checkpoint: Path = Path("checkpoints/demo")
    device: str = "auto"  # auto, cpu, cuda or mps
    precision: str = "auto"  # this and what follows is as in infer.py
    layout: str = "auto"
    compile: bool = False
    graphs: bool = True
    fast: bool = True  # the motion model's student of few evaluations; false: the model itself

    source: str = "mic"  # where sound is from: mic, file (audio=) or stdin
    audio: Path | None = None  # the sound of source=file, heard at its own pace
    rate: int = 16000  # Hz of stdin, which is raw: 16-bit little-endian mono
    sink: str = "window"  # where frames go: window, file (output=) or stdout
    output: Path | None = None  # of sink=file: a fragmented mp4
    # of stdout: mp4, fragmented, with sound; or raw, rgb24 frames at 25 a second without
    format: str = "mp4"
    pace: bool = True  # real time; false: as fast as it goes, nothing is dropped
    # seconds without sound after which the face idles; none with pace=false. A file's end ends the talk
    patience: float = 0.2
    plan: LivePlan = field(default_factory=LivePlan)

    gaze_yaw: float = 0.0  # degrees; this and what follows is as in infer.py
    gaze_pitch: float = 0.0
    distance: float = 1.0
    emotion: str = "auto"
    head_motion: float = 1.0
    head_yaw: float = 0.0
    head_pitch: float = 0.0
    head_roll: float = 0.0
    blink_rate: float | None = None
    keep_expression: float = 1.0
    background: str = "carried"
    paste: bool = False
    seed: int = 0
    size: int = 512
    face_box: str | None = None
    allow_centre_crop: bool = False
    threads: int = 0  # CPU threads of torch; 0: one for each core, at most four
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    matte: MatteConfig = field(default_factory=MatteConfig)

    def __post_init__(self) -> None:
        for name, choices in (("source", SOURCES), ("sink", SINKS), ("format", FORMATS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; wanted one of {', '.join(choices)}.")
        for where, name, file in (("source", "audio", self.audio), ("sink", "output", self.output)):
            if (getattr(self, where) == "file") != (file is not None):
                raise ValueError(
                    f"{where}={getattr(self, where)} with {name}={file}; {name} names the file of "
                    f"{where}=file, and goes with nothing else."
                )
        if self.format != "mp4" and self.sink != "stdout":
            raise ValueError(f"format={self.format} goes with sink=stdout, not with sink={self.sink}.")
        if not 4000 <= self.rate <= 192_000:
            raise ValueError(f"rate is {self.rate} Hz; wanted 4000 to 192000.")
        if not 0 < self.patience <= 10:
            raise ValueError(f"patience is {self.patience:g} s; wanted more than 0 and at most 10.")
        if not self.pace and (self.source == "mic" or self.sink == "window"):
            raise ValueError("pace=false is for files and pipes; a microphone and a window go by the clock.")
        self.options()

    def options(self) -> InferRun:
        """The same as options of infer.py. Raises: ValueError as those."""
        shared = set(InferRun.__dataclass_fields__) & set(StreamRun.__dataclass_fields__)
        given = {name: getattr(self, name) for name in shared - {"audio", "output"}}
        return InferRun(**{**given, "threads": live_threads(self.threads)})
