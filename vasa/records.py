"""What crosses folders: controls, poses, motion, conditions and clips, with every shape, unit and sign.

This module is the one place where signs and units are stated; everything else refers to it. It knows nothing
of networks, files or rendering.

Shapes (the same letters everywhere):
    B batch, T frames in a window, K frames carried over, C channels, D H W depth, height, width,
    L tokens, E width of a code, N points or samples.

Frames
    In files and between programs: uint8, (T, H, W, 3), RGB. On a device: float, (B, 3, H, W), in [-1, 1].
    Image coordinates are normalised: u in [-1, 1] to the right, v in [-1, 1] DOWN, pixel centres as in
    ``grid_sample(align_corners=False)``.

Axes
    Head and camera frames are right-handed: x to the viewer's right, y UP, z towards the viewer (out of the
    face).
    "left" and "right" of a face are the VIEWER's (image) left and right, for eyes, brows and everything else.
    One unit of length is half the height of a mean head without hair (chin to crown is 2 units); the origin
    is its centre.

Pose
    yaw > 0 turns the face to the viewer's right, pitch > 0 turns it up, roll > 0 turns it counter-clockwise
    as the viewer sees it; R = Rz(roll) Ry(yaw) Rx(-pitch), radians.
    translation (t_x, t_y) is where the head's centre appears, in half image widths, x right and y UP.
    scale s is the reference distance over the head's distance: s = 2 is twice as near. Stored as log s.

Gaze
    Yaw and pitch of the eyes RELATIVE TO THE HEAD, radians, same signs as the pose: > 0 looks to the viewer's
    right, and up.

Distance
    d = 1 / s: distance from camera to head over the reference distance. 1 is the framing of the crop rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

VIDEO_FPS = 25
AUDIO_HZ = 16_000
SAMPLES_PER_FRAME = AUDIO_HZ // VIDEO_FPS

MIRRORED_LANDMARKS = np.array(
    [
        *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
    ]
)  # fmt: skip
"""Which of the iBUG 68 (jaw, brows, nose, eyes, lips) a mirror shows in the place of each."""

POSE_NAMES = ("yaw", "pitch", "roll", "translation_x", "translation_y", "log_scale")
"""Order of a pose vector; the first three in radians, see the module's text for units and signs."""

CONTROL_NAMES = (
    "gaze_yaw",  # radians, about +-0.5
    "gaze_pitch",  # radians, about +-0.35
    "blink_left",  # 0 open, 1 closed; down to -0.25 wide open
    "blink_right",
    "brow_raise",  # -1 lowered .. 1 raised
    "frown",  # 0 none .. 1 inner brows drawn together and down
    "jaw",  # 0 closed .. 1 wide open
    "lip_width",  # -1 narrow .. 1 wide
    "lip_pucker",  # 0 none .. 1 lips pushed forward and rounded
    "lip_press",  # 0 none .. 1 lips pressed together, hidden vermilion (m, b, p)
    "smile",  # -1 corners down .. 1 corners up
)
"""Order of an expression vector: what the procedural heads can do, and what labels and metrics speak of."""
NUM_CONTROLS = len(CONTROL_NAMES)
CONTROL_INDEX = {name: index for index, name in enumerate(CONTROL_NAMES)}
CONTROL_LOW = (-0.5, -0.35, -0.25, -0.25, -1.0, 0.0, 0.0, -1.0, 0.0, 0.0, -1.0)
CONTROL_HIGH = (0.5, 0.35, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)

EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
"""The eight AffectNet classes in the data set's label order; an emotion condition is a vector of eight
weights.
"""


def _check(name: str, value: Tensor, *dims: int | None) -> None:
    """Raises ValueError unless ``value`` has the wanted trailing shape (None: any size)."""
    got = tuple(value.shape)
    if len(got) < len(dims) or any(
        w is not None and g != w for g, w in zip(got[-len(dims) :], dims, strict=True)
    ):
        wanted = ", ".join("any" if d is None else str(d) for d in dims)
        raise ValueError(f"{name} has shape {got}; wanted (..., {wanted}).")


@dataclass(slots=True)
class Animation:
    """Pose and expression of B (or T) frames of a head: the truth of a rendered frame.

    pose: (..., 6) in the order of POSE_NAMES. controls: (..., 11) in the order of CONTROL_NAMES.
    """

    pose: Tensor
    controls: Tensor

    def __post_init__(self) -> None:
        _check("pose", self.pose, len(POSE_NAMES))
        _check("controls", self.controls, NUM_CONTROLS)
        if self.pose.shape[:-1] != self.controls.shape[:-1]:
            raise ValueError(
                f"pose {tuple(self.pose.shape)} and controls {tuple(self.controls.shape)} must agree but for "
                "the last axis."
            )

    def __getitem__(self, index: int | slice | Tensor | tuple[int | slice | Tensor, ...]) -> Animation:
        return Animation(self.pose[index], self.controls[index])

    def __len__(self) -> int:
        return self.pose.shape[0]

    def to(self, device: torch.device | str) -> Animation:
        return Animation(self.pose.to(device), self.controls.to(device))

    @staticmethod
    def neutral(num: int) -> Animation:
        """``num`` frames looking straight ahead at the reference distance, eyes open, mouth closed."""
        return Animation(torch.zeros(num, len(POSE_NAMES)), torch.zeros(num, NUM_CONTROLS))


