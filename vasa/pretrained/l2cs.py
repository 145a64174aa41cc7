"""L2CS-Net (Abdelrahman et al. 2022): where somebody looks, from a picture of the face; VASA-1's choice.

A ResNet-50 with one classifier of 90 bins of 4 degrees for each angle; the angle is the mean over the bins.
The published file was trained on Gaze360 (Kellnhofer et al. 2019), whose angles are those of the gaze against
the line from the face to the camera: yaw > 0 towards the viewer's LEFT, pitch > 0 up. Its two heads are named
rightly (fc_yaw_gaze is the angle that a mirrored picture negates), though the published script swaps the
names of what they give. What leaves here is in the signs of records.py, relative to the head.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.geometry import camera_rays, rotation_matrix
from vasa.pretrained.crops import box_crop, face_boxes
from vasa.pretrained.third_party import load_published
from vasa.pretrained.vgg import IMAGENET_MEAN, IMAGENET_STD

SIZE = 448
"""px of the face's picture, as in its training; detected boxes are stretched to a square there, too."""
NUM_BINS, BIN_DEG, FIRST_DEG = 90, 4.0, -180.0
EYES = slice(36, 48)


class L2CSNet(nn.Module):
    """Pictures (B, 3, SIZE, SIZE), normalised as ImageNet's -> yaw and pitch (B, 2) in radians, its signs."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        self.trunk = resnet50()
        self.trunk.fc = nn.Identity()
        self.fc_yaw_gaze, self.fc_pitch_gaze = nn.Linear(2048, NUM_BINS), nn.Linear(2048, NUM_BINS)

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.trunk(pictures)
        logits = torch.stack([self.fc_yaw_gaze(features), self.fc_pitch_gaze(features)], 1)
        bins = torch.arange(NUM_BINS, device=logits.device) * BIN_DEG + FIRST_DEG
        return torch.deg2rad(logits.float().softmax(-1) @ bins)

    def gaze(self, images: Tensor, landmarks: Tensor, pose: Tensor) -> Tensor:
        """images (B, 3, S, S) in [-1, 1], landmarks (B, 68, 2), pose (B, 6) -> gaze (B, 2) of records.py."""
        faces = box_crop((images + 1) / 2, face_boxes(landmarks), SIZE)
        mean, std = (faces.new_tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        return relative_to_head(self((faces - mean) / std), landmarks[:, EYES].mean(1), pose)

    @classmethod
    def from_published(cls, path: str | Path) -> Self:
        """``L2CSNet_gaze360.pkl``, frozen.

        Raises: FileNotFoundError; CheckpointError listing missing and unexpected tensors.
        """
        network = cls()
        names = {key.removeprefix("trunk."): key for key in network.state_dict()}
        return load_published(network, path, "L2CS-Net", names, ("fc_finetune.",))


def relative_to_head(angles: Tensor, place: Tensor, pose: Tensor) -> Tensor:
    """Gaze360's yaw and pitch (B, 2) of eyes seen at place (B, 2) -> gaze (B, 2) relative to the head.

    From the line between eyes and camera to the camera's axes, then by the pose (B, 6) to the head's.
    """
    yaw, pitch = -angles[:, 0], angles[:, 1]
    looking = torch.stack([yaw.sin() * pitch.cos(), pitch.sin(), yaw.cos() * pitch.cos()], -1)
    to_camera = F.normalize(-camera_rays(place), dim=-1)  # the z axis that the angles are against
    up = to_camera.new_tensor([0.0, 1.0, 0.0]).expand_as(to_camera)
    right = F.normalize(torch.linalg.cross(up, to_camera), dim=-1)
    axes = torch.stack([right, torch.linalg.cross(to_camera, right), to_camera], -1)  # columns
    turned = rotation_matrix(pose[:, :3]).transpose(1, 2) @ (axes @ looking[:, :, None])
    x, y, z = turned[:, :, 0].unbind(-1)
    return torch.stack([torch.atan2(x, z), torch.asin(y.clamp(-1, 1))], -1)
