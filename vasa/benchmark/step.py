"""A training step of stage 1 in the paper's proportions, to be counted or timed: all networks at their true
sizes with random weights, every pass that costs anything, and losses whose values mean nothing.

The passes are those of training/face_step.py with all of MegaPortraits' and VASA-1's terms on: both frames'
codes, one encoding, one decoding, the frozen judges on the output and on the target, the output's codes again
(cycle), the discriminator; and on a share of the samples the swaps (consistency, cross-identity, the cycle
on another person). torchvision's ImageNet networks stand for the frozen judges, which have their sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet50, vgg16, vgg19

from vasa.face.config import DiscriminatorConfig
from vasa.face.volumetric.appearance import Appearance
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.discriminator import MultiScaleDiscriminator

TO_CONV5_1 = {19: 30, 16: 26}
"""Modules of torchvision's VGG19 and VGG16 up to the ReLU behind conv5_1, the deepest layer a loss reads."""
IMAGE_SCALES, FACE_SCALES = 4, 2
"""Halvings at which VGG19 and the face network look (MegaPortraits' authors' code)."""
SMALLEST = 16
CROP, SMALL_CROP = 224, 112
"""px of aligned face crops for the VGG networks, and for face recognition."""


class Judges(nn.Module):
    """The frozen networks of the losses: VGG19, VGGFace, the gaze network (both VGG16), ArcFace."""

    def __init__(self) -> None:
        super().__init__()
        self.image = vgg19().features[: TO_CONV5_1[19]]
        self.face = vgg16().features[: TO_CONV5_1[16]]
        self.gaze = vgg16().features[: TO_CONV5_1[16]]
        self.identity = resnet50()
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """What the picture terms read in images (B, 3, S, S)."""
        read = [self.image(level) for level in _pyramid(images, IMAGE_SCALES)]
        crop = _resized(images, CROP)
        return [*read, *(self.face(level) for level in _pyramid(crop, FACE_SCALES)), self.gaze(crop)]


def _pyramid(images: Tensor, scales: int) -> list[Tensor]:
    """Images at each halving, down to what survives the networks' four poolings."""
    levels = [images]
    while len(levels) < scales and levels[-1].shape[-1] >= 2 * SMALLEST:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def _resized(images: Tensor, size: int) -> Tensor:
    return F.interpolate(images, (size, size), mode="bilinear")


def _distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
    return torch.stack([(x - y).abs().float().mean() for x, y in zip(a, b, strict=True)]).sum()


def _same(a: Tensor, b: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(a.float(), b.float()).mean()


@dataclass(slots=True)
class Step:
    """The networks of a step. ``main`` and ``swaps`` are losses of the generator, ``adversary`` of the
    discriminator; images (B, 3, S, S) in [-1, 1].
    """

    face: FaceAutoencoder
    judges: Judges = field(default_factory=Judges)
    discriminator: MultiScaleDiscriminator = field(
        default_factory=lambda: MultiScaleDiscriminator(DiscriminatorConfig())
    )

    def main(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """One reconstruction -> loss, image."""
        count = len(source)
        self.discriminator.requires_grad_(False)
        pose, dynamics = self.face.motion_codes(torch.cat([source, target]))
        appearance = self.face.encode_with(source, source, pose[:count], dynamics[:count])
        image = self.face.decode(appearance, pose[count:], dynamics[count:]).image
        with torch.no_grad():
            wanted, true = self.judges(target), self.discriminator(target)
        verdict = self.discriminator(image)
        matching = [_distance(a[1], b[1]) for a, b in zip(verdict, true, strict=True)]
        fooled = [-score.float().mean() for score, _ in verdict]
        again = self.face.motion_codes(image)[1]
        loss = _distance(self.judges(image), wanted) + _same(again, dynamics[count:])
        return loss + torch.stack(matching + fooled).sum(), image

    @torch.no_grad()
    def codes(self, source: Tensor, target: Tensor) -> tuple[Appearance, Tensor, Tensor]:
        """What ``main`` has made already when codes are swapped: the source's appearance, and pose and
        dynamics of sources then targets.
        """
        pose, dynamics = self.face.motion_codes(torch.cat([source, target]))
        count = len(source)
        return self.face.encode_with(source, source, pose[:count], dynamics[:count]), pose, dynamics

    def swaps(self, known: tuple[Appearance, Tensor, Tensor], target: Tensor, other: Tensor) -> Tensor:
        """What comes on top for samples whose codes are swapped: two more encodings, three decodings."""
        own, pose, dynamics = known
        count = len(target)
        other_pose, other_dynamics = self.face.motion_codes(other)
        pose_i, dyn_i, dyn_j = pose[count:], dynamics[count:], dynamics[:count]
        images = torch.cat([target, other])
        poses, codes = torch.cat([pose_i, other_pose]), torch.cat([dyn_i, other_dynamics])
        appearance = Appearance.cat([own, self.face.encode_with(images, images, poses, codes)])
        made = self.face.decode(appearance, pose_i.repeat(3, 1), torch.cat([dyn_j, dyn_j, dyn_i])).image
        onto_j, onto_i, crossed = made.chunk(3)
        with torch.no_grad():
            wanted = self.judges.identity(_resized(other, SMALL_CROP))
        seen = self.judges.identity(_resized(crossed, SMALL_CROP))
        again = self.face.motion_codes(crossed)[1]
        return (onto_j - onto_i).abs().mean() + _same(seen, wanted) + _same(again, dyn_i)

    def adversary(self, image: Tensor, target: Tensor) -> Tensor:
        """The discriminator's hinge loss on what ``main`` made."""
        self.discriminator.requires_grad_(True)
        made, true = self.discriminator(image.detach()), self.discriminator(target)
        terms = [F.relu(1 + score.float()).mean() for score, _ in made]
        return torch.stack(terms + [F.relu(1 - score.float()).mean() for score, _ in true]).sum()
