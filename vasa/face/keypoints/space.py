"""LivePortrait's face space behind the FaceSpace protocol.

Raw motion (69 numbers) is a pose in records.POSE_NAMES' units and signs, then the expression of 21 keypoints.
LivePortrait's own axes are x right, y down and z away from the viewer, so its angles are the negatives of
ours, and its t's y too. log s is the logarithm of its scale; t's z is always dropped, as it does.

What this space cannot say: gaze, emotion and the other controls of records.CONTROL_NAMES. Its expression was
learned without labels; sliders of a published web page move single keypoints by eye, in no unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.face.keypoints.animation import KeypointMotion
from vasa.face.keypoints.camera import angles_of, headpose_degrees, rotation
from vasa.face.keypoints.extractor import NUM_KEYPOINTS
from vasa.face.keypoints.networks import KeypointNetworks
from vasa.face.keypoints.optimised import OptimisedGenerator, OptimisedWarping, SourceVolume
from vasa.face.volumetric.composition import freedom
from vasa.records import MotionLayout

SIZE = 256
MOTION_WIDTH = 6 + 3 * NUM_KEYPOINTS
EXPRESSION_NAMES = tuple(f"point{point}_{axis}" for point in range(NUM_KEYPOINTS) for axis in "xyz")
SMALLEST = 1e-3
"""Of a scale: released networks give 1.1 to 1.7."""


@dataclass(slots=True)
class KeypointAppearance:
    """A source. volume: what W needs of it. canonical (1, 21, 3). motion (1, 69): its own. side: of its
    frames, px. held (1, 3, side, side): itself, where frames must keep to it at their edges.
    """

    volume: SourceVolume
    canonical: Tensor
    motion: Tensor
    picture: Tensor
    held: Tensor | None = None


class KeypointFace(nn.Module):
    """A FaceSpace (face/space.py) of implicit keypoints. precision: of the renderer's convolutions."""

    def __init__(self, networks: KeypointNetworks, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.appearance_extractor, self.motion_extractor = networks.appearance, networks.motion
        self.retargeting, self.species = networks.retargeting, networks.species
        self.precision = precision
        self.warping = OptimisedWarping(networks.warping, precision)
        self.generator = OptimisedGenerator(networks.generator, precision)
        self.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls, path: Path | str, device: torch.device | str = "cpu", precision: torch.dtype = torch.float32
    ) -> KeypointFace:
        """A file of ``scripts/weights.py``. Raises: as ``KeypointNetworks.from_pretrained``."""
        return cls(KeypointNetworks.from_pretrained(path).to(device), precision)

    @property
    def layout(self) -> MotionLayout:
        return MotionLayout.volumetric(3 * NUM_KEYPOINTS)

    @property
    def size(self) -> int:
        return SIZE

    # ------------------------------------------------------------------ motion

    def read(self, images: Tensor) -> tuple[Tensor, KeypointMotion]:
        """Frames (B, 3, S, S) in [-1, 1] -> canonical keypoints (B, 21, 3) and motion, in LivePortrait's
        terms.
        """
        with torch.autocast(images.device.type, enabled=False):
            heads = self.motion_extractor(_network_picture(images.float()))
        degrees = (
            headpose_degrees(heads["pitch"]),
            headpose_degrees(heads["yaw"]),
            headpose_degrees(heads["roll"]),
        )
        return heads["kp"].view(-1, NUM_KEYPOINTS, 3), KeypointMotion.of_heads(heads, degrees)

    def motion(self, images: Tensor) -> Tensor:
        return to_raw(self.read(images)[1])

    def own_motion(self, appearance: KeypointAppearance) -> Tensor:
        return appearance.motion

    # ------------------------------------------------------------------ appearance and frames

    def encode(
        self, image: Tensor, points: Tensor | None = None, resting: float = 0.0, speaking: bool = False
    ) -> KeypointAppearance:
        """Portrait crop (1, 3, H, H) in [-1, 1]. The other arguments say nothing here: keypoints are read
        from the picture, and relative motion keeps the source's expression.
        """
        return self.encode_known(image, *self.read(image))

    def encode_known(self, image: Tensor, canonical: Tensor, motion: KeypointMotion) -> KeypointAppearance:
        """A portrait crop whose keypoints have been read already."""
        volume = self.appearance_extractor(_network_picture(image.float()))
        source = self.warping.source(volume, motion.keypoints(canonical))
        return KeypointAppearance(source, canonical, to_raw(motion), image.float())

    def hold_edges(self, appearance: KeypointAppearance) -> KeypointAppearance:
        return replace(appearance, held=appearance.picture)

    def ready(self, appearance: KeypointAppearance) -> KeypointAppearance:
        return appearance

    def replayable(self, appearance: KeypointAppearance) -> bool:
        return False

    def render(self, appearance: KeypointAppearance, motion: Tensor) -> Tensor:
        """Raw motion (B, 69) -> frames (B, 3, side, side) in [-1, 1]."""
        with torch.autocast(motion.device.type, enabled=False):
            moved = from_raw(motion.float()).keypoints(appearance.canonical)
            # one by one a CPU is as fast, in a tenth of the memory, and no frame depends on its neighbours
            parts = moved.split(1 if moved.device.type == "cpu" else len(moved))
            frames = torch.cat([self.generator(self.warping(appearance.volume, x)[0]) for x in parts]) * 2 - 1
        frames = _at(frames, appearance.picture.shape[-1])
        return frames if appearance.held is None else torch.lerp(appearance.held, frames, freedom(frames))

    # ------------------------------------------------------------------ controls

    def controls(self, motion: Tensor) -> Tensor:
        raise ValueError(_NO_CONTROLS)

    def set_controls(self, motion: Tensor, controls: Tensor) -> Tensor:
        raise ValueError(_NO_CONTROLS)


