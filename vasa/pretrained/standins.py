"""Maps of this project's own frozen networks, in the place of the published ones in stage 1's losses.

So every term runs offline, on synthetic and on real frames. Maps are scaled to unit length over the channels
at each place, as LPIPS does (Zhang et al. 2018, eq. 1): theirs come behind group norms, of sizes that say
nothing. They are teachers or the aligner, never judges.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from vasa.pretrained.crops import EYES, head_crop, region_crop
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.identity import IdentityNet
from vasa.pretrained.landmarks import LandmarkNet
from vasa.pretrained.trunk import Trunk
from vasa.pretrained.vgg import TO_THE_LAST


class TrunkFeatures(nn.Module):
    """Views (B, 3, H, W) in [-1, 1] -> the maps of a trunk, each with mean square 1 at every place.

    view: (images, points) -> views, where the network sees a part of the picture.
    """

    def __init__(
        self,
        trunk: Trunk,
        layer_weights: tuple[float, ...],
        num_scales: int,
        view: Callable[[Tensor, Tensor], Tensor] = lambda images, points: images,
    ) -> None:
        super().__init__()
        self.trunk, self.view = trunk, view
        self.layer_weights, self.num_scales = layer_weights, num_scales
        self.smallest = 2 ** len(layer_weights)

    def forward(self, view: Tensor) -> list[Tensor]:
        return [_unit(features.float()) for features in self.trunk(view)]


def _unit(features: Tensor) -> Tensor:
    return features * features.square().mean(1, keepdim=True).add(1e-4).rsqrt()


def image_features(landmarks: str | Path) -> TrunkFeatures:
    """For L_IN: the trunk of the aligner, on whole pictures.

    Of ours it saw the widest range of pictures (4200 people, three in four with textures at random; clutter,
    blur, noise, occlusion), ships with the project, and had to learn which edges are where, which is what
    L_IN adds to L1. Maps of any trained convolutional network say more of likeness than pixels do (Zhang et
    al. 2018). It measures nothing: the judges have networks of their own. Measured on unseen heads of equal
    L1 to their originals: a blur costs 4.7 times a change of brightness and 2.3 times noise.
    """
    return TrunkFeatures(LandmarkNet.from_pretrained(landmarks).trunk, (0.2,) * 5, 4)


def face_features(teacher_identity: str | Path) -> TrunkFeatures:
    """For L_face: the trunk of the identity teacher, on the upright head."""
    network = IdentityNet.from_pretrained(teacher_identity)
    return TrunkFeatures(network.trunk, TO_THE_LAST[1:], 2, partial(head_crop, size=network.config.size))


def gaze_features(teacher_expression: str | Path) -> TrunkFeatures:
    """For L_gaze: the expression teacher's trunk for the eyes, on their frontalised strip."""
    network = ExpressionNet.from_pretrained(teacher_expression)
    return TrunkFeatures(network.eyes.trunk, TO_THE_LAST[1:], 1, partial(region_crop, region=EYES))
