"""Options of inference and of bundling, torch-free. Angles are degrees here, because this is the command
line; radians inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from vasa.face.keypoints.config import RulesConfig
from vasa.inference.speed import Speed
from vasa.pretrained.config import DenseLandmarksConfig, DetectorConfig, MatteConfig

POSES = ("relative", "absolute")
BACKGROUNDS = ("carried", "plate")
SWEEPS: dict[str, tuple[float | str, ...]] = {
    "gaze_yaw": (-20.0, -10.0, 10.0, 20.0),
    "gaze_pitch": (-12.0, -6.0, 6.0, 12.0),
    "distance": (0.85, 1.15, 1.3),
    "head_yaw": (-15.0, -7.0, 7.0, 15.0),
    "head_pitch": (-10.0, 10.0),
    "head_roll": (-10.0, 10.0),
    "blink_rate": (0.0, 6.0, 15.0, 30.0),
    "emotion": ("happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"),
}
"""What can be swept, and the values beside the default that it is given."""
SWEPT_TOGETHER = {
    "gaze": ("gaze_yaw", "gaze_pitch"),
    "head": ("head_yaw", "head_pitch", "head_roll"),
}
"""Words for several sweeps in one folder, with one start in common."""
MAX_SEED = 2**63 - 1
"""The largest that every library's generator takes."""
PUBLISHED_ACTIONS = ("list", "verify", "fetch", "bundle", "try")
ONLY = ("all", "pose", "dynamics")
SMALLEST_BOX = 16
"""Pixels, of the side of a square that shows a face."""
KEPT = ("head", "eyes", "brows")


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

    def __post_init__(self) -> None:
        for name, value in self.as_dict().items():
            check_guidance(name, value)


def check_guidance(name: str, value: float) -> None:
    """Raises: ValueError for a strength of guidance on a condition that is negative or not finite."""
    if not 0 <= value < math.inf:  # false for NaN too
        raise ValueError(f"guidance.{name} is {value:g}; wanted a number from 0 on, such as 0.5.")


@dataclass(kw_only=True, slots=True)
class RegionFiles:
    """Where the motion of a region comes from, if not from where all the rest does: a saved motion, or a
    driving video. A shorter one is gone through back and forth."""

    lips: Path | None = None
    eyes: Path | None = None
    brows: Path | None = None
    head: Path | None = None

    def as_dict(self) -> dict[str, Path]:
        """Those that were given."""
        given = {name: getattr(self, name) for name in ("lips", "eyes", "brows", "head")}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(kw_only=True, slots=True)
class LivePlan:
    """How live speech becomes motion, in frames of 40 ms. A frame is ready when hop + lookahead + right
    frames of sound from the first of its hop on are there.
    """

    hop: int = 5  # frames made at once; 2 answers sooner and costs more
    lookahead: int = 3  # frames of sound after these that the motion model has heard
    right: int = 1  # and that the speech encoder has heard after those; wav2vec 2.0 gains by 3
    left: int = 50  # at most that it hears before
    window: int = 10  # frames that the motion model draws at once: the fewest that it was trained on

    def __post_init__(self) -> None:
        if min(self.hop, self.window) < 2 or min(self.lookahead, self.right, self.left) < 0:
            raise ValueError(
                f"plan hop={self.hop} window={self.window} lookahead={self.lookahead} right={self.right} "
                f"left={self.left}; wanted at least 2 and 2, and 0 of the others."
            )
        if self.hop + self.lookahead > self.window:
            raise ValueError(
                f"plan hop={self.hop} and lookahead={self.lookahead} exceed window={self.window}; wanted a "
                "window that holds both."
            )


