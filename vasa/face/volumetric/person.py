"""One person beside a face space: frames of them that are kept, and a picture of them made of the nearest
few.

    motion -> nearest kept frames -> geometric warp of each -> PersonRefiner -> one picture
    frame of the person -> their pose and dynamics encoders -> motion

A portrait shows neither teeth nor closed lids nor the other side of a head; a minute of video does. So
nothing of the face space is trained: kept frames are warped as its portraits are (pixels.py), from nearby,
and what is still missing is learned from the person's other frames. In neither paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.checkpoint import CheckpointError, from_plain, load_into, load_weights, plain
from vasa.face.config import FaceConfig, PersonConfig
from vasa.face.volumetric.encoders import DynamicsEncoder, PoseEncoder
from vasa.face.volumetric.mouth import paint_mouth
from vasa.face.volumetric.pixels import Base, base_warp
from vasa.face.volumetric.refiner import PersonRefiner, Refined
from vasa.face.volumetric.shape import face_shape
from vasa.geometry import pixel_grid
from vasa.nn.blocks import fold
from vasa.nn.warp import enlarge_twice, sample_image, upsample_flow
from vasa.records import CONTROL_NAMES, NUM_CONTROLS, MotionLayout

PERSON_FILE = "person.safetensors"
OF_LIDS = ("blink_left", "blink_right")
OF_EYES = ("gaze_yaw", "gaze_pitch", *OF_LIDS)
FALL = 4.0
"""How fast a frame counts less with its squared distance."""
UPPER_WEIGHTS = (3.0, 3.0, 1.5, 1.5, 1.0, 1.0, 0.25, 0.25, 0.25, 0.25, 0.25)
LOWER_WEIGHTS = (0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 1.5, 1.0, 1.0, 1.0, 1.0)
"""Of differences of controls, when frames are chosen for the two parts of a face; learned further."""
FARTHER = 1e5
"""Distance that is added to a frame that must not be used."""


@dataclass(slots=True)
class PersonPixels:
    """The kept frames, in [-1, 1], for frames of ``side`` H px. small (K, 3, S, S): as the network sees them.
    pixels (K, 3, 2 H, 2 H): what frames are sampled from; twice as fine keeps their sharpness. In half
    precision where frames are finer than the network, because these are hundreds of megabytes.
    """

    small: Tensor
    pixels: Tensor
    side: int


class Person(nn.Module):
    """What is kept of one person, and the network that was trained on them.

    frames (K, 3, H, H) uint8 with their motion (K, E) and controls (K, 11); landmarks (1, 68, 3), neutral;
    mean, spread, low, high (E,): of motion over the whole video, the last two after the first two are taken
    out; least, most (11,): controls that the video showed. portrait: which frame stands for the person.
    """

    def __init__(self, config: PersonConfig, face: FaceConfig, num: int, side: int) -> None:
        """face: of the face space beside it. num, side: K and H."""
        super().__init__()
        self.config, self.face, self.size, self.side = config, face, face.size, side
        self.layout = MotionLayout.volumetric(face.dynamics_dim)
        width = self.layout.width
        self.refiner = PersonRefiner(config, width, face.size)
        self.pose_encoder = PoseEncoder(face)  # the face space's, trained on
        self.dynamics_encoder = DynamicsEncoder(face)  # its body trained on; its reading the face space's
        self.register_buffer("frames", torch.zeros(num, 3, side, side, dtype=torch.uint8))
        self.register_buffer("motion", torch.zeros(num, width))
        self.register_buffer("controls", torch.zeros(num, NUM_CONTROLS))
        self.register_buffer("landmarks", torch.zeros(1, 68, 3))
        eyes = [name in OF_EYES for name in CONTROL_NAMES]
        self.register_buffer("of_eyes", torch.tensor(eyes), persistent=False)
        lids = [name in OF_LIDS for name in CONTROL_NAMES]
        self.register_buffer("of_lids", torch.tensor(lids), persistent=False)
        self.register_buffer("parts", torch.tensor([UPPER_WEIGHTS, LOWER_WEIGHTS]), persistent=False)
        for name in ("least", "most"):
            self.register_buffer(name, torch.zeros(NUM_CONTROLS))
        for name in ("mean", "spread", "low", "high"):
            self.register_buffer(name, torch.zeros(width))
        self.register_buffer("portrait", torch.zeros((), dtype=torch.long))
        self.frames: Tensor
        self.motion: Tensor
        self.controls: Tensor
        self.landmarks: Tensor
        self.mean: Tensor
        self.spread: Tensor
        self.low: Tensor
        self.high: Tensor
        self.portrait: Tensor
        self.parts: Tensor
        self.of_eyes: Tensor
        self.of_lids: Tensor
        self.least: Tensor
        self.most: Tensor

    @classmethod
    def from_pretrained(cls, path: Path | str) -> Person:
        """Reads a ``person.safetensors`` file. Raises: what vasa.checkpoint raises."""
        weights = load_weights(path)
        if set(weights.config) != {"person", "face", "num", "side"}:
            raise CheckpointError(f"{path} is no person; wanted a file made by scripts/personalise.py.")
        config, face = weights.config["person"], weights.config["face"]
        person = cls(
            from_plain(PersonConfig, config, "person"),
            from_plain(FaceConfig, face, "face"),
            weights.config["num"],
            weights.config["side"],
        )
        load_into(person, weights, "person")
        fold(person)
        return person.eval().requires_grad_(False)

    def describe(self) -> dict[str, Any]:
        """The configuration as plain data, as ``from_pretrained`` reads it."""
        sizes = {"num": len(self.frames), "side": self.side}
        return {"person": plain(self.config), "face": plain(self.face), **sizes}

    # ------------------------------------------------------------------ what is kept

    @property
    def picture(self) -> np.ndarray:
        """The frame that stands for the person, uint8 (H, H, 3)."""
        return self.frames[int(self.portrait)].permute(1, 2, 0).contiguous().cpu().numpy()

    def pixels_at(self, side: int) -> PersonPixels:
        """The kept frames, ready for frames of ``side`` px."""
        kept = self.frames.float() / 127.5 - 1
        fine = enlarge_twice(resized(kept, side))
        return PersonPixels(resized(kept, self.size), fine.half() if side > self.size else fine, side)

    def pose_code(self, images: Tensor) -> Tensor:
        """Frames (B, 3, S, S) of the person -> z_pose (B, 6), as the trained encoder sees it."""
        return self.pose_encoder(resized(images, self.face.encoder_input))

    def read(self, images: Tensor) -> Tensor:
        """Frames (B, 3, S, S) of the person -> motion (B, E), as the trained encoders see them."""
        pose = self.pose_code(images)
        return torch.cat([pose.float(), self.dynamics_encoder(images, pose.detach()).float()], -1)

    def said(self, motion: Tensor) -> Tensor:
        """Controls (..., 11) that a motion (..., E) says."""
        return self.dynamics_encoder.controls(motion[..., self.layout.dynamics])

    def code(self, motion: Tensor) -> Tensor:
        """Motion (B, E) as the refiner is told it: nothing that the video did not show."""
        standard = (motion - self.mean) / self.spread
        return torch.maximum(torch.minimum(standard, self.high), self.low)

    def nearest(self, pose: Tensor, controls: Tensor, far: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Of targets' pose (B, 6) and controls (B, 11): the kept frames (B, M) nearest to their upper part,
        then those nearest to their lower part, and how much each counts in the two (B, 2, M), sums of 1. far
        (B, K) bool: kept frames that must not be used.

        The farthest counts nothing where the next one takes its place, so a moving head makes no jump.
        """
        scale = self.refiner.metric.float().exp()
        scale = scale * torch.cat(
            [scale.new_full((2, pose.shape[1]), self.config.pose_weight), self.parts], 1
        )
        target = torch.cat([pose, controls], -1)[:, None, None]  # (B, 1, 1, 17)
        kept = torch.cat([self.motion[:, self.layout.pose], self.controls], -1)[:, None]  # (K, 1, 17)
        distances = ((target - kept) * scale).square().sum(-1)  # (B, K, 2)
        if far is not None:
            distances = distances + FARTHER * far[..., None]
        found, chosen = distances.transpose(1, 2).topk(self.config.near + 1, largest=False)
        inside = (found[..., -1:] - found[..., :-1]) / (found[..., -1:] - found[..., :1] + 1e-6)
        counts = inside * torch.exp(FALL * (found[..., :1] - found[..., :-1]))
        counts = (counts + 1e-6) / (counts + 1e-6).sum(-1, keepdim=True)
        none = torch.zeros_like(counts[:, 0])
        shares = [torch.cat([counts[:, 0], none], 1), torch.cat([none, counts[:, 1]], 1)]
        return chosen[..., :-1].flatten(1), torch.stack(shares, 1)

    # ------------------------------------------------------------------ rendering

    def forward(self, pixels: PersonPixels, motion: Tensor, controls: Tensor) -> Tensor:
        """Frames (B, 3, H, H) in [-1, 1] under motion (B, E), which says controls (B, 11)."""
        pose = motion[:, self.layout.pose].float()
        chosen, shares = self.nearest(pose, controls)
        return self.compose(pixels, motion, controls, chosen, shares, self.motion[chosen])

    def compose(
        self,
        pixels: PersonPixels,
        motion: Tensor,
        controls: Tensor,
        chosen: Tensor,
        shares: Tensor,
        kept: Tensor,
    ) -> Tensor:
        """``forward`` with what ``nearest`` said, and the motion (B, M, E) of the chosen kept frames."""
        batch, near = chosen.shape
        base = self._bases(motion, controls, chosen, kept)
        flow = upsample_flow(base.flow, self.size, self.size)
        warped = sample_image(pixels.small[chosen.flatten()], flow).unflatten(0, (batch, near))
        maps = base.maps.unflatten(0, (batch, near))
        code, theirs = self.code(motion.detach()), self.code(kept.detach())
        refined = self.refiner(warped, maps, shares, code, theirs - code[:, None])
        return self._composed(pixels, chosen, base, refined)

    def _bases(self, motion: Tensor, controls: Tensor, chosen: Tensor, kept: Tensor) -> Base:
        """The geometric warps from the chosen frames (B, M) to the targets, (B M) of them, at half size."""
        index, near = chosen.flatten(), chosen.shape[1]
        pose = motion[:, self.layout.pose].float()
        with torch.autocast(pose.device.type, enabled=False):
            return base_warp(
                kept.flatten(0, 1)[:, self.layout.pose].float(),
                self.said(kept.flatten(0, 1)),
                pose.repeat_interleave(near, 0),
                controls.float().repeat_interleave(near, 0),
                face_shape(self.landmarks.expand(len(index), -1, -1)),
                self.size // 2,
            )

    def _composed(self, pixels: PersonPixels, chosen: Tensor, base: Base, refined: Refined) -> Tensor:
        """Each frame sampled once, by its flow after the residual one, then weighed, then corrected."""
        batch, near = chosen.shape
        grid = pixel_grid(self.size, self.size, refined.flow.device)[None] + refined.flow
        flow = sample_image(base.flow.permute(0, 3, 1, 2), grid.repeat_interleave(near, 0))
        flow = flow.permute(0, 2, 3, 1)
        flow = upsample_flow(flow, pixels.side, pixels.side) if pixels.side != self.size else flow
        sampled = sample_image(pixels.pixels[chosen.flatten()], flow, mode="bicubic")
        weight = enlarged(refined.weight, pixels.side)[:, :, None]
        mixed = (sampled.float().unflatten(0, (batch, near)) * weight).sum(1)
        maps = (base.maps.unflatten(0, (batch, near)) * refined.weight[:, :, None]).sum(1)
        # teeth end in a square root, whose slope where they do is infinite: no gradient goes through their
        # place
        mixed = paint_mouth(mixed, Base(base.flow, maps.detach(), base.synthesis, base.mouth[::near]))
        return (mixed + enlarged(refined.colour, pixels.side)).clamp(-1, 1)


def resized(images: Tensor, size: int) -> Tensor:
    """Square pictures (B, C, h, h) at size x size, as sharp as they can be."""
    if images.shape[-1] == size:
        return images
    resized = F.interpolate(images, (size, size), mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(-1, 1)


def enlarged(maps: Tensor, size: int) -> Tensor:
    """Square maps (B, C, h, h) at size x size, smoothly."""
    if maps.shape[-1] == size:
        return maps
    return F.interpolate(maps, (size, size), mode="bilinear", align_corners=False)
