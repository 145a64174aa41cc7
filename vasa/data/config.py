"""What data is made of: speech, clips and the seeds that splits may use. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

SPLITS = ("train", "validation", "test")
SPLIT_SEEDS = {
    "train": range(0, 1_000_000),
    "validation": range(1_000_000, 2_000_000),
    "test": range(2_000_000, 3_000_000),
}
"""Seeds of identities, and of voices, that each split draws from; disjoint."""
QUALITIES = ("draft", "full")
MODES = ("portrait", "randomised")


def check_split(split: str) -> str:
    """Raises ValueError unless ``split`` is one of SPLITS; returns it."""
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; wanted one of {', '.join(SPLITS)}.")
    return split


@dataclass(kw_only=True, slots=True)
class SpokenConfig:
    """Who speaks in synthetic clips, and through what. The sound is clean; synthetic.augment records it."""

    # Share of clips that speak through espeak, the rest through formants. Above 0 needs the training extra.
    espeak_share: float = 0.67
    # espeak voices to draw from; empty: every language of synthetic.sentences
    languages: list[str] = field(default_factory=list)
    singing_share: float = 0.12  # of formant voices
    silent_share: float = 0.04  # of clips: nobody speaks (under augmentation: noise alone, mouth closed)

    def __post_init__(self) -> None:
        for name in ("espeak_share", "singing_share", "silent_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; wanted a share between 0 and 1.")

    @classmethod
    def possible(cls, **options: float) -> SpokenConfig:
        """The defaults, or formants alone where the extra that brings espeak is not installed."""
        share = {} if find_spec("espeakng_loader") else {"espeak_share": 0.0}
        return cls(**share, **options)  # type: ignore[arg-type]


@dataclass(kw_only=True, slots=True)
class ClipsConfig:
    """Synthetic talking clips."""

    num_clips: int = 1000
    seed: int = 0
    seconds: float = 8.0
    size: int = 128  # px
    quality: str = "draft"  # of the renderer: draft or full
    mode: str = "portrait"  # of the heads: portrait or randomised
    spoken: SpokenConfig = field(default_factory=SpokenConfig)

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise ValueError(f"quality is {self.quality!r}; wanted one of {', '.join(QUALITIES)}.")
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}; wanted one of {', '.join(MODES)}.")
        if self.seconds < 0.04:
            raise ValueError(f"seconds is {self.seconds}; wanted at least 0.04, one frame.")
        if self.num_clips < 1 or self.seed < 0:
            raise ValueError(
                f"num_clips is {self.num_clips} and seed {self.seed}; wanted at least 1 and at least 0."
            )


JUDGE_SEEDS = range(3_000_000, 9_000_000)
"""Seeds of the people that judges, teachers and the aligner are trained on: in no split of clips."""


@dataclass(kw_only=True, slots=True)
class PoolConfig:
    """A pool of labelled frames, `frames_each` of each of `num_identities` people from `first_seed` on."""

    mode: str = "portrait"
    quality: str = "draft"
    first_seed: int = JUDGE_SEEDS.start
    num_identities: int = 100
    frames_each: int = 8
    size: int = 128  # px
    # of frames: drawn from talking clips, with their emotion; the rest move wildly
    talking_share: float = 0.5

    def __post_init__(self) -> None:
        if self.mode not in MODES or self.quality not in QUALITIES:
            raise ValueError(f"pool: mode {self.mode!r} and quality {self.quality!r} are not both known.")
        if self.num_identities < 1 or self.frames_each < 1:
            raise ValueError(f"pool: {self.num_identities} people x {self.frames_each} frames is empty.")
        last = self.first_seed + self.num_identities - 1
        if self.first_seed not in JUDGE_SEEDS or last not in JUDGE_SEEDS:
            raise ValueError(f"pool: people {self.first_seed} to {last} lie outside {JUDGE_SEEDS}.")


@dataclass(kw_only=True, slots=True)
class FramePairsConfig:
    """Rendered frames of synthetic identities for stage 1, cached on disk:

    A pure function of these options.
    """

    cache: Path = Path("data/synthetic/frames")  # folder of the cache; rendered on first use, resumable
    split: str = "train"
    num_identities: int = 1024  # even: two identities share their animation, so cross-reenactment has a truth
    frames: int = 12  # per identity; the second half repeats the poses of the first with other expressions
    size: int = 128  # px
    quality: str = "draft"
    randomised_share: float = 0.5  # of identities in randomised mode
    talking_share: float = 0.0  # of frames: with the expression of talking clips; the rest move wildly
    cross_share: float = 0.5  # of samples driven by the other identity of the pair
    colour_jitter: float = 0.15  # of the driver before the motion encoders: gain, offset, gamma
    twin_share: float = (
        0.4  # of samples whose source has the target's pose, as neighbouring frames of a video
    )
    masks: bool = False  # keep who is foreground, for losses that leave the background out
    seed: int = 0  # of the people, and of what is drawn of them
    draw_seed: int = 0  # of another order of the same people

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.num_identities < 2 or self.num_identities % 2:
            raise ValueError(f"num_identities is {self.num_identities}; wanted an even number, at least 2.")
        if self.frames < 4 or self.frames % 2:
            raise ValueError(f"frames is {self.frames}; wanted an even number, at least 4.")
        if self.size % 2 or not 64 <= self.size <= 512:
            raise ValueError(f"size is {self.size}; wanted an even number from 64 to 512.")
        for name in ("randomised_share", "talking_share", "cross_share", "colour_jitter", "twin_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; wanted a share between 0 and 1.")


@dataclass(kw_only=True, slots=True)
class EncodeConfig:
    """How clips are stored."""

    crf: int = 17  # x264's quality, 0 lossless to 51; figures in docs/data.md
    mask_crf: int = 26  # of masks, half a grey level off on average
    gop: int = 10  # frames between key frames; a frame at random costs half of them on average

    def __post_init__(self) -> None:
        if not (0 <= self.crf <= 51 and 0 <= self.mask_crf <= 51) or self.gop < 1:
            raise ValueError(
                f"crf is {self.crf}, mask_crf {self.mask_crf}, gop {self.gop}; wanted 0 to 51 both, and at "
                "least 1."
            )


@dataclass(kw_only=True, slots=True)
class SplitConfig:
    """Who is trained on, by speaker. Those whom a data set itself puts into its test stay there."""

    seed: int = 0
    validation_share: float = 0.02  # of the speakers that are in no official test
    test_share: float = 0.0  # likewise; for data sets without an official test
    test_speakers: int = 46  # of the evaluation list: VASA-1's (section 4), as is the number of clips
    test_clips: int = 10  # of each
    min_seconds: float = 5.0  # of those clips
    max_seconds: float = 15.0

    def __post_init__(self) -> None:
        shares = (self.validation_share, self.test_share)
        if self.seed < 0 or min(shares) < 0 or sum(shares) > 1:
            raise ValueError(
                f"splits: seed {self.seed}, validation_share {self.validation_share}, test_share "
                f"{self.test_share}; wanted a seed from 0 and shares from 0 that make 1 at most."
            )
        if min(self.test_speakers, self.test_clips) < 1 or not 0 <= self.min_seconds <= self.max_seconds:
            raise ValueError(
                f"splits: {self.test_speakers} speakers x {self.test_clips} clips of {self.min_seconds} to "
                f"{self.max_seconds} s; wanted at least one of each, the shorter length first."
            )


@dataclass(kw_only=True, slots=True)
class ClipPairsConfig:
    """Pairs of frames of real clips for stage 1, from a folder that scripts/preprocess.py wrote."""

    root: Path = Path("data/clips")  # its `out`
    split: str = "train"
    size: int = 128  # px; larger frames are reduced
    near_share: float = 0.3  # of pairs: within half a second, where lips and lids move and the head hardly
    colour_jitter: float = 0.15  # of the driver before the motion encoders: gain, offset, gamma
    flip: bool = True  # mirror half of the pairs, and half of the others' frames, as MegaPortraits does
    # cut eyes, mouth and faces by the landmarks that preprocessing measured; false: by a mean face's under
    # the pose that is read
    landmarks: bool = True
    # px of the video that a crop must cover: less was enlarged, and would be learned as sharp. MegaPortraits
    # drops what is below the size of its frames; 0 keeps all
    min_side_px: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.min_side_px < 0:
            raise ValueError(f"min_side_px is {self.min_side_px}; wanted 0 (keep all) or more.")
        if self.split not in ("train", "validation"):
            raise ValueError(
                f"split is {self.split!r}; wanted train or validation: no training looks at the test split."
            )
        if self.size % 2 or not 64 <= self.size <= 1024:
            raise ValueError(f"size is {self.size}; wanted an even number from 64 to 1024.")
        for name in ("near_share", "colour_jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; wanted a share between 0 and 1.")


@dataclass(kw_only=True, slots=True)
class EmotionClipsConfig:
    """Talking clips of which only expression and emotion are used."""

    num_clips: int = 2000
    seed: int = JUDGE_SEEDS.start
    seconds: float = 2.0

    def __post_init__(self) -> None:
        if self.num_clips < 1 or self.seconds < 1:
            raise ValueError(
                f"emotion clips: {self.num_clips} of {self.seconds} s; wanted at least one of at least 1 s."
            )


@dataclass(kw_only=True, slots=True)
class PoseClipsConfig:
    """Talking clips of which only sound and head pose are used."""

    split: str = "train"
    num_clips: int = 1400
    seed: int = JUDGE_SEEDS.start
    seconds: float = 6.0
    espeak_share: float = 0.5  # of voices; above 0 needs the training extra
    recorded_share: float = 0.5  # of clips: heard through rooms, microphones and noise

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.num_clips < 2 or self.seconds < 4:
            raise ValueError(
                f"pose clips: {self.num_clips} of {self.seconds} s; wanted at least 2 of at least 4 s: "
                "3 s are scored, and moved in time."
            )
        for name in ("espeak_share", "recorded_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"pose clips: {name} is {getattr(self, name)}; wanted a share from 0 to 1.")


@dataclass(kw_only=True, slots=True)
class VideoPoolConfig:
    """Rendered talking clips, `clips_each` of each of `num_people` people from `first_seed` on."""

    first_seed: int = JUDGE_SEEDS.start
    num_people: int = 240
    clips_each: int = 2
    frames: int = 33  # of each clip: a window of 25, and 8 to skip
    size: int = 128  # px
    quality: str = "draft"
    randomised_share: float = 0.25  # of people: with random textures

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES or not 0 <= self.randomised_share <= 1:
            raise ValueError(
                f"video pool: quality {self.quality!r} with a randomised_share of {self.randomised_share}; "
                f"wanted one of {', '.join(QUALITIES)} and a share from 0 to 1."
            )
        if min(self.num_people, self.clips_each) < 1 or self.frames < 9:
            raise ValueError(
                f"video pool: {self.num_people} people x {self.clips_each} clips x {self.frames} frames; "
                "wanted at least 1 x 1 x 9."
            )
        last = self.first_seed + self.num_people - 1
        if self.first_seed not in JUDGE_SEEDS or last not in JUDGE_SEEDS:
            raise ValueError(f"video pool: people {self.first_seed} to {last} lie outside {JUDGE_SEEDS}.")


@dataclass(kw_only=True, slots=True)
class TrialsConfig:
    """How much of everything the table of a checkpoint's numbers is measured on.

    People and voices: the test split.
    """

    seed: int = 0
    size: int = 128  # px of rendered frames
    quality: str = "full"  # of true renders
    pairs: int = 96  # people, each driven by itself and by another
    clips: int = 40  # of unseen speech
    clip_seconds: float = 4.0
    true_clips: int = 8  # of those, rendered truly as well: the judge's ceiling
    asked_clips: int = 48  # with gaze, distance and emotion asked for
    asked_frames: int = 12  # of each that are looked at
    recording_seconds: float = 10.0  # of each real recording
    real_frames: int = 12  # of each real clip
    photo_size: int = 256  # px
    photo_seconds: float = 4.0  # of speech for each photograph
    yaw_steps: int = 9  # commanded, from -15 to 15 degrees

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise ValueError(f"trials.quality is {self.quality!r}; wanted one of {', '.join(QUALITIES)}.")
        for name in ("pairs", "clips", "asked_clips", "asked_frames", "true_clips"):
            if getattr(self, name) < 2:
                raise ValueError(f"trials.{name} is {getattr(self, name)}; wanted at least 2.")
        if min(self.clip_seconds, self.recording_seconds, self.photo_seconds) < 1:
            raise ValueError("trials: clip_seconds, recording_seconds and photo_seconds must be at least 1.")