@dataclass(kw_only=True, slots=True)
class VideoOptions:
    """What one video is asked to be. Each of these is also a column of a list of videos, by its dotted name:
    an option added here is one at once."""

    # any picture Pillow opens; None: the person that the checkpoint was made for (scripts/personalise.py), or
    # a synthetic portrait that no training saw
    image: Path | None = None
    audio: Path | None = None  # any sound that soundfile or PyAV opens; None: synthetic speech
    output: Path | None = None  # .mp4; None: outputs/demo/demo.mp4, or in outputs/ under the picture's name

    gaze_yaw: float = 0.0  # degrees, away from the portrait's own gaze; > 0 looks to the viewer's right
    gaze_pitch: float = 0.0  # degrees; > 0 looks up
    distance: float = 1.0  # of the head from the camera; 1 is the portrait's own framing; 0.7 near to 1.4 far
    # a name, or a mixture such as happy:0.7+surprise:0.3; none: what the sound suggests; auto: as the motion
    # model's own config has it, neutral or none
    emotion: str = "auto"
    keep_expression: float = 1.0  # how much of the portrait's own resting face is kept, 0 to 1
    pose: str = (
        "relative"  # relative: motion is added to the portrait's own pose; absolute: it replaces that pose
    )

    # carried: as the checkpoint renders it; plate: the portrait's own, filled in once where the person was,
    # and frames laid over it by their mattes, which takes time
    background: str = "carried"

    # Controls that change with time, the head and the lids (docs/controls.md)

    # .csv or .json of times and values; its columns replace options of that name, also seed and those of
    # guidance
    controls: Path | None = None
    head_motion: float = 1.0  # share of the head's own movement that is kept, 0 (still) to 2
    head_yaw: float = 0.0  # degrees that the head is turned by; > 0 to the viewer's right
    head_pitch: float = 0.0  # degrees; > 0 up
    head_roll: float = 0.0  # degrees; > 0 counter-clockwise
    # degrees that the head's bearing may wander from the portrait's in a long talk; None: 12, and freely
    # where the head follows a driver, a saved motion or regions.head
    head_range: float | None = None
    blink_rate: float | None = None  # blinks a minute; None: as the motion model makes them; 0: none

    # Motion from elsewhere than speech, and what becomes of it (docs/editing.md)
    driving: Path | None = None  # a video whose head and face are followed; its sound is heard, or audio's
    motion: Path | None = None  # a motion saved by save_motion, shown again; audio is only heard
    regions: RegionFiles = field(default_factory=RegionFiles)
    only: str = "all"  # all; or the head's motion alone: pose; or the face's: dynamics
    keep: str = "head+eyes+brows"  # of an image that is a video: what stays as it is; the rest speaks
    paste: bool = False  # the video shows the whole picture, and the face moves in it
    keypoints: RulesConfig = field(
        default_factory=RulesConfig
    )  # of LivePortrait's face space (docs/keypoints.md)
    save_motion: bool = False  # writes the motion beside the video: .motion.safetensors
    motion_csv: bool = False  # writes it as a table: .motion.csv
    save_template: bool = False  # writes it as LivePortrait's motion template: .motion.pkl

    seed: int = 0  # of everything random, 0 to 2**63 - 1
    steps: int | None = None  # sampling steps; None: the checkpoint's
    guidance: GuidanceOverride = field(default_factory=GuidanceOverride)
    # motion as live speech is answered (scripts/stream.py), by its plan: what a talk would have shown
    live: bool = False
    plan: LivePlan = field(default_factory=LivePlan)
    size: int = 512  # px, largest side of the video; smaller faces keep their own resolution
    seconds: float = 10.0  # of synthetic speech where no audio is given

    # x,y,side: the square of a picture that shows the head, in place of one that is searched: left, top and
    # side in pixels of the upright picture
    face_box: str | None = None
    allow_centre_crop: bool = False  # use the middle of a picture in which no face is found

    def __post_init__(self) -> None:
        if self.size % 2 or not 32 <= self.size <= 2048:
            raise ValueError(f"size is {self.size}; wanted an even number of pixels from 32 to 2048.")
        if self.pose not in POSES:
            raise ValueError(f"pose is {self.pose!r}; wanted one of {', '.join(POSES)}.")
        if self.background not in BACKGROUNDS:
            raise ValueError(f"background is {self.background!r}; wanted one of {', '.join(BACKGROUNDS)}.")
        if not 0 <= self.keep_expression <= 1:
            raise ValueError(f"keep_expression is {self.keep_expression:g}; wanted 0 to 1.")
        if self.head_range is not None and not 1 <= self.head_range <= 90:
            raise ValueError(f"head_range is {self.head_range:g} degrees; wanted 1 to 90.")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps is {self.steps}; wanted at least 1.")
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"seed is {self.seed}; wanted a whole number from 0 to {MAX_SEED}.")
        if not 0.04 <= self.seconds <= 3600:
            raise ValueError(f"seconds is {self.seconds}; wanted 0.04 to 3600.")
        if self.face_box is not None:
            self._check_box(self.face_box)
        self._check_editing()

    def _check_box(self, text: str) -> None:
        box = self.box
        if box is None or not all(math.isfinite(number) for number in box) or box[2] < SMALLEST_BOX:
            raise ValueError(
                f"face_box is {text!r}; wanted x,y,side in pixels, such as 120,40,360, with a side of at "
                f"least {SMALLEST_BOX}."
            )
        if self.allow_centre_crop:
            raise ValueError(
                f"face_box={text} comes with allow_centre_crop=true, but a square that is named is not "
                "searched; leave one of them out."
            )

    def _check_editing(self) -> None:
        if self.only not in ONLY:
            raise ValueError(f"only is {self.only!r}; wanted one of {', '.join(ONLY)}.")
        unknown = set(self.kept) - set(KEPT)
        if unknown:
            raise ValueError(f"keep names {', '.join(sorted(unknown))}; wanted some of {'+'.join(KEPT)}.")
        if self.driving is not None and self.motion is not None:
            raise ValueError(
                f"driving={self.driving} comes with motion={self.motion}; give one, and regions of the other."
            )

    @property
    def box(self) -> tuple[float, float, float] | None:
        """``face_box`` as left, top and side; None where it is not given, or not three numbers."""
        try:
            x, y, side = (float(part) for part in (self.face_box or "").strip("[]() ").split(","))
        except ValueError:
            return None
        return x, y, side

    @property
    def kept(self) -> tuple[str, ...]:
        """What ``keep`` names."""
        return tuple(name for name in self.keep.split("+") if name)


