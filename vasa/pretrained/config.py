"""Sizes of the frozen networks and how speech is encoded. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

TRUNKS = ("residual", "plain")


def _check_trunk(owner: str, kind: str, widths: list[int]) -> None:
    if kind not in TRUNKS:
        raise ValueError(f"{owner}.trunk is {kind!r}; wanted one of {', '.join(TRUNKS)}.")
    if len(widths) < 3 or any(w < 4 or w % 4 for w in widths):
        raise ValueError(f"{owner}.widths is {widths}; wanted at least three multiples of 4.")


@dataclass(kw_only=True, slots=True)
class LandmarkNetConfig:
    """Landmarks, pose and confidence from a loosely cropped face. Sizes chosen for a CPU."""

    size: int = 128  # px, square input
    widths: list[int] = field(default_factory=lambda: [16, 32, 64, 112, 128])  # at 1/2, 1/4, 1/8, 1/16, 1/32
    trunk: str = "residual"
    decoder_width: int = 48  # channels of the heatmap decoder, at 1/16, 1/8 and 1/4 of the size

    def __post_init__(self) -> None:
        _check_trunk("landmark network", self.trunk, self.widths)
        if len(self.widths) != 5 or self.size % 32:
            raise ValueError(
                f"landmark network: {len(self.widths)} widths at {self.size} px; wanted 5, a multiple of 32."
            )


@dataclass(kw_only=True, slots=True)
class RegionNetConfig:
    """Expression controls (`outputs` numbers) from frontalised crops of eyes and mouth."""

    outputs: int = 11
    widths: list[int] = field(default_factory=lambda: [24, 40, 64, 80])  # at 1/2, 1/4, 1/8, 1/16 of the crops
    trunk: str = "residual"
    squeeze: int = 16  # channels kept at each position of the last map, which is read with its positions
    hidden: int = 96

    def __post_init__(self) -> None:
        _check_trunk("region network", self.trunk, self.widths)


@dataclass(kw_only=True, slots=True)
class EmotionNetConfig:
    """Emotion weights from the mean controls of a stretch of frames."""

    hidden: int = 64

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError(f"emotion network: hidden is {self.hidden}; wanted at least 1.")


@dataclass(kw_only=True, slots=True)
class IdentityNetConfig:
    """A metric embedding of a person from an upright crop of the head."""

    size: int = 64  # px of the crop
    widths: list[int] = field(default_factory=lambda: [24, 48, 80, 128])  # at 1/2, 1/4, 1/8, 1/16
    trunk: str = "residual"
    embedding_dim: int = 64

    def __post_init__(self) -> None:
        _check_trunk("identity network", self.trunk, self.widths)


@dataclass(kw_only=True, slots=True)
class SyncNetConfig:
    """Lips and sound in one space. The defaults are the published network (Chung and Zisserman 2016)."""

    width: float = 1.0  # channels of the convolutions, of the published ones
    feature_dim: int = 512  # behind the convolutions, and hidden in the heads
    embedding_dim: int = 1024
    image_size: int = 224  # px, square input of the lip tower
    view_side: float = 1.0  # of the face crop's side: the square of it that the lip tower sees
    view_down: float = 0.0  # of the face crop's side: how far below its middle that square has its own
    pixel_scale: float = 1.0  # of values 0 to 255; left so, running variances exceed half precision

    def __post_init__(self) -> None:
        if not 0 < self.width <= 1 or min(self.feature_dim, self.embedding_dim) < 1:
            raise ValueError(
                f"sync network: width {self.width}, feature_dim {self.feature_dim}, embedding_dim "
                f"{self.embedding_dim}; wanted a width up to 1 and at least one number each."
            )
        if self.pixel_scale <= 0:
            raise ValueError(f"sync network: pixel_scale is {self.pixel_scale}; wanted more than 0.")
        if self.image_size < 56:
            raise ValueError(f"sync network: image_size is {self.image_size} px; wanted at least 56.")
        if self.view_side <= 0 or self.view_side / 2 + abs(self.view_down) > 0.5:
            raise ValueError(
                f"sync network: a view of {self.view_side}, {self.view_down} below the middle, reaches "
                "outside the face crop."
            )


CAPP_AUDIO = ("logmel", "wav2vec2")


@dataclass(kw_only=True, slots=True)
class CappNetConfig:
    """Sound and head pose in one space. Depth of the pose encoder as VASA-1 says; widths chosen for a CPU."""

    audio: str = "logmel"  # or wav2vec2: initialised from its published weights, and tuned
    # audio=wav2vec2: folder of facebook/wav2vec2-base-960h (config.json, weights) that training starts from
    wav2vec2: Path | None = None
    wav2vec2_config: str = ""  # filled in by training: that config.json, so that the result needs no folder
    width: int = 64
    num_heads: int = 4
    feedforward: int = 128
    pose_layers: int = 6  # VASA-1, section 4.1
    sound_layers: int = 3
    code_dim: int = 8  # numbers of the embedding for each token of three frames

    def __post_init__(self) -> None:
        if self.audio not in CAPP_AUDIO:
            raise ValueError(f"capp.audio is {self.audio!r}; wanted one of {', '.join(CAPP_AUDIO)}.")
        if self.audio == "wav2vec2" and self.wav2vec2 is None:
            raise ValueError("capp.audio=wav2vec2 needs capp.wav2vec2, the folder of its published weights.")
        if self.width % self.num_heads or min(self.pose_layers, self.sound_layers, self.code_dim) < 1:
            raise ValueError(
                f"capp: width {self.width} must divide by num_heads {self.num_heads}; layers and code_dim "
                "must be at least 1."
            )


@dataclass(kw_only=True, slots=True)
class VideoNetConfig:
    """Features of a window of frames, for distances between sets of videos."""

    size: int = 128  # px, square input
    widths: list[int] = field(default_factory=lambda: [24, 40, 56, 72])  # at 1/4, 1/8, 1/16, 1/32 of the size
    squeeze: int = 24  # channels kept at each of 4x4 positions
    energies: int = 48  # numbers kept of the energies of detail and of change
    features_dim: int = 64  # fewer than a small experiment has windows, so that covariances have full rank

    def __post_init__(self) -> None:
        if len(self.widths) != 4 or self.size % 32 or min(self.widths) < 4:
            raise ValueError(
                f"video network: widths {self.widths} at {self.size} px; wanted 4 widths, "
                "at least 4 each, and a size that 32 divides."
            )


@dataclass(kw_only=True, slots=True)
class MatteNetConfig:
    """Our matting network: a U-Net small enough to be almost free, in space and in time."""

    size: int = 128  # px, square input
    widths: list[int] = field(default_factory=lambda: [12, 20, 28, 32])  # at 1/2, 1/4, 1/8, 1/16 of the size

    def __post_init__(self) -> None:
        step = 2 ** len(self.widths)
        if not self.widths or min(self.widths) < 4 or self.size < step or self.size % step:
            raise ValueError(
                f"matte network: widths {self.widths} at {self.size} px; wanted at least 4 each, and a size "
                f"that {step} divides."
            )


@dataclass(kw_only=True, slots=True)
class MatteConfig:
    """How a person is told from what is behind. The default ships with the project."""

    modnet: Path | None = None  # modnet_photographic_portrait_matting.onnx; None: our own network
    weights: Path = Path("checkpoints/judges/matte.safetensors")  # ours


@dataclass(kw_only=True, slots=True)
class DetectorConfig:
    """How a face is found in a photograph. The default uses what is installed; no file is needed."""

    scrfd: Path | None = None  # insightface's scrfd_*.onnx; None: the cascade that scikit-image carries
    # refines the cascade's points; None, or a file that is not there: not refined
    landmarks: Path | None = Path("checkpoints/judges/landmarks.safetensors")
    scrfd_px: int = 640  # side of the picture that SCRFD sees; 320 is four times faster, for large faces
    min_score: float = 0.5  # SCRFD's own score
    min_confidence: float = 0.3  # of the landmark network that what the cascade found is a face
    cascade_px: int = 320  # longest side of the picture that the cascade sees

    def __post_init__(self) -> None:
        for name in ("min_score", "min_confidence"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"detector.{name} is {getattr(self, name)}; wanted between 0 and 1.")
        if self.cascade_px < 64:
            raise ValueError(f"detector.cascade_px is {self.cascade_px}; wanted at least 64.")
        if self.scrfd_px % 32 or not 128 <= self.scrfd_px <= 2048:
            raise ValueError(f"detector.scrfd_px is {self.scrfd_px}; wanted a multiple of 32, 128 to 2048.")


@dataclass(kw_only=True, slots=True)
class DenseLandmarksConfig:
    """Files of networks that see more of a face than five points; of each, None: where its publisher's tools
    or ``scripts/weights.py`` keep it, if it is there.
    """

    points203: Path | None = None  # LivePortrait's landmark.onnx
    points106: Path | None = None  # insightface's 2d106det.onnx
    points68: Path | None = None  # face-alignment's 3DFAN4-7835d9f11d.pth.tar


SPEECH_KINDS = ("logmel", "wav2vec2", "hubert")


@dataclass(kw_only=True, slots=True)
class SpeechConfig:
    """How speech becomes features at 25 fps."""

    kind: str = "logmel"
    # wav2vec2, hubert: a folder with config.json and weights, or a name in the Hugging Face cache; None: the
    # base model's name
    path: str | None = None
    layer: int | None = None  # hidden state to take, 0 the input of the first layer; None: the model's output
    chunk_s: float = 20.0  # heard at once: bounds memory for sound of any length
    context_s: float = 2.0  # heard on both sides of a chunk besides, and thrown away

    def __post_init__(self) -> None:
        if self.kind not in SPEECH_KINDS:
            raise ValueError(f"speech.kind is {self.kind!r}; wanted one of {', '.join(SPEECH_KINDS)}.")
        if self.kind == "logmel" and (self.path is not None or self.layer is not None):
            raise ValueError(
                "speech.path and speech.layer belong to wav2vec2 and hubert; logmel loads nothing."
            )
        if self.chunk_s < 1 or self.context_s < 0:
            raise ValueError(
                f"speech.chunk_s is {self.chunk_s} and context_s {self.context_s}; wanted at least 1 and 0."
            )


TEACHERS = ("perceptual", "face", "gaze", "identity", "expression")
STANDIN = "standin"


@dataclass(kw_only=True, slots=True)
class TeachersConfig:
    """Frozen networks of the stage-1 losses; each is read only where its term's weight is above 0.

    Each is a file, or ``standin`` for this project's own network, which needs no network connection, or null
    for the published file where its publisher's tools keep it (``scripts/weights.py`` says where).
    """

    perceptual: str | None = None  # of losses.perceptual: VGG19 (vgg19-dcbb9e9d.pth)
    face: str | None = None  # of losses.face: the VGG Face descriptor (vgg_face_dag.pth)
    gaze: str | None = None  # of losses.gaze: RT-GENE (gaze_model_pytorch_vgg16_prl_mpii_allsubjects1.model)
    identity: str | None = None  # of losses.cross_identity: ArcFace (w600k_r50.onnx)
    expression: str | None = None  # of losses.expression: ours in any case
    judges: Path = Path("checkpoints/judges")  # folder of this project's own networks


WEIGHTS_ACTIONS = ("list", "verify", "fetch")


@dataclass(kw_only=True, slots=True)
class WeightsRun:
    """Lists, verifies or fetches the frozen networks."""

    action: str = "list"  # list; verify: compares files with their hashes; fetch: downloads
    names: list[str] = field(default_factory=list)  # of networks; empty: all (fetch asks for names)
    judges: Path = Path("checkpoints/judges")  # folder of this project's own networks

    def __post_init__(self) -> None:
        if self.action not in WEIGHTS_ACTIONS:
            raise ValueError(f"action is {self.action!r}; wanted one of {', '.join(WEIGHTS_ACTIONS)}.")
