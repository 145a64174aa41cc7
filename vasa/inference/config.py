"""Options of inference and of bundling, torch-free. Angles are degrees here, because this is the command
line; radians inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.pretrained.config import DetectorConfig, MatteConfig

POSES = ("relative", "absolute")
BACKGROUNDS = ("carried", "plate")


@dataclass(kw_only=True, slots=True)
class GuidanceOverride:
    """Strength of classifier-free guidance per condition; None keeps what the checkpoint says."""

    audio: float | None = None
    gaze: float | None = None
    distance: float | None = None
    emotion: float | None = None

    def as_dict(self) -> dict[str, float]:
        """Those that were given."""
        given = {name: getattr(self, name) for name in ("audio", "gaze", "distance", "emotion")}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(kw_only=True, slots=True)
class InferRun:
    """One portrait, one sound file, one video."""

    image: Path | None = None  # any picture Pillow opens; None: a synthetic portrait that no training saw
    audio: Path | None = None  # any sound that soundfile or PyAV opens; None: synthetic speech
    jobs: Path | None = None  # a list of many videos, made by scripts/make_jobs.py, instead of one
    output: Path | None = None  # .mp4; None: outputs/demo/demo.mp4, or in outputs/ under the picture's name
    checkpoint: Path = Path(
        "checkpoints/demo"
    )  # folder with face.safetensors, motion.safetensors and bundle.json
    device: str = "auto"  # auto, cpu, cuda or mps

    gaze_yaw: float = 0.0  # degrees, away from the portrait's own gaze; > 0 looks to the viewer's right
    gaze_pitch: float = 0.0  # degrees; > 0 looks up
    distance: float = 1.0  # of the head from the camera; 1 is the portrait's own framing; 0.7 near to 1.4 far
    emotion: str = "neutral"  # a name, or a mixture such as happy:0.7+surprise:0.3
    keep_expression: float = 1.0  # how much of the portrait's own resting face is kept, 0 to 1
    pose: str = (
        "relative"  # relative: motion is added to the portrait's own pose; absolute: it replaces that pose
    )

    # carried: as the checkpoint renders it; plate: the portrait's own, filled in once where the person was,
    # and frames laid over it by their mattes, which takes time
    background: str = "carried"

    seed: int = 0  # of everything random
    steps: int | None = None  # sampling steps; None: the checkpoint's
    guidance: GuidanceOverride = field(default_factory=GuidanceOverride)
    size: int = 512  # px, largest side of the video; smaller faces keep their own resolution
    batch_frames: int = 8  # frames rendered at once
    # CPU threads of torch: a frame is too small to gain much from more, and on a busy machine more lose a lot
    threads: int = 1
    workers: int = 1  # processes that make the videos of a list at once
    seconds: float = 10.0  # of synthetic speech where no audio is given

    allow_centre_crop: bool = False  # use the middle of a picture in which no face is found
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    matte: MatteConfig = field(default_factory=MatteConfig)

    def __post_init__(self) -> None:
        if self.size % 2 or not 32 <= self.size <= 2048:
            raise ValueError(f"size is {self.size}; wanted an even number of pixels from 32 to 2048.")
        if self.pose not in POSES:
            raise ValueError(f"pose is {self.pose!r}; wanted one of {', '.join(POSES)}.")
        if self.background not in BACKGROUNDS:
            raise ValueError(f"background is {self.background!r}; wanted one of {', '.join(BACKGROUNDS)}.")
        if not 0 <= self.keep_expression <= 1:
            raise ValueError(f"keep_expression is {self.keep_expression:g}; wanted 0 to 1.")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps is {self.steps}; wanted at least 1.")
        if min(self.threads, self.workers) < 1:
            raise ValueError(f"threads is {self.threads}, workers {self.workers}; wanted at least 1.")
        if self.batch_frames < 1:
            raise ValueError(f"batch_frames is {self.batch_frames}; wanted at least 1.")
        if not 0.04 <= self.seconds <= 3600:
            raise ValueError(f"seconds is {self.seconds}; wanted 0.04 to 3600.")
        if self.jobs is not None and (self.image or self.audio or self.output):
            raise ValueError(f"jobs={self.jobs} comes with image, audio or output; a list names its own.")


@dataclass(kw_only=True, slots=True)
class BundleRun:
    """One checkpoint folder out of a stage-1 run and a stage-2 run."""

    face: Path = Path("checkpoints/face/demo")  # run folder, or its face.safetensors
    motion: Path = Path("checkpoints/motion/demo")  # run folder, or its motion.safetensors
    output: Path = Path("checkpoints/demo")
    results: Path | None = None  # JSON of measured numbers that the card shows; None: none were measured
    notes: str = ""  # of the card: on what hardware it was trained, for how long, and what is amiss
    max_megabytes: float = 16.0  # refuses to write more

    def __post_init__(self) -> None:
        if self.max_megabytes <= 0:
            raise ValueError(f"max_megabytes is {self.max_megabytes}; wanted more than 0.")


@dataclass(kw_only=True, slots=True)
class MakeJobsRun:
    """A list of videos to make for an evaluation, with true videos and controls beside it."""

    output: Path = Path("outputs/table")  # the list's folder; a row of videos in each of its folders
    clips_from: Path | None = (
        None  # folder of real clips with sound; None: synthetic people of the test split
    )
    num_people: int = 0  # folders of clips_from that clips are drawn from; 0: they are one person's
    num_clips: int = 24  # of each person
    min_seconds: float = 0.0  # of real clips; shorter ones are not drawn
    seconds: float = 4.0  # of each clip, at most
    samples: int = 3  # seeds for each sound, averaged by the table as VASA-1 does
    sweeps: int = 2  # clips that every control is swept on
    reenactments: int = 6  # synthetic clips that are also driven by frames: their own, and another's
    size: int = 128  # px of synthetic clips
    workers: int = 1  # processes that render them at once
    seed: int = 0

    def __post_init__(self) -> None:
        if (
            min(self.num_clips, self.samples, self.workers) < 1
            or min(self.sweeps, self.reenactments, self.num_people) < 0
        ):
            raise ValueError(
                f"num_clips is {self.num_clips}, samples {self.samples}, workers {self.workers}, sweeps "
                f"{self.sweeps}, reenactments {self.reenactments}, num_people {self.num_people}; wanted at "
                "least 1, 1, 1, 0, 0 and 0."
            )
        if self.seconds < 1 or self.size % 2 or not 64 <= self.size <= 512:
            raise ValueError(
                f"seconds is {self.seconds}, size {self.size}; wanted at least 1, and an even 64 to 512."
            )
