"""A first teacher of z_dyn that needs no label: what changes between neighbouring frames (in no paper).

Reconstruction alone does not teach a dynamics encoder early: what it could say is lost in what the decoder
cannot draw yet, and the decoder has no reason to listen (docs/training.md). But between two frames of one
pose, the frontalised crops of eyes and mouth differ by expression alone. The principal components of these
differences, over many people, are a crude language of blinks, glances and opening jaws; the encoder learns to
say the difference in it, linearly. Beside it a painter redraws each frame's windows as the other's by their
codes (face/volumetric/painter.py), so that the codes come to say what the components cannot. Afterwards the
encoder is kept, and the face space trains around it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.face.config import FaceConfig
from vasa.face.volumetric.encoders import frontal_crop
from vasa.face.volumetric.painter import ExpressionPainter

COMPONENTS = 32
"""Principal components a window."""
EDGE_WEIGHT = 2.0
"""Of edges against brightness in the features."""
MEAN_WEIGHT = 0.9
"""Of the mean code of two frames of one person and pose, squared: it should hold nothing, since who it is and
how the head is held are the same in both.
"""
NEIGHBOURHOOD_PX = 9
"""Side of the square whose mean local contrast is taken against."""


def look(crop: Tensor, contrast: Tensor) -> Tensor:
    """Grey crops (B, 1, h, w) over their contrast (B, 1, 1, 1) -> features (B, N) at half resolution:
    brightness, edges, local contrast.

    Brightness alone cannot say a blink: lids are brighter than eyes in some people and darker in others.
    """
    x = crop / contrast
    across = (x[..., 1:-1, 2:] - x[..., 1:-1, :-2]) / 2
    down = (x[..., 2:, 1:-1] - x[..., :-2, 1:-1]) / 2
    edges = F.pad((across.square() + down.square() + 1e-6).sqrt(), (1, 1, 1, 1))
    around = F.avg_pool2d(x, NEIGHBOURHOOD_PX, 1, NEIGHBOURHOOD_PX // 2)
    parts = [x, EDGE_WEIGHT * edges, (x - around).abs()]
    return torch.cat([F.avg_pool2d(part, 2).flatten(1) for part in parts], 1)


class ChangeTeacher(nn.Module):
    """Holds the components (buffers, found once by ``fit``) and the linear reading that z_dyn learns with."""

    def __init__(self, config: FaceConfig, painter: ExpressionPainter | None = None) -> None:
        """painter: the face space's own; None: one of the teacher's is trained, and left behind."""
        super().__init__()
        self.windows = config.windows
        for index, window in enumerate(config.windows):
            numbers = 3 * (window.height // 2) * (window.width // 2)
            self.register_buffer(f"basis_{index}", torch.zeros(numbers, COMPONENTS))
        self.reading = nn.Linear(config.dynamics_dim, COMPONENTS * len(config.windows), bias=False)
        self.own_painter = ExpressionPainter(config) if painter is None else None
        self._painter = [painter]  # not a submodule: the face space's is trained and saved with it

    @property
    def painter(self) -> ExpressionPainter:
        found = self.own_painter or self._painter[0]
        assert found is not None
        return found

    @torch.no_grad()
    def changes(self, source: Tensor, target: Tensor, pose: Tensor) -> list[Tensor]:
        """Frames (B, 3, S, S), poses (2 B, 6), sources first -> their difference in each window, (B, N)."""
        found = []
        for window in self.windows:
            crops = frontal_crop(torch.cat([source, target]), pose, window).mean(1, keepdim=True).float()
            before, after = crops.chunk(2)
            contrast = torch.cat([before, after], 1).std((1, 2, 3), keepdim=True).clamp(min=0.02)
            found.append(look(after, contrast) - look(before, contrast))
        return found

    @torch.no_grad()
    def fit(self, pairs: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Finds the components from pairs as ``changes`` takes them. Each is scaled by the root of its
        standard deviation, so that small ones, such as glances, count.
        """
        seen = [self.changes(*pair) for pair in pairs]
        for index in range(len(self.windows)):
            changes = torch.cat([each[index] for each in seen])
            scatter = torch.linalg.eigh(changes.T @ changes / len(changes))
            axes = scatter.eigenvectors[:, -COMPONENTS:].flip(1)
            spread = (changes @ axes).std(0)
            scaled = axes / (spread * spread[0]).sqrt()
            self.get_buffer(f"basis_{index}").copy_(scaled)

    def forward(self, codes: Tensor, source: Tensor, target: Tensor, pose: Tensor) -> Tensor:
        """Codes (2 B, E) of sources, then targets -> the loss, about 1 when they say nothing."""
        changes = self.changes(source, target, pose)
        wanted = torch.cat([c @ self.get_buffer(f"basis_{n}") for n, c in enumerate(changes)], 1)
        before, after = codes.float().chunk(2)
        error = (self.reading(after - before) - wanted).square().mean() / wanted.square().mean()
        return error + MEAN_WEIGHT * (before + after).square().mean()


def redraw_error(
    painter: ExpressionPainter, source: Tensor, target: Tensor, pose: Tensor, codes: Tensor
) -> Tensor:
    """How far each of two frames is from the other, redrawn by its codes, in their windows: about 1 when
    nothing is redrawn.

    source and target (B, 3, S, S); pose (2 B, 6) and codes (2 B, E), sources first. Brightness and its
    differences along both axes, L1, over the same between the frames as they are.
    """
    other = [torch.cat(x.chunk(2)[::-1]) for x in (pose, codes)]
    painted = painter(torch.cat([source, target]), pose, other[0], codes, other[1])
    errors = []
    for before, after in painted:
        wanted = torch.cat(before.chunk(2)[::-1])
        errors.append(_difference(after, wanted) / _difference(before, wanted).detach())
    return torch.stack(errors).mean()


def _difference(a: Tensor, b: Tensor) -> Tensor:
    gap = a - b
    across, down = gap[..., 1:] - gap[..., :-1], gap[..., 1:, :] - gap[..., :-1, :]
    return gap.abs().mean() + across.abs().mean() + down.abs().mean()
