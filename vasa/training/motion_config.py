"""Options of the two runs of stage 2: encoding clips to a latent cache, and training on it. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.data.config import SPLITS, ClipsConfig
from vasa.motion.config import MotionConfig
from vasa.motion.joyvasa_config import JoyvasaConfig, JoyvasaObjectiveConfig
from vasa.pretrained.config import SpeechConfig
from vasa.training.config import DEVICES, OptimizerConfig, TrainingRun


@dataclass(kw_only=True, slots=True)
class EncodeMotionRun:
    """Clips -> raw motion, audio features and conditions in a cache folder."""

    name: str = "default"  # of the run; names its folders
    output: Path  # cache folder; the same command carries on where it stopped
    face: Path | None = None
    """face.safetensors (or its folder); "keypoints": LivePortrait's, as scripts/weights.py made it. None:
    the exact animation (pose and controls) stands for the motion code, no frame is rendered: for tests, and
    to measure stage 2 by itself.
    """
    label_heads: int = 0
    """0 renders every clip and encodes its frames. Above 0 (needs ``face``) the clips' true pose and controls
    are written in the face's code instead, by a linear map fitted on this many rendered heads.
    """
    split: str = "train"
    # folder that scripts/preprocess.py wrote, whose clips are encoded. None: those of the synthetic heads
    store: Path | None = None
    # folder of LivePortrait's motion templates with their sounds, or JoyVASA's train.json: motion as it is
    # stored there, no frame is seen. face then only says whose motion it is; None: LivePortrait's own
    templates: Path | None = None
    clips: ClipsConfig = field(default_factory=ClipsConfig)  # the size is always the face checkpoint's own
    clips_per_shard: int = 20  # what a killed run loses at most
    variants: int = (
        4  # of each clip's sound: the clean one, and augmented ones (a feature is cheap, a render is not)
    )
    # of them, the last ones, as features of live speech: pieces of 4 to 25 frames, up to 8 more frames heard
    streamed_variants: int = 0
    keep_audio: bool = False  # keep waveforms too, as a model that scores sound against motion needs them
    batch_frames: int = 64  # frames that the face encoders see at once
    device: str = "auto"
    speech: SpeechConfig = field(default_factory=SpeechConfig)

    def __post_init__(self) -> None:
        for name, choices in (("split", SPLITS), ("device", DEVICES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}; wanted one of {', '.join(choices)}.")
        if self.label_heads < 0 or (self.label_heads and self.face is None):
            raise ValueError(
                f"label_heads={self.label_heads}; wanted 0, or a positive number together with face=..."
            )
        if self.templates is not None and (self.store is not None or self.label_heads):
            raise ValueError(
                f"templates={self.templates} holds motion, of which neither store={self.store} nor "
                f"label_heads={self.label_heads} is a source; give store=null and label_heads=0."
            )
        if self.store is not None and (self.face is None or self.label_heads):
            raise ValueError(
                f"store={self.store} holds recordings, of which frames are all there is: wanted face=... to "
                f"encode them and label_heads=0, not face={self.face} and label_heads={self.label_heads}."
            )
        if not 0 <= self.streamed_variants < self.variants:
            raise ValueError(
                f"streamed_variants={self.streamed_variants} of variants={self.variants}; wanted 0 or more, "
                "and fewer than all: the first is the clean sound, heard whole."
            )
        for name in ("clips_per_shard", "variants", "batch_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}; wanted at least 1.")


MODELS = ("vasa", "joyvasa")


@dataclass(kw_only=True, slots=True)
class JoyvasaTrainingConfig:
    """JoyVASA's denoiser, with the speech encoder in it, on keypoint motion and its sound."""

    network: JoyvasaConfig = field(default_factory=JoyvasaConfig)
    objective: JoyvasaObjectiveConfig = field(default_factory=JoyvasaObjectiveConfig)
    # folder of a HuBERT or wav2vec 2.0 of the network's sizes as transformers stores them, that the speech
    # encoder starts from; None: from random weights, or from those of init
    speech_weights: Path | None = None
    # whether all of the speech encoder but its convolutions is trained, too, as by JoyVASA's script; False:
    # none of it, as its paper says
    train_speech: bool = True


@dataclass(kw_only=True, slots=True)
class TrainMotionRun(TrainingRun):
    """Stage 2: the motion model on a latent cache."""

    cache: Path  # of the training split
    more_caches: list[Path] = field(default_factory=list)  # further ones, mixed in: languages, corpora
    # how often cache and each of more_caches are drawn from, in any unit; empty: all clips alike
    cache_weights: list[float] = field(default_factory=list)
    validation_cache: Path | None = None  # scores and the preview; None: none are made
    validation_clips: int = 8
    face: Path | None = (
        None  # face.safetensors that the caches must come from; None: whichever made the training cache
    )
    # motion.safetensors (or its folder) of a teacher, which a student learns to follow in
    # motion.sampler.steps steps; None: the model learns from data
    teacher: Path | None = None
    teacher_steps: int = 8  # that the teacher takes while it teaches, a multiple of the student's
    film_seconds: float = 4.0  # of every preview's film, for which face must be named; 0: none
    start_share: float = 0.1  # of windows at a clip's first frame, where there is no history
    model: str = "vasa"  # vasa: the transformer of ``motion``; joyvasa: JoyVASA's, as ``joyvasa`` says
    motion: MotionConfig = field(default_factory=MotionConfig)
    joyvasa: JoyvasaTrainingConfig = field(default_factory=JoyvasaTrainingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"model={self.model!r}; wanted one of {', '.join(MODELS)}.")
        if self.model == "joyvasa" and self.teacher is not None:
            raise ValueError(
                f"teacher={self.teacher} goes with model=vasa; JoyVASA's denoiser learns from data: leave it "
                "out."
            )
        if not 0 <= self.start_share <= 1:
            raise ValueError(f"start_share={self.start_share}; wanted 0 to 1.")
        if self.film_seconds != 0 and not 0.04 <= self.film_seconds <= 60:
            raise ValueError(f"film_seconds={self.film_seconds}; wanted 0, or 0.04 to 60.")
        if self.validation_clips < 1:
            raise ValueError(f"validation_clips={self.validation_clips}; wanted at least 1.")
