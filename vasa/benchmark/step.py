"""Stage 1's own training step (training/face_step.py) with all of MegaPortraits' and VASA-1's terms on, to be
counted or timed: every network at its published size with random weights, on pictures that show nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.data.frame_pairs import FacePairs
from vasa.face.config import DiscriminatorConfig
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.discriminator import MultiScaleDiscriminator
from vasa.losses.config import FaceLossConfig
from vasa.losses.perceptual import EyeFeatureLoss, FaceFeatureLoss, FeatureLoss
from vasa.pretrained.arcface import TEMPLATE_SIDE, aligned
from vasa.pretrained.gaze import GazeFeatures
from vasa.pretrained.vgg import FaceFeatures, ImageNetFeatures
from vasa.training.face_adversary import DiscriminatorStep
from vasa.training.face_step import FaceStep
from vasa.training.teachers import Teachers

LOSSES = FaceLossConfig(
    true_pose_share=0,
    l1=0,
    gradient=0,
    warped=0,
    flow=0,
    mask=0,
    pose=0,
    controls=0,
    landmarks=0,
    perceptual=1,
    face=1,
    gaze=1,
    adversarial=1,
    feature_matching=1,
    cycle=1,
    cross_cycle=1,
    consistency=1,
    cross_identity=1,
    transfer_every=2,
    transfer_share=1,
    driver_warp=0.1,
)
"""The terms of experiment=paper; weights cost nothing. Even steps swap codes of the whole batch, odd ones of
none.
"""
SWAPPING, PLAIN = 0, 1
"""Steps of either kind."""


class RecognitionNet(nn.Module):
    """The convolutions of ArcFace's IResNet-50 (insightface's w600k_r50), which teaches l_cross_id: images
    (B, 3, S, S), landmarks (B, 68, 2) -> unit vectors (B, 512).
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1)]
        before = 64
        for width, blocks in ((64, 3), (128, 4), (256, 14), (512, 3)):
            for block in range(blocks):
                layers.append(nn.Conv2d(before, width, 3, padding=1))
                layers.append(nn.Conv2d(width, width, 3, 1 if block else 2, padding=1))
                before = width
        self.body, self.head = nn.Sequential(*layers), nn.Linear(512 * (TEMPLATE_SIDE // 16) ** 2, 512)

    def forward(self, images: Tensor, landmarks: Tensor) -> Tensor:
        faces = aligned(images.float(), landmarks.detach(), TEMPLATE_SIDE)
        return F.normalize(self.head(self.body(faces).flatten(1)).float(), dim=-1)


@dataclass(slots=True)
class Step:
    """The phases of the loop and their networks."""

    face: FaceAutoencoder
    discriminator: MultiScaleDiscriminator
    frozen: nn.ModuleDict
    generating: FaceStep
    judging: DiscriminatorStep

    def loss(self, batch: FacePairs, number: int) -> Tensor:
        """The generator's; leaves its picture for ``verdict``."""
        return self.generating(batch, number)["total"]

    def verdict(self, batch: FacePairs, number: int) -> Tensor:
        """The discriminator's loss on what ``loss`` made."""
        return self.judging(batch, number)["total"]


def whole_step(face: FaceAutoencoder) -> Step:
    """Everything on the device of ``face``, whose pose encoder is frozen, as a teacher is."""
    face.pose_encoder.requires_grad_(False)
    with torch.device(next(face.parameters()).device):
        frozen = nn.ModuleDict(
            {
                "perceptual": FeatureLoss(ImageNetFeatures()),
                "face": FaceFeatureLoss(FaceFeatures()),
                "gaze": EyeFeatureLoss(GazeFeatures()),
                "identity": RecognitionNet(),
            }
        )
        discriminator = MultiScaleDiscriminator(DiscriminatorConfig())
    frozen.eval().requires_grad_(False)
    generating = FaceStep(face, LOSSES, teachers=Teachers(**frozen), discriminator=discriminator)
    return Step(face, discriminator, frozen, generating, DiscriminatorStep(discriminator, generating))


def pictures(count: int, size: int, device: torch.device | str = "cpu") -> FacePairs:
    """A batch as real video gives it, of noise."""
    with torch.device(device):
        source, target, driver, other = torch.randint(256, (4, count, size, size, 3), dtype=torch.uint8)
        return FacePairs(
            source,
            target,
            driver,
            other,
            is_cross=torch.zeros(count, dtype=torch.bool),
            jitter=torch.zeros(count, 2, 7),
            warp=torch.zeros(count, 2, 7, 7, 2),
            nudge=torch.zeros(count, 2, 6),
            ids=["noise"] * count,
        )