_NO_CONTROLS = (
    "a keypoint face space has no labelled controls (gaze, brows, blinks, moods): its expression is read "
    "from pictures or made from sound; leave them out, or take a checkpoint of the volumetric face space."
)


def to_raw(motion: KeypointMotion) -> Tensor:
    """LivePortrait's motion of T frames -> raw motion (T, 69)."""
    angles = torch.deg2rad(-angles_of(motion.turned))  # yaw, pitch, roll
    place = torch.stack([motion.t[:, 0], -motion.t[:, 1]], -1)
    return torch.cat(
        [angles, place, motion.scale.clamp(min=SMALLEST).log(), motion.expression.flatten(1)], -1
    )


def from_raw(motion: Tensor) -> KeypointMotion:
    """Raw motion (T, 69) -> LivePortrait's."""
    yaw, pitch, roll = torch.rad2deg(-motion[:, :3]).unbind(-1)
    t = torch.stack([motion[:, 3], -motion[:, 4], torch.zeros_like(motion[:, 3])], -1)
    expression = motion[:, 6:].view(-1, NUM_KEYPOINTS, 3)
    return KeypointMotion(rotation(pitch, yaw, roll), expression, motion[:, 5:6].exp(), t)


def _network_picture(images: Tensor) -> Tensor:
    """(B, 3, S, S) in [-1, 1] -> (B, 3, 256, 256) in 0..1, averaged where it shrinks by whole pixels."""
    if images.shape[-1] == SIZE:
        return (images + 1) / 2
    if images.shape[-1] % SIZE == 0:
        resized = F.interpolate(images, (SIZE, SIZE), mode="area")
    else:
        resized = F.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True)
    return ((resized + 1) / 2).clamp(0, 1)


def _at(frames: Tensor, side: int) -> Tensor:
    if side == frames.shape[-1]:
        return frames
    resized = F.interpolate(frames, (side, side), mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(-1, 1)
