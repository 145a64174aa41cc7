"""A first teacher of z_dyn that needs no label: what changes between neighbouring frames (in no paper).

Reconstruction alone does not teach a dynamics encoder early: what it could say is lost in what the decoder
cannot draw yet, and the decoder has no reason to listen (docs/training.md). But between two frames of one
pose, the frontalised crops of eyes and mouth differ by expression alone. The principal components of what
changes in brightness, edges and contrast, over many people, are a crude language of blinks, glances and
opening jaws. Brows, frowns and smiles are weak in it, since a moving brow is brighter in one person and
darker in another; the optical flow says them, in noise. What both views share says them clearly
(``canonical``). The encoder learns to say the difference in these, linearly. Beside it a painter redraws each
frame's windows as the other's by their codes (face/volumetric/painter.py), so that the codes come to say what
is in neither. Afterwards the encoder is kept, and the face space trains around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.face.config import CropWindow, FaceConfig
from vasa.face.volumetric.encoders import frontal_crop
from vasa.face.volumetric.painter import ExpressionPainter
from vasa.training.lucas_kanade import optical_flow

COMPONENTS = 32
"""Principal components of the differences of a window that the codes must say."""
SHARED, VIEWED = 12, 96
"""Canonical directions that a window's differences and its flow share, and the principal components of either
that they are found in.
"""
MAX_SIDE = 64
"""Of a window as the teacher sees it, px."""
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
    """Holds what was found once by ``fit`` (buffers) and the linear reading that z_dyn learns with."""

    def __init__(self, config: FaceConfig, painter: ExpressionPainter | None = None) -> None:
        """painter: the face space's own; None: one of the teacher's is trained, and left behind."""
        super().__init__()
        self.windows = [_coarse(window) for window in config.windows]
        for index, window in enumerate(self.windows):
            numbers = (window.height // 2) * (window.width // 2)
            self.register_buffer(f"principal_{index}", torch.zeros(3 * numbers, COMPONENTS))
            self.register_buffer(f"shared_look_{index}", torch.zeros(3 * numbers, SHARED))
            self.register_buffer(f"shared_flow_{index}", torch.zeros(2 * numbers, SHARED))
        self.reading = nn.Linear(config.dynamics_dim, (COMPONENTS + SHARED) * len(config.windows), bias=False)
        self.own_painter = ExpressionPainter(config) if painter is None else None
        self._painter = [painter]  # not a submodule: the face space's is trained and saved with it

    @property
    def painter(self) -> ExpressionPainter:
        found = self.own_painter or self._painter[0]
        assert found is not None
        return found

    @torch.no_grad()
    def changes(self, source: Tensor, target: Tensor, pose: Tensor) -> list[Tensor]:
        """Frames (B, 3, S, S), poses (2 B, 6), sources first -> for each window the difference of its looks
        (B, N) and its flow (B, M).

        Both frames are cut by the mean of their poses, which are the same but for the teacher's errors.
        """
        mean = torch.stack(pose.float().chunk(2)).mean(0)
        found = []
        with torch.autocast(source.device.type, enabled=False):
            for window in self.windows:
                crops = frontal_crop(torch.cat([source, target]), mean.repeat(2, 1), window)
                before, after = crops.mean(1, keepdim=True).float().chunk(2)
                contrast = torch.cat([before, after], 1).std((1, 2, 3), keepdim=True).clamp(min=0.02)
                found.append(look(after, contrast) - look(before, contrast))
                flow = optical_flow(before / contrast, after / contrast)
                found.append(F.avg_pool2d(flow, 2).flatten(1))
        return found

    @torch.no_grad()
    def fit(self, pairs: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Finds the directions from pairs as ``changes`` takes them.

        Each principal component is scaled by the root of its standard deviation, so that small ones, such as
        glances, count; canonical variates are of unit variance, times their squared correlation.
        """
        seen = [self.changes(*pair) for pair in pairs]
        for index in range(len(self.windows)):
            looks, flows = (torch.cat([each[2 * index + view] for each in seen]) for view in (0, 1))
            axes, spread = principal(looks)
            scaled = axes / (spread * spread[:1]).sqrt()
            self.get_buffer(f"principal_{index}").copy_(_wide(scaled, COMPONENTS))
            look_axes, flow_axes = canonical(looks, flows)
            self.get_buffer(f"shared_look_{index}").copy_(_wide(look_axes, SHARED))
            self.get_buffer(f"shared_flow_{index}").copy_(_wide(flow_axes, SHARED))

    def wanted(self, source: Tensor, target: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """What changed, as ``changes`` takes it: principal components (B, P) and what looks and flow share
        (B, C), of all windows.
        """
        changes = self.changes(source, target, pose)
        principals, shared = [], []
        with torch.autocast(source.device.type, enabled=False):
            for index, (look_, flow) in enumerate(zip(changes[::2], changes[1::2], strict=True)):
                principals.append(look_ @ self.get_buffer(f"principal_{index}"))
                both = look_ @ self.get_buffer(f"shared_look_{index}")
                shared.append(both + flow @ self.get_buffer(f"shared_flow_{index}"))
        return torch.cat(principals, 1), torch.cat(shared, 1)

    def forward(self, codes: Tensor, source: Tensor, target: Tensor, pose: Tensor) -> Tensor:
        """Codes (2 B, E) of sources, then targets -> the loss, about 1 when they say nothing."""
        wanted = self.wanted(source, target, pose)
        before, after = codes.float().chunk(2)
        said = self.reading(after - before).split([part.shape[1] for part in wanted], 1)
        errors = [(a - b).square().mean() / b.square().mean() for a, b in zip(said, wanted, strict=True)]
        return torch.stack(errors).mean() + MEAN_WEIGHT * (before + after).square().mean()


def _coarse(window: CropWindow) -> CropWindow:
    """The window in pixels of even number, MAX_SIDE at most: what changes is seen at that, and components of
    finer ones take minutes to find.
    """
    scale = min(1.0, MAX_SIDE / max(window.height, window.width))
    height, width = (round(side * scale) // 2 * 2 for side in (window.height, window.width))
    return replace(window, height=height, width=width)


def principal(x: Tensor) -> tuple[Tensor, Tensor]:
    """Samples (N, K) -> their principal axes (K, K'), strongest first, and the deviations along them (K')."""
    scatter = torch.linalg.eigh(x.T @ x / len(x))
    spread = scatter.eigenvalues.flip(0).clamp(min=0).sqrt()
    found = spread > 1e-4 * spread[0]
    return scatter.eigenvectors.flip(1)[:, found], spread[found]


def canonical(looks: Tensor, flows: Tensor) -> tuple[Tensor, Tensor]:
    """Two views of the same changes, (N, K) and (N, M) -> directions (K, C) and (M, C), along which they are
    most alike (Hotelling 1936): halves of variates of unit variance, times the squared correlation, so that
    their sum counts as far as both views agree.

    What moves and what is seen to change have little in common but the expression: noise of either view, and
    what hair or glasses do to it, drops out, and a frown stands beside a jaw.
    """
    white = []
    for view in (looks, flows):
        axes, spread = principal(view)
        white.append(axes[:, :VIEWED] / spread[:VIEWED])
    a, b = (view @ to_white for view, to_white in zip((looks, flows), white, strict=True))
    u, correlation, v = torch.linalg.svd(a.T @ b / len(a))
    count = min(SHARED, len(correlation))
    weight = correlation[:count].square() / 2
    return white[0] @ u[:, :count] * weight, white[1] @ v.T[:, :count] * weight


def _wide(axes: Tensor, width: int) -> Tensor:
    """Columns beyond what was found are 0."""
    return F.pad(axes[:, :width], (0, max(width - axes.shape[1], 0)))


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
