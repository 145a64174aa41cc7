"""Landmarks, head pose and the confidence that there is a face at all, from a loose square crop.

One network class, two sets of weights that share nothing but the code: ``landmarks.safetensors`` aligns faces
where no detector is at hand (inference, preprocessing), ``judge_pose.safetensors`` measures generated
frames and is never in a loss. Trained on procedural heads with randomised textures, which is why it also
works on photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.geometry import pixel_grid
from vasa.nn.blocks import group_norm
from vasa.pretrained.config import LandmarkNetConfig
from vasa.pretrained.crops import apply, invert, pose_in_crop, pose_similarity, similarity, warp_crop
from vasa.pretrained.files import load_network
from vasa.pretrained.trunk import Trunk

NUM_LANDMARKS = 68
POSE_DIM = 6

SURE_OF_A_FACE = 0.985
"""Confidence of the aligner (`landmarks`) from which on it is believed without a detection. Framed heads of
test people have at least 0.99; of 40 other pictures, textures and torsos among them, none has it each time.
The pose judge's confidence says nothing: it never saw anything but heads.
"""


@dataclass(slots=True)
class LandmarkPrediction:
    """landmarks (B, 68, 2) in image coordinates, pose (B, 6) as POSE_NAMES, confidence (B,) in [0, 1]."""

    landmarks: Tensor
    pose: Tensor
    confidence: Tensor


class LandmarkNet(nn.Module):
    """Heatmaps at a quarter of the size give the points by their mean; points and features give the pose."""

    def __init__(self, config: LandmarkNetConfig) -> None:
        super().__init__()
        self.config = config
        w, d = config.widths, config.decoder_width
        self.trunk = Trunk(w, config.trunk)
        self.lateral = nn.ModuleList(nn.Conv2d(c, d, 1) for c in w[1:])
        self.smooth = nn.ModuleList(nn.Conv2d(d, d, 3, padding=1) for _ in w[1:-1])
        self.norms = nn.ModuleList(group_norm(d) for _ in w[1:-1])
        self.heatmaps = nn.Conv2d(d, NUM_LANDMARKS, 1)
        self.pose = nn.Sequential(
            nn.Linear(w[-1] + 2 * NUM_LANDMARKS, 128), nn.SiLU(), nn.Linear(128, POSE_DIM)
        )
        self.confidence = nn.Linear(w[-1], 1)

    def forward(self, images: Tensor) -> LandmarkPrediction:
        """images (B, 3, S, S) in [-1, 1] at the network's size -> one look; confidence here is a logit."""
        maps = self.trunk(images)[1:]
        x = self.lateral[-1](maps[-1])
        for level in range(len(maps) - 2, -1, -1):
            x = F.interpolate(x, scale_factor=2, mode="nearest") + self.lateral[level](maps[level])
            x = F.silu(self.norms[level](self.smooth[level](x)))
        landmarks = _mean_position(self.heatmaps(x).float())
        pooled = maps[-1].float().mean((2, 3))
        pose = self.pose(torch.cat([pooled, landmarks.flatten(1)], -1)).float()
        return LandmarkPrediction(landmarks, pose, self.confidence(pooled).float()[:, 0])

    @torch.no_grad()
    def predict(self, images: Tensor, looks: int = 2) -> LandmarkPrediction:
        """images (B, 3, H, H) in [-1, 1], any size -> prediction in that picture's image coordinates.

        The first look finds the face; every further look sees the crop the last one would call upright and
        centred, cut from the picture at its own resolution. The confidence is that of the last look.
        """
        size, matrix = self.config.size, _whole(images)
        for look in range(looks):
            out = self(_resample(images, matrix, size))
            landmarks, pose = apply(matrix, out.landmarks), _pose_outside(out.pose, matrix)
            if look + 1 < looks:
                matrix = pose_similarity(_keep_inside(pose))
        return LandmarkPrediction(landmarks, pose, out.confidence.sigmoid())

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Reads a network this project trained. Raises: FileNotFoundError, CheckpointError."""
        return load_network(cls, LandmarkNetConfig, path)


def _mean_position(logits: Tensor) -> Tensor:
    """Soft-argmax: heatmaps (B, N, h, w) -> mean position (B, N, 2) in image coordinates."""
    h, w = logits.shape[-2:]
    weights = logits.flatten(2).softmax(-1)
    return weights @ pixel_grid(h, w, logits.device).view(-1, 2)


def _whole(images: Tensor) -> Tensor:
    ones = images.new_ones(len(images), dtype=torch.float32)
    return similarity(torch.zeros(len(images), 2, device=images.device), ones, ones * 0)


def _resample(images: Tensor, matrix: Tensor, size: int) -> Tensor:
    """A crop at `size`, from an area-averaged copy where the crop would skip pixels."""
    pixels = float(torch.linalg.det(matrix[:, :, :2]).sqrt().median()) * images.shape[-1]
    factor = max(1, int(pixels / size))
    return warp_crop(F.avg_pool2d(images, factor) if factor > 1 else images, matrix, size)


def _keep_inside(pose: Tensor) -> Tensor:
    """Bounds what a wrong first look may ask of the second:

    Centred inside the picture, 1/4 to 1.7 times the size.
    """
    low = pose.new_tensor([-2, -2, -1.2, -0.9, -0.9, -1.4])
    return torch.maximum(torch.minimum(pose, pose.new_tensor([2, 2, 1.2, 0.9, 0.9, 0.53])), low)


def _pose_outside(pose: Tensor, matrix: Tensor) -> Tensor:
    """The pose in the whole picture of a head whose crop by `matrix` shows this pose."""
    return pose_in_crop(pose, invert(matrix))