@dataclass(slots=True)
class MotionLayout:
    """Which entries of a motion vector are what: controls and metrics read this, never a face space.

    rotation: yaw, pitch, roll in radians. translation: as in a pose. scale: log s. dynamics: the code z_dyn.
    """

    rotation: slice
    translation: slice
    scale: slice
    dynamics: slice
    width: int

    @property
    def pose(self) -> slice:
        """Rotation, translation and scale together; they are contiguous and come first."""
        return slice(self.rotation.start, self.scale.stop)

    @staticmethod
    def volumetric(dynamics_dim: int) -> MotionLayout:
        """z_pose (6, order of POSE_NAMES) followed by z_dyn."""
        return MotionLayout(
            slice(0, 3), slice(3, 5), slice(5, 6), slice(6, 6 + dynamics_dim), 6 + dynamics_dim
        )


@dataclass(slots=True)
class Motion:
    """A motion sequence, raw (as the face space's encoders give it): values (..., T, E) and the layout of
    E.
    """

    values: Tensor
    layout: MotionLayout

    def __post_init__(self) -> None:
        _check("motion values", self.values, self.layout.width)


@dataclass(slots=True)
class Conditions:
    """What a motion window may be conditioned on besides audio; any of them may be None (then: the null
    condition).

    gaze (B, 2): main gaze direction of the clip RELATIVE TO THE CAMERA would need calibrated data; here it is
    the eyes' direction relative to the head, (yaw, pitch), radians, averaged over the clip's main mode.
    distance (B, 1): mean head distance d. emotion (B, 8): weights over EMOTIONS (zeros: neutral offset).
    """

    gaze: Tensor | None = None
    distance: Tensor | None = None
    emotion: Tensor | None = None

    def __post_init__(self) -> None:
        for name, width in (("gaze", 2), ("distance", 1), ("emotion", len(EMOTIONS))):
            value = getattr(self, name)
            if value is not None:
                _check(name, value, width)

    def to(self, device: torch.device | str) -> Conditions:
        return Conditions(
            *(None if v is None else v.to(device) for v in (self.gaze, self.distance, self.emotion))
        )


def mirrored_points(points: np.ndarray) -> np.ndarray:
    """Landmarks (..., 68, 2), iBUG order, of a picture whose left and right are changed."""
    return points[..., MIRRORED_LANDMARKS, :] * np.array([-1, 1], points.dtype)


@dataclass(slots=True)
class Truth:
    """Exact ground truth of T rendered frames; None where a record has none (real video).

    animation: pose and controls. landmarks: (T, 68, 2) image coordinates (u, v) in the iBUG order, the
    viewer's left first as there. landmarks_3d: (T, 68, 3) in the head frame. mask: (T, H, W) uint8, 255 where
    the head with hair is, 128 neck and torso, 0 background. eye_boxes: (T, 2, 4) left then right, mouth_box:
    (T, 4), each (u0, v0, u1, v1).
    """

    animation: Animation | None = None
    landmarks: Tensor | None = None
    landmarks_3d: Tensor | None = None
    mask: Tensor | None = None
    eye_boxes: Tensor | None = None
    mouth_box: Tensor | None = None


@dataclass(slots=True)
class Clip:
    """One talking clip, synthetic or real.

    frames: uint8 (T, H, W, 3) RGB at VIDEO_FPS, or None where only signals are wanted. audio: float32 (N,)
    mono at AUDIO_HZ in [-1, 1], N = T * SAMPLES_PER_FRAME. gaze (2,), distance (), emotion (8,): clip-level
    conditions (see Conditions). clip_id names the clip; identity and voice are integers that splits are
    disjoint in.
    """

    clip_id: str
    audio: np.ndarray
    frames: np.ndarray | None = None
    truth: Truth = field(default_factory=Truth)
    gaze: Tensor | None = None
    distance: Tensor | None = None
    emotion: Tensor | None = None
    identity: int = -1
    voice: int = -1

    @property
    def num_frames(self) -> int:
        return len(self.audio) // SAMPLES_PER_FRAME

    def __post_init__(self) -> None:
        if self.audio.ndim != 1 or self.audio.dtype != np.float32:
            raise ValueError(
                f"audio of clip {self.clip_id} is {self.audio.dtype} {self.audio.shape}; "
                "wanted mono float32 (N,)."
            )
        if self.frames is not None and len(self.frames) != self.num_frames:
            raise ValueError(
                f"clip {self.clip_id} has {len(self.frames)} frames and {len(self.audio)} samples; "
                f"wanted {SAMPLES_PER_FRAME} samples a frame."
            )
