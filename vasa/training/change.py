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

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.face.config import CropWindow, FaceConfig
from vasa.face.volumetric.encoders import frontal_crop
from vasa.face.volumetric.painter import ExpressionPainter
from vasa.geometry import CAMERA_ZOOM
from vasa.records import POSE_NAMES
from vasa.training.lucas_kanade import optical_flow

COMPONENTS = 32
"""Principal components of the differences of a window that the codes must say."""
SHARED, VIEWED = 12, 96
"""Canonical directions that a window's differences and its flow share, and the principal components of either
that they are found in.
"""
MAX_SIDE = 64
"""Of a window as the teacher sees it, px."""
PICTURE_UNITS = 2 / CAMERA_ZOOM
"""Width of the picture in head units, at the distance of a portrait."""
POSE_ERROR = 0.03
"""What the pose teacher may be wrong by, radians (and units of the image): poses that differ by less are the
same.
"""
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
            for view, count in (("look", 3 * numbers), ("flow", 2 * numbers)):
                self.register_buffer(f"turned_{view}_{index}", torch.zeros(len(POSE_NAMES), count))
                self.register_buffer(f"shared_{view}_{index}", torch.zeros(count, SHARED))
            self.register_buffer(f"principal_{index}", torch.zeros(3 * numbers, COMPONENTS))
        self.energy: Tensor
        self.redrawn: Tensor
        self.register_buffer("energy", torch.ones(2))
        self.register_buffer("redrawn", torch.ones(len(self.windows)))
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

        Each frame is cut by its own pose as far as the two differ by more than the teacher's error, else
        both by their mean.
        """
        first, second = pose.float().chunk(2)
        mean, apart = (first + second) / 2, (second - first)[:, :3].square().sum(1, keepdim=True)
        share = apart / (apart + POSE_ERROR**2)
        cut = torch.cat([torch.lerp(mean, own, share) for own in (first, second)])
        found = []
        with torch.autocast(source.device.type, enabled=False):
            for window in self.windows:
                crops = frontal_crop(_shrunk(torch.cat([source, target]), window), cut, window)
                before, after = crops.mean(1, keepdim=True).float().chunk(2)
                contrast = torch.cat([before, after], 1).std((1, 2, 3), keepdim=True).clamp(min=0.02)
                found.append(look(after, contrast) - look(before, contrast))
                flow = optical_flow(before / contrast, after / contrast)
                found.append(F.avg_pool2d(flow, 2).flatten(1))
        return found

    @torch.no_grad()
    def fit(self, pairs: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Finds the directions from pairs as ``changes`` takes them.

        First what follows from the difference of the poses, which is left out of all that comes after. Each
        principal component is scaled by the root of its standard deviation, so that small ones, such as
        glances, count; canonical variates are of unit variance, times their squared correlation.
        """
        seen, turns, gaps = [], [], []
        for source, target, pose in pairs:
            seen.append(self.changes(source, target, pose))
            turns.append(_turn(pose))
            gaps.append(_gaps(self.painter.windows, source, target, pose))
        turn, views = torch.cat(turns), [torch.cat(parts) for parts in zip(*seen, strict=True)]
        self.redrawn.copy_(torch.cat(gaps).mean(0))
        scatter = turn.T @ turn / len(turn) + POSE_ERROR**2 * torch.eye(turn.shape[1], device=turn.device)
        for index in range(len(self.windows)):
            left = []
            for view, values in (("look", views[2 * index]), ("flow", views[2 * index + 1])):
                turned = torch.linalg.solve(scatter, turn.T @ values / len(turn))
                self.get_buffer(f"turned_{view}_{index}").copy_(turned)
                left.append(values - turn @ turned)
            axes, spread = principal(left[0])
            scaled = axes / (spread * spread[:1]).sqrt()
            self.get_buffer(f"principal_{index}").copy_(_wide(scaled, COMPONENTS))
            for view, axes in zip(("look", "flow"), canonical(*left), strict=True):
                self.get_buffer(f"shared_{view}_{index}").copy_(_wide(axes, SHARED))
        wanted = self._named(views, turn)
        self.energy.copy_(torch.stack([part.square().mean() for part in wanted]))

    def wanted(self, source: Tensor, target: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """What changed, as ``changes`` takes it: principal components (B, P) and what looks and flow share
        (B, C), of all windows.
        """
        return self._named(self.changes(source, target, pose), _turn(pose))

    def _named(self, changes: list[Tensor], turn: Tensor) -> tuple[Tensor, Tensor]:
        principals, shared = [], []
        with torch.autocast(turn.device.type, enabled=False):
            for index in range(len(self.windows)):
                both = []
                for view, values in (("look", changes[2 * index]), ("flow", changes[2 * index + 1])):
                    left = values - turn @ self.get_buffer(f"turned_{view}_{index}")
                    both.append(left @ self.get_buffer(f"shared_{view}_{index}"))
                    if view == "look":
                        principals.append(left @ self.get_buffer(f"principal_{index}"))
                shared.append(both[0] + both[1])
        return torch.cat(principals, 1), torch.cat(shared, 1)

    def forward(self, codes: Tensor, source: Tensor, target: Tensor, pose: Tensor) -> Tensor:
        """Codes (2 B, E) of sources, then targets -> the loss, about 1 when they say nothing."""
        wanted = self.wanted(source, target, pose)
        before, after = codes.float().chunk(2)
        said = self.reading(after - before).split([part.shape[1] for part in wanted], 1)
        errors = torch.stack([(a - b).square().mean() for a, b in zip(said, wanted, strict=True)])
        return (errors / self.energy).mean() + MEAN_WEIGHT * (before + after).square().mean()

    def redraw(self, source: Tensor, target: Tensor, pose: Tensor, codes: Tensor) -> Tensor:
        """How far each of two frames is from the other, redrawn by its codes, in their windows: about 1 when
        nothing is redrawn.

        source and target (B, 3, S, S); pose (2 B, 6) and codes (2 B, E), sources first. Brightness and its
        differences along both axes, L1, over the same between frames as they are (``fit``).
        """
        other = [torch.cat(x.chunk(2)[::-1]) for x in (pose, codes)]
        painted = self.painter(torch.cat([source, target]), pose, other[0], codes, other[1])
        errors = [_difference(after, torch.cat(before.chunk(2)[::-1])).mean() for before, after in painted]
        return (torch.stack(errors) / self.redrawn).mean()


def _turn(pose: Tensor) -> Tensor:
    """By how much poses (2 B, 6) differ within their pairs, (B, 6)."""
    before, after = pose.float().chunk(2)
    return after - before


def _gaps(windows: Sequence[CropWindow], source: Tensor, target: Tensor, pose: Tensor) -> Tensor:
    """How far two frames are apart in each window as they are, (B, windows)."""
    before, after = pose.float().chunk(2)
    pairs = [(frontal_crop(source, before, w), frontal_crop(target, after, w)) for w in windows]
    return torch.stack([_difference(a.float(), b.float()) for a, b in pairs], 1)


def _shrunk(images: Tensor, window: CropWindow) -> Tensor:
    """Images (B, 3, S, S) at a size where a pixel of the window is about one of theirs: what is finer would
    alias into the flow.
    """
    density = max(window.height / (window.y1 - window.y0), window.width / (window.x1 - window.x0))
    size = round(density * PICTURE_UNITS)
    if size >= images.shape[-1]:
        return images
    return F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)


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
    axes = scatter.eigenvectors.flip(1)[:, found]
    return axes * _sign(axes), spread[found]


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
    look_axes, flow_axes = white[0] @ u[:, :count], white[1] @ v.T[:, :count]
    weight = _sign(look_axes) * correlation[:count].square() / 2
    return look_axes * weight, flow_axes * weight


def _sign(axes: Tensor) -> Tensor:
    """Of the largest entry of each column (K, C): a decomposition leaves it open."""
    return axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()[0]


def _wide(axes: Tensor, width: int) -> Tensor:
    """Columns beyond what was found are 0."""
    return F.pad(axes[:, :width], (0, max(width - axes.shape[1], 0)))


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """Of crops (B, C, h, w), (B,)."""
    gap = a - b
    across, down = gap[..., 1:] - gap[..., :-1], gap[..., 1:, :] - gap[..., :-1, :]
    return torch.stack([part.abs().mean((1, 2, 3)) for part in (gap, across, down)]).sum(0)