@dataclass(kw_only=True, slots=True)
class InferRun(VideoOptions):
    """One portrait, one sound file, one video; or, from a list, many."""

    checkpoint: Path = Path(
        "checkpoints/demo"
    )  # folder with face.safetensors, motion.safetensors and bundle.json
    device: str = "auto"  # auto, cpu, cuda or mps
    # fp32; bf16; or auto: pictures in bf16 where the device computes it natively, motion in fp32, so that a
    # seed means the same motion everywhere
    precision: str = "auto"
    # channels_last, which is auto: warp and decoder in their quick forms; nchw: both as they are trained
    layout: str = "auto"
    overlap: bool = True  # motion is made in one thread while frames are in another
    compile: bool = (
        False  # the decoder by torch.compile: minutes before the first frame; wants a C++ compiler
    )
    graphs: bool = True  # on CUDA: a batch of frames is replayed as one CUDA graph
    fast: bool = False  # the motion model's student of few evaluations makes the motion, where there is one
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    matte: MatteConfig = field(default_factory=MatteConfig)
    landmarks: DenseLandmarksConfig = field(default_factory=DenseLandmarksConfig)  # of keypoint spaces

    # Many videos: CSV or JSON lines, a row for each, whose columns are options of one video. What is given
    # beside the list holds for every row that does not say otherwise.
    list: Path | None = None
    out: Path | None = None  # folder of the list's videos; None: the list's own
    # one control at several values instead of one video, into out (docs/controls.md); gaze and head: each of
    # their angles
    sweep: str | None = None
    workers: int = 1  # processes that make the videos of a list at once
    batch_frames: int = 8  # frames rendered at once; fewer are filled up, so that a frame never depends on it
    # CPU threads of torch in each process: a frame is too small to gain much from more, and on a busy machine
    # more lose a lot
    threads: int = 1

    def __post_init__(self) -> None:
        VideoOptions.__post_init__(self)
        self.speed  # noqa: B018  # says what is wrong with it
        if min(self.threads, self.workers, self.batch_frames) < 1:
            raise ValueError(
                f"threads is {self.threads}, workers {self.workers}, batch_frames {self.batch_frames}; "
                "wanted at least 1 of each."
            )
        if self.list is not None and self.output is not None:
            raise ValueError(
                f"output={self.output} comes with list={self.list}; name the videos' folder by out= and each "
                "video by a column output."
            )
        if self.sweep is not None:
            self._check_sweep()
        elif self.list is None and self.out is not None:
            raise ValueError(f"out={self.out} comes without a list; name the one video by output=.")

    @property
    def speed(self) -> Speed:
        """How frames are computed. Raises: ValueError."""
        return Speed(self.precision, self.layout, self.overlap, self.compile, self.graphs)

    def _check_sweep(self) -> None:
        if self.sweep not in (*SWEEPS, *SWEPT_TOGETHER):
            raise ValueError(
                f"sweep is {self.sweep!r}; wanted one of {', '.join((*SWEEPS, *SWEPT_TOGETHER))}."
            )
        if self.list is not None or self.output is not None or self.out is None:
            raise ValueError(f"sweep={self.sweep} makes a folder of videos; name it by out=, and no other.")


