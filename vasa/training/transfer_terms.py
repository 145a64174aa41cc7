"""What a step works on, and its terms on what was swapped between frames: VASA-1's consistency, and another
person under the driver's motion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.face.volumetric.appearance import Appearance
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.losses.config import FaceLossConfig
from vasa.losses.disentanglement import consistency, contrastive_cycle, cross_identity


@dataclass(slots=True)
class Scene:
    """What a step works on: frames in [-1, 1] (B, 3, S, S) and their codes, encoded once.

    pose and dynamics: (3 B or 2 B, E): of the sources, then of those who drive the targets, then, where
    something is swapped, of the others. points (B, 68, 2): measured, true, or where a mean face would have
    them. foreground (B, 1, S, S) or None: the weight of each pixel in picture terms.
    """

    source: Tensor
    target: Tensor
    other: Tensor
    pose: Tensor
    dynamics: Tensor
    source_points: Tensor
    target_points: Tensor
    other_points: Tensor | None
    foreground: Tensor | None

    @property
    def count(self) -> int:
        return self.source.shape[0]


def few_of(count: int, losses: FaceLossConfig) -> int:
    """Of a batch of ``count``, how many the transfer terms are evaluated on."""
    return max(round(count * losses.transfer_share), 1)


@dataclass(slots=True)
class TransferTerms:
    """read_again: z_dyn of pictures that were made, under their poses. identity: of pictures and landmarks;
    None: not compared.
    """

    model: FaceAutoencoder
    losses: FaceLossConfig
    read_again: Callable[[Tensor, Tensor], Tensor]
    identity: Callable[..., Tensor] | None

    def __call__(self, appearance: Appearance, scene: Scene, pose: Tensor) -> dict[str, Tensor]:
        """Terms on swapped codes, on a share of the batch, in one encoding and one decoding.

        i is the target's frame, j the source's (VASA-1's l_consist); the other person lends its appearance,
        or its code as what the output must not say.
        """
        losses, model, count = self.losses, self.model, scene.count
        few = few_of(count, losses)
        pose_j, pose_i, pose_o = pose[:few], pose[count : count + few], pose[2 * count :]
        dyn_j, dyn_i = scene.dynamics[:few], scene.dynamics[count : count + few]
        dyn_o = scene.dynamics[2 * count :]
        images = torch.cat([scene.target[:few], scene.other[:few]])
        encoded = model.encode_with(images, images, torch.cat([pose_i, pose_o]), torch.cat([dyn_i, dyn_o]))
        at_j, at_i, at_o = appearance[slice(0, few)], encoded[slice(0, few)], encoded[slice(few, 2 * few)]
        wanted: list[tuple[Appearance, Tensor, Tensor]] = []
        if losses.consistency > 0:
            wanted += [(at_j, pose_i, dyn_j), (at_i, pose_i, dyn_j)]
            if losses.consistency_symmetric:
                wanted += [(at_i, pose_j, dyn_i), (at_j, pose_j, dyn_i)]
        is_crossed = losses.cross_identity > 0 or losses.cross_cycle > 0
        if is_crossed:
            wanted.append((at_o, pose_i, dyn_i))
        terms: dict[str, Tensor] = {}
        if wanted:
            appearances, poses, codes = zip(*wanted, strict=True)
            image = model.decode(
                Appearance.cat(appearances),
                torch.cat(poses),
                torch.cat(codes),
                geometry_gradient=losses.geometry_gradient,
            ).image
            pictures = list(image.chunk(len(wanted)))
            if is_crossed:
                terms |= self._cross_terms(pictures.pop(), scene, pose_i, dyn_i, dyn_o)
            if pictures:
                pairs = [consistency(a, b) for a, b in zip(pictures[::2], pictures[1::2], strict=True)]
                terms["consistency"] = torch.stack(pairs).mean()
        if losses.volume > 0:
            terms["volume"] = F.l1_loss(at_j.volume.float(), at_i.volume.float())
        return terms

    def _cross_terms(
        self, image: Tensor, scene: Scene, pose: Tensor, dynamics: Tensor, dyn_other: Tensor
    ) -> dict[str, Tensor]:
        """Another person under the driver's motion: it must move like the driver, and stay itself."""
        terms: dict[str, Tensor] = {}
        if self.losses.cross_cycle > 0:
            again = self.read_again(image, pose)
            terms["cross_cycle"] = contrastive_cycle(again, dynamics.detach(), dyn_other.detach())
        if self.losses.cross_identity > 0 and self.identity is not None:
            few = len(image)
            with torch.no_grad():
                wanted = self.identity(scene.other[:few], scene.other_points)
            said = self.identity(image, scene.target_points[:few])
            terms["cross_identity"] = cross_identity(wanted, said)
        return terms
