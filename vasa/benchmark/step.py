"""Stage 1's own training step (training/face_step.py), to be counted or timed: of a face space with all of
MegaPortraits' and VASA-1's terms, or of a recipe. Every frozen network has its published size and random
weights, the pictures show nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

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
from vasa.pretrained.config import RegionNetConfig
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.gaze import GazeFeatures
from vasa.pretrained.vgg import FaceFeatures, ImageNetFeatures
from vasa.records import NUM_CONTROLS
from vasa.training.change import ChangeTeacher
from vasa.training.face_adversary import DiscriminatorStep
from vasa.training.face_config import TrainFaceRun
from vasa.training.face_step import FaceStep, freeze
from vasa.training.teachers import Teachers
from vasa.training.train_face import TEACHER_OF, build_phases

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
"""Steps of either kind; any even and any odd number are."""


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


TEACHERS: dict[str, Callable[[], nn.Module]] = {
    "perceptual": lambda: FeatureLoss(ImageNetFeatures()),
    "face": lambda: FaceFeatureLoss(FaceFeatures()),
    "gaze": lambda: EyeFeatureLoss(GazeFeatures()),
    "identity": RecognitionNet,
    "expression": lambda: ExpressionNet(RegionNetConfig(outputs=NUM_CONTROLS)),
}
"""The published networks, whichever a recipe takes; ``expression`` is ours."""


@dataclass(slots=True)
class Step:
    """The phases of the loop and their networks; judging and discriminator: None where nothing is judged.
    change: what teaches the codes of a recipe's first steps.
    """

    face: FaceAutoencoder
    frozen: nn.ModuleDict
    generating: FaceStep
    discriminator: nn.Module | None = None
    judging: DiscriminatorStep | None = None
    change: ChangeTeacher | None = None

    def loss(self, batch: FacePairs, number: int) -> Tensor:
        """The generator's; leaves its picture for ``verdict``. As in the loop, only its own weights learn."""
        self.generating.fakes.clear()
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)
        return self.generating(batch, number)["total"]

    def verdict(self, batch: FacePairs, number: int) -> Tensor:
        """The discriminator's loss on what ``loss`` made."""
        assert self.judging is not None and self.discriminator is not None
        self.discriminator.requires_grad_(True)
        return self.judging(batch, number)["total"]


def whole_step(face: FaceAutoencoder) -> Step:
    """Everything on the device of ``face``, whose pose encoder is frozen, as a teacher is."""
    freeze(face.pose_encoder)
    with torch.device(next(face.parameters()).device):
        frozen = _teachers(LOSSES)
        discriminator = MultiScaleDiscriminator(DiscriminatorConfig())
    generating = FaceStep(face, LOSSES, teachers=Teachers(**frozen), discriminator=discriminator)
    return Step(face, frozen, generating, discriminator, DiscriminatorStep(discriminator, generating))


def recipe_step(run: TrainFaceRun) -> Step:
    """The step of a recipe, as train_face builds it, but that even steps swap codes of the whole batch and
    odd ones of none, so that the share and the steps between can be weighed in afterwards.
    """
    run = replace(run, losses=replace(run.losses, transfer_every=2, transfer_share=1))
    face, frozen = FaceAutoencoder(run.face), _teachers(run.losses)
    if run.freeze_motion:
        freeze(face.dynamics_encoder)
    if run.freeze_motion or run.freeze_pose:
        freeze(face.pose_encoder)
    change = ChangeTeacher(run.face, face.painter) if run.losses.change_steps > 0 else None
    first, *others = build_phases(run, face, Teachers(**frozen), change)
    assert isinstance(first.loss, FaceStep)
    step = Step(face, frozen, first.loss, change=change)
    for phase in others:
        assert isinstance(phase.loss, DiscriminatorStep)
        step.discriminator, step.judging = phase.module, phase.loss
    return step


def _teachers(losses: FaceLossConfig) -> nn.ModuleDict:
    """Those whose terms have a weight."""
    found = {name: TEACHERS[name]() for name, loss in TEACHER_OF.items() if getattr(losses, loss) > 0}
    frozen = nn.ModuleDict(found)
    freeze(frozen)
    return frozen


def pictures(
    count: int, size: int, device: torch.device | str = "cpu", has_mask: bool = True, has_truth: bool = False
) -> FacePairs:
    """A batch as real video gives it, of noise; has_truth: with labels, as procedural heads give it."""
    with torch.device(device):
        source, target, driver, other = torch.randint(256, (4, count, size, size, 3), dtype=torch.uint8)
        truth = {
            "source_pose": torch.zeros(count, 6),
            "source_controls": torch.zeros(count, NUM_CONTROLS),
            "target_pose": torch.zeros(count, 6),
            "target_controls": torch.zeros(count, NUM_CONTROLS),
            "landmarks": torch.zeros(count, 68, 3),
            "source_points": torch.zeros(count, 68, 2),
            "target_points": torch.zeros(count, 68, 2),
            "flow": torch.zeros(count, size // 2, size // 2, 2),
            "visible": torch.ones(count, size // 2, size // 2),
            "eye_boxes": torch.zeros(count, 2, 4),
            "mouth_box": torch.zeros(count, 4),
        }
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
            mask=torch.full((count, size, size), 255, dtype=torch.uint8) if has_mask else None,
            **(truth if has_truth else {}),
        )
