"""FAN (Bulat and Tzimiropoulos 2017): 68 landmarks of real faces, from face-alignment's published file.

Of its networks the one that gives where points of the face's surface are seen (3DFAN), because records.py
means those: the jaw's line does not follow the visible outline. The package's own class would fetch files,
compile, and unpickle a second network for the depth, which head_pose.py does without; only its layers are
used, and the file is read as data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.pretrained.crops import apply, face_boxes, similarity, warp_crop
from vasa.pretrained.third_party import load_published

SIZE, CELLS = 256, 64
"""px of the picture, and of the maps, one a landmark."""
STACKS = 4
CROP_SIDE = 200 / 195
"""Of a detected box's width and height together: the crop's side (face-alignment, reference_scale)."""
CROP_UP = 0.12
"""Of the box's height: how far above its middle the crop has its own."""


class FanNet(nn.Module):
    """Stacked hourglasses: pictures (B, 3, 256, 256) in [0, 1], RGB -> landmarks in them, (B, 68, 2)."""

    def __init__(self) -> None:
        super().__init__()
        from face_alignment.models import FAN

        self.layers = FAN(STACKS)

    def forward(self, pictures: Tensor) -> Tensor:
        return peaks(self.layers(pictures)[-1].float())

    def landmarks(self, images: Tensor, rough: Tensor) -> Tensor:
        """images (B, 3, S, S) in [-1, 1] and rough landmarks (B, 68, 2) of them -> landmarks (B, 68, 2).

        The rough ones only place the crop, as a detector's box would.
        """
        boxes = face_boxes(rough)
        size = boxes[:, 2:] - boxes[:, :2]
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2 - size * size.new_tensor([0, CROP_UP])
        half = size.sum(1) * CROP_SIDE / 2
        matrix = similarity(middle, half, torch.zeros_like(half))
        factor = max(1, int(float(half.median()) * images.shape[-1] / SIZE))
        shrunk = F.avg_pool2d(images, factor) if factor > 1 else images
        return apply(matrix, self(warp_crop((shrunk + 1) / 2, matrix, SIZE, padding="zeros")))

    @classmethod
    def from_published(cls, path: str | Path) -> Self:
        """``3DFAN4-7835d9f11d.pth.tar``, frozen.

        Raises: FileNotFoundError; CheckpointError listing missing and unexpected tensors.
        """
        network = cls()
        names = {key.removeprefix("layers."): key for key in network.state_dict()}
        return load_published(network, path, "FAN", names, ())


def peaks(maps: Tensor) -> Tensor:
    """The fullest cell of maps (B, N, h, w), a quarter of a cell towards its larger neighbours: (B, N, 2).

    In image coordinates of the maps' picture. As face-alignment reads them; at an edge there is no such step.
    """
    height, width = maps.shape[-2:]
    at = maps.flatten(2).argmax(-1)  # (B, N)
    column, row = at % width, at // width
    inside = (column > 0) & (column < width - 1) & (row > 0) & (row < height - 1)

    def near(right: int, down: int) -> Tensor:
        c, r = (column + right).clamp(0, width - 1), (row + down).clamp(0, height - 1)
        return maps.flatten(2).gather(2, (r * width + c)[..., None])[..., 0]

    x = column + 0.5 + 0.25 * (near(1, 0) - near(-1, 0)).sign() * inside
    y = row + 0.5 + 0.25 * (near(0, 1) - near(0, -1)).sign() * inside
    return torch.stack([x / width, y / height], -1) * 2 - 1