@dataclass(kw_only=True, slots=True)
class VerifyRun:
    """What a video says of its origin, and whether that is true of these pictures and this sound."""

    video: Path  # any video file
    # searched, with all below it, for its .provenance.json; None: its own folder alone
    sidecars: Path | None = None


@dataclass(kw_only=True, slots=True)
class RegionLeakRun:
    """What changes elsewhere when one region of a face comes from another motion."""

    checkpoint: Path = Path("checkpoints/demo")
    judges: Path = Path("checkpoints/judges")
    device: str = "auto"
    num_people: int = 8
    first_person: int = 2_900_000  # of the test split
    seconds: float = 2.0  # of each one's speech; every second frame is looked at
    threads: int = 1

    def __post_init__(self) -> None:
        if min(self.num_people, self.threads) < 1 or self.seconds < 1:
            raise ValueError(
                f"num_people is {self.num_people}, threads {self.threads}, seconds {self.seconds:g}; wanted "
                "at least 1 of each."
            )


@dataclass(kw_only=True, slots=True)
class BundleRun:
    """One checkpoint folder out of a stage-1 run and a stage-2 run."""

    face: Path = Path("checkpoints/face/demo")  # run folder, or its face.safetensors
    motion: Path = Path("checkpoints/motion/demo")  # run folder, or its motion.safetensors
    # run folder, or its motion.safetensors, of a student of that motion model; None: there is none
    student: Path | None = None
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
    samples: int = 3  # seeds for each sound, averaged by the table as VASA-1 does; 0: no speech, no baselines
    sweeps: int = 2  # clips that every control is swept on
    # further rows of the same clips: name of the row -> options of infer.py, as in {quick: [steps=5]}
    variants: dict[str, list[str]] = field(default_factory=dict)
    baselines: bool = True  # also the untrained warp and the speech of another clip
    reenactments: int = 6  # synthetic clips that are also driven by frames: their own, and another's
    size: int = 128  # px of synthetic clips
    workers: int = 1  # processes that render them at once
    seed: int = 0

    def __post_init__(self) -> None:
        if (
            min(self.num_clips, self.workers) < 1
            or min(self.samples, self.sweeps, self.reenactments, self.num_people) < 0
        ):
            raise ValueError(
                f"num_clips is {self.num_clips}, samples {self.samples}, workers {self.workers}, sweeps "
                f"{self.sweeps}, reenactments {self.reenactments}, num_people {self.num_people}; wanted at "
                "least 1, 0, 1, 0, 0 and 0."
            )
        if self.seconds < 1 or self.size % 2 or not 64 <= self.size <= 512:
            raise ValueError(
                f"seconds is {self.seconds}, size {self.size}; wanted at least 1, and an even 64 to 512."
            )


@dataclass(kw_only=True, slots=True)
class PublishedRun:
    """A published system's files: listed, verified, fetched, or bundled into a checkpoint folder."""

    # joyvasa: LivePortrait's face space and JoyVASA's motion model; liveportrait: the first alone
    system: str = "joyvasa"
    # list; verify: compares hashes; fetch: downloads; bundle: writes the checkpoint; try: measures it
    action: str = "list"
    species: str = "human"  # whose weights: human or animal
    # where the files lie, by their published paths; None: published in $VASA_CACHE (~/.cache/vasa)
    folder: Path | None = None
    output: Path = Path("checkpoints/joyvasa")  # the checkpoint's folder
    # legacy: positions as files trained before 9 December 2025 know them, the released one among them; fixed
    position: str = "legacy"
    narrow: int = 1  # divides the widths of networks; published ones have 1
    image: Path | None = None  # that action=try shows; None: a synthetic portrait
    audio: Path | None = None  # that action=try hears; None: synthetic speech
    seconds: float = 2.0  # of it
    device: str = "auto"  # of action=try: auto, cpu or cuda

    def __post_init__(self) -> None:
        if self.action not in PUBLISHED_ACTIONS:
            raise ValueError(f"action is {self.action!r}; wanted one of {', '.join(PUBLISHED_ACTIONS)}.")
        if not 0.2 <= self.seconds <= 60:
            raise ValueError(f"seconds is {self.seconds:g}; wanted 0.2 to 60.")
        if self.position not in ("legacy", "fixed"):
            raise ValueError(f"position is {self.position!r}; wanted legacy or fixed.")
