"""What a face space is made of: sizes of the volumetric face autoencoder. Torch-free; defaults are
MegaPortraits' at 512.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MOTION_ENCODERS = ("dynamics_encoder.",)
"""Parts of a face checkpoint that give motion a meaning of its own; latents and motion models are keyed by
their hash. z_dyn means what its encoder says, while a pose means the same in every face space; so neither a
decoder nor a pose encoder that is trained further makes them stale.
"""


@dataclass(kw_only=True, slots=True)
class CropWindow:
    """A frontalised patch for the dynamics encoder: a rectangle of the face plane (head units, x right, y
    up) and its pixels.
    """

    x0: float
    x1: float
    y0: float
    y1: float
    height: int
    width: int


@dataclass(kw_only=True, slots=True)
class DiscriminatorConfig:
    """The patch discriminator of the adversarial terms; sizes of MegaPortraits' authors' code."""

    widths: list[int] = field(
        default_factory=lambda: [64, 128, 256, 512]
    )  # a convolution each, the last of stride 1
    num_scales: int = 2  # resolutions that are judged, each half of the one before

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or self.num_scales < 1:
            raise ValueError(
                f"discriminator: widths {self.widths} at {self.num_scales} scales; wanted at least two "
                "widths and one scale."
            )


@dataclass(kw_only=True, slots=True)
class FaceConfig:
    """The volumetric face autoencoder. Widths are lists from the input's resolution downwards."""

    size: int = 512  # px, input and network output (MegaPortraits' larger model)
    appearance_widths: list[int] = field(
        default_factory=lambda: [64, 128, 256, 512]
    )  # E_app: stem, then one halving each
    appearance_stride: int = 1  # of E_app's first convolution: 2 starts at half resolution
    volume_channels: int = 96
    volume_depth: int = 16
    volume_blocks: int = 3  # ResBlock3D in E_app
    refiner_widths: list[int] = field(default_factory=lambda: [192, 384, 512])  # G3D
    # E_id: as deep as a ResNet-50 (MegaPortraits), of basic blocks; about 220 M in all (VASA-1: about 200 M)
    identity_widths: list[int] = field(default_factory=lambda: [64, 128, 256, 512, 512])
    identity_blocks: list[int] = field(default_factory=lambda: [1, 3, 4, 6, 3])
    identity_channels: int = 512  # z_id is identity_channels x 4 x 4 (MegaPortraits' e_s)
    encoder_input: int = 256  # px that E_id and E_pose see
    pose_widths: list[int] = field(default_factory=lambda: [64, 64, 128, 256, 512])  # ResNet-18-type
    pose_blocks: list[int] = field(default_factory=lambda: [1, 2, 2, 2, 2])
    dynamics_widths: list[int] = field(default_factory=lambda: [64, 64, 128, 256, 512])
    dynamics_blocks: list[int] = field(default_factory=lambda: [1, 2, 2, 2, 2])
    dynamics_dim: int = 512  # z_dyn (MegaPortraits; EMOPortraits found 128 to be enough)
    windows: list[CropWindow] = field(
        default_factory=lambda: [CropWindow(x0=-0.85, x1=0.85, y0=-1.0, y1=0.7, height=128, width=128)]
    )
    warp_widths: list[int] = field(
        default_factory=lambda: [512, 256, 128, 64, 32]
    )  # one doubling each from 4x4x4
    warp_reach: float = 1.0  # largest learned offset of the expression warp, in halves of the volume (tanh)
    # the driver's warp generator also says what to add to the canonical volume: what an expression uncovers
    # (teeth, lids), which no warp can carry. In neither paper
    driver_adds: bool = False
    decoder_width: int = 512
    decoder_blocks: int = 8
    decoder_up_widths: list[int] = field(default_factory=lambda: [256, 128, 64])
    pixel_shuffle: int = 1  # last upsampling by sub-pixels (1: none)
    source_pixels: bool = False  # carry the portrait's own pixels by the projected warp (not in either paper)
    # ... under both expressions, which needs landmarks and controls learned from labels; else rigidly, by the
    # poses and a mean face alone, and eyes and mouth are redrawn as z_dyn says (painter.py)
    expression_warp: bool = True
    painter_width: int = 32  # channels of that painter at half the windows' resolution
    residual_flow_px: float = 8.0  # bound of the learned residual flow, in pixels at `size`

    def __post_init__(self) -> None:
        if self.appearance_stride not in (1, 2):
            raise ValueError(f"face.appearance_stride is {self.appearance_stride}; wanted 1 or 2.")
        if self.size % 16 or self.size < 32:
            raise ValueError(f"face.size is {self.size}; wanted a multiple of 16, at least 32.")
        ups = 2 ** len(self.decoder_up_widths) * self.pixel_shuffle
        if self.volume_size * ups != self.size:
            raise ValueError(
                f"face.decoder_up_widths and pixel_shuffle enlarge {self.volume_size} px {ups} times; "
                f"wanted {self.size} px."
            )
        if not self.windows:
            raise ValueError("face.windows is empty; wanted at least one crop for the dynamics encoder.")
        self.windows = [w if isinstance(w, CropWindow) else CropWindow(**w) for w in self.windows]

    @property
    def feature_widths(self) -> list[int]:
        """Channels of E_app's 2D features at half the size, a quarter, ... down to the volume's."""
        return self.appearance_widths if self.appearance_stride == 2 else self.appearance_widths[1:]

    @property
    def volume_size(self) -> int:
        """Height and width of the appearance volume."""
        return self.size // self.appearance_stride // 2 ** (len(self.appearance_widths) - 1)


@dataclass(kw_only=True, slots=True)
class PersonConfig:
    """What is kept of one person beside a face space (face/volumetric/person.py). Sizes chosen for a CPU."""

    frames: int = 48  # frames of the person's video that are kept, at most
    size: int = 384  # px of each, at most: the largest side of the videos that are made of them
    near: int = 2  # kept frames that a picture's upper part is made of at once, and as many its lower part
    source_width: int = 16  # channels that look at each of them
    widths: list[int] = field(default_factory=lambda: [32, 64, 96])  # of the refiner, one halving each
    residual_flow_px: float = 4.0  # bound of the learned residual flow, in pixels of the network's size
    pose_weight: float = 4.0  # of a pose's difference against one of controls, when near frames are chosen

    def __post_init__(self) -> None:
        if self.frames < 2 or not 1 <= self.near < self.frames:
            raise ValueError(
                f"person.frames is {self.frames} and near {self.near}; wanted at least 2 frames, and "
                "fewer near ones."
            )
        if self.size % 2 or not 32 <= self.size <= 1024:
            raise ValueError(f"person.size is {self.size} px; wanted an even number from 32 to 1024.")
        if len(self.widths) < 2 or min(*self.widths, self.source_width) < 4:
            raise ValueError(
                f"person.widths is {self.widths}, source_width {self.source_width}; wanted at least two, "
                "of 4 or more channels."
            )
