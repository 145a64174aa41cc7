"""The three small networks that correct keypoints: stitching, eyes and lips. LivePortrait, section 3.3."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from vasa.face.keypoints.extractor import NUM_KEYPOINTS

COORDINATES = 3 * NUM_KEYPOINTS
WIDTHS = {
    "stitching": (2 * COORDINATES, 128, 128, 64, COORDINATES + 2),
    "lip": (COORDINATES + 2, 128, 128, 64, COORDINATES),
    "eye": (COORDINATES + 3, 256, 256, 128, 128, 64, COORDINATES),
}


class KeypointMlp(nn.Module):
    """A ReLU MLP of the given widths."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)


class Retargeting(nn.Module):
    """All three. Keypoints are (B, 21, 3), ratios (B, 1): an opening over its width, seen on landmarks."""

    def __init__(self) -> None:
        super().__init__()
        self.stitching, self.lip, self.eye = (
            KeypointMlp(WIDTHS[name]) for name in ("stitching", "lip", "eye")
        )

    def stitched(self, source: Tensor, driving: Tensor) -> Tensor:
        """Driving keypoints moved so that shoulders stay as the source has them."""
        return stitch(self.stitching, source, driving)

    def of_eyes(self, source: Tensor, own: Tensor, wanted: Tensor) -> Tensor:
        """Offsets (B, 21, 3) that open eyes to ``wanted``. own (B, 2): of the source, left and right."""
        return self.eye(torch.cat([source.flatten(1), own, wanted], 1)).view(-1, NUM_KEYPOINTS, 3)

    def of_lips(self, source: Tensor, own: Tensor, wanted: Tensor) -> Tensor:
        """Offsets (B, 21, 3) that open lips to ``wanted``. own (B, 1): of the source."""
        return self.lip(torch.cat([source.flatten(1), own, wanted], 1)).view(-1, NUM_KEYPOINTS, 3)


def stitch(network: nn.Module, source: Tensor, driving: Tensor) -> Tensor:
    """``Retargeting.stitched`` by one network: keypoint offsets, and a common one of x and y."""
    source = source.expand_as(driving)
    offset = network(torch.cat([source.flatten(1), driving.flatten(1)], 1))
    moved = driving + offset[:, :COORDINATES].view(-1, NUM_KEYPOINTS, 3)
    return moved + torch.nn.functional.pad(offset[:, COORDINATES:], (0, 1))[:, None]
