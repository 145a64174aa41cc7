"""RT-GENE's gaze network (Fischer et al. 2018), one VGG16 an eye, as L_gaze of MegaPortraits reads it.

MegaPortraits distils RT-GENE and RT-BENE into a network of its own, which was never published; its teacher
was, and is read here: the maps of its two towers, no gaze angle. Where the eyes are, which pixels are theirs
and whether they can be seen follows from landmarks alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from vasa.geometry import pixel_grid
from vasa.nn.warp import sample_image
from vasa.pretrained.crops import apply, similarity
from vasa.pretrained.third_party import load_published
from vasa.pretrained.vgg import TO_THE_LAST, VGG16, VggFeatures

EYES = (slice(36, 42), slice(42, 48))
"""The viewer's left eye and right eye among the iBUG 68, each from its left corner clockwise."""
PATCH_HEIGHT, PATCH_WIDTH = 36, 60
"""Pixels of an eye's picture, which is twice as wide as the eye (RT-GENE)."""
LID_MARGIN = 0.2
"""Of an eye's width: how far around the lids a pixel still belongs to it, ever less."""
NARROW = 1 / 3
"""An eye that looks narrower than this share of the other is turned away."""


class GazeFeatures(nn.Module):
    """Views (B, 6, 36, 60) of both eyes -> five maps, the towers' channels side by side."""

    layer_weights: tuple[float, ...] = TO_THE_LAST
    num_scales, smallest = 1, 16

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = VggFeatures(VGG16), VggFeatures(VGG16)

    def view(self, images: Tensor, points: Tensor) -> Tensor:
        """The eyes of images (B, 3, S, S) with landmarks (B, 68, 2): the viewer's left, then right."""
        return torch.cat([eye_patch(images, points, eye) for eye in EYES], 1)

    def forward(self, view: Tensor) -> list[Tensor]:
        """RT-GENE's left eye is the person's, the viewer's right."""
        of_right, of_left = view.chunk(2, 1)
        pairs = zip(self.left(of_left), self.right(of_right), strict=True)
        return [torch.cat(pair, 1) for pair in pairs]

    @classmethod
    def from_published(cls, path: str | Path) -> Self:
        """A ``gaze_model_pytorch_vgg16_*.model`` of RT-GENE, frozen.

        Raises: FileNotFoundError; CheckpointError listing missing and unexpected keys.
        """
        network = cls()
        names = {key.replace(".", "_", 1): key for key in network.state_dict()}
        behind = [f"{side}_features.{index}." for side in ("left", "right") for index in (26, 28)]
        return load_published(network, path, "RT-GENE", names, (*behind, "xl.", "xr.", "concat.", "fc."))


def eye_patch(images: Tensor, points: Tensor, eye: slice) -> Tensor:
    """One eye of images (B, 3, S, S), upright by the line between both eyes, (B, 3, 36, 60).

    RT-GENE takes it by whole pixels, nearest and then bicubic; ours is bilinear, and differentiable in the
    images.
    """
    points = points.detach().float()
    left, right = (points[:, part].mean(1) for part in EYES)
    across = right - left
    roll = torch.atan2(-across[:, 1], across[:, 0])
    first, last = points[:, eye.start], points[:, eye.start + 3]  # its corners
    matrix = similarity((first + last) / 2, (last - first).norm(dim=-1), roll)
    grid = pixel_grid(PATCH_HEIGHT, PATCH_WIDTH, images.device)
    grid = grid * grid.new_tensor([1, PATCH_HEIGHT / PATCH_WIDTH])
    place = apply(matrix, grid.view(1, -1, 2).expand(len(images), -1, -1))
    return sample_image(images, place.view(-1, PATCH_HEIGHT, PATCH_WIDTH, 2))


def eye_mask(points: Tensor, size: int) -> Tensor:
    """Pixels of the eyes of landmarks (B, 68, 2) in a picture of this size: (B, 1, S, S).

    1 between the lids, falling to 0 at LID_MARGIN around them.
    """
    points = points.detach().float()
    grid = pixel_grid(size, size, points.device)  # (S, S, 2)
    mask = grid.new_zeros(len(points), size, size)
    for eye in EYES:
        lids = points[:, eye]
        axis, middle = lids[:, 3] - lids[:, 0], (lids[:, 3] + lids[:, 0]) / 2
        width = axis.norm(dim=-1).clamp(min=1e-6)
        along = ((grid - middle[:, None, None]) * (axis / width[:, None])[:, None, None]).sum(-1)
        inside = (
            width[:, None, None] / 2 - along.abs()
        )  # how far within the corners, and then within the lids
        for start, end in zip(lids.unbind(1), lids.roll(-1, 1).unbind(1), strict=True):
            edge = end - start
            edge = edge / edge.norm(dim=-1, keepdim=True).clamp(min=1e-6)
            away = grid - start[:, None, None]  # (B, S, S, 2)
            turn = edge[:, None, None, 0] * away[..., 1] - edge[:, None, None, 1] * away[..., 0]
            inside = torch.minimum(inside, turn)  # clockwise, v down: positive is within
        mask = torch.maximum(mask, (1 + inside / (LID_MARGIN * width)[:, None, None]).clamp(0, 1))
    return mask[:, None]


def eyes_visible(points: Tensor) -> Tensor:
    """Whether both eyes of landmarks (B, 68, 2) lie in the picture and neither is turned away: bool (B,)."""
    corners = points[:, [36, 39, 42, 45]].float()
    is_inside = (corners.abs() < 1).all(-1).all(-1)
    widths = torch.stack(
        [(corners[:, 1] - corners[:, 0]).norm(dim=-1), (corners[:, 3] - corners[:, 2]).norm(dim=-1)]
    )
    return is_inside & (widths.amin(0) > NARROW * widths.amax(0))
