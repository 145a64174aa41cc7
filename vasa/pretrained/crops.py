"""Crops of a face: upright squares by a similarity, frontalised strips of eyes and mouth by an affine map.

Everything is in image coordinates (records.py), in fp32 also under autocast, and differentiable in the
pixels. Nothing here knows of networks.

A similarity is a matrix (B, 2, 3) taking crop coordinates to image coordinates:
    u = centre_u + s ( cu cos r + cv sin r),   v = centre_v + s (-cu sin r + cv cos r),
so r > 0 makes a face of roll r upright and s is the crop's half width in half image widths.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vasa.geometry import pixel_grid
from vasa.nn.warp import sample_image

STABLE = (36, 39, 42, 45, 27, 31, 32, 33, 34, 35)
"""Landmarks that speech and blinking do not move: eye corners, top of the nose, base of the nose."""
STABLE_XY = (
    (-0.449, 0.021),
    (-0.125, 0.002),
    (0.125, 0.002),
    (0.449, 0.021),
    (0.0, 0.034),
    (-0.107, -0.433),
    (-0.046, -0.434),
    (0.0, -0.434),
    (0.046, -0.434),
    (0.107, -0.433),
)
"""Where they lie on the mean of the procedural heads, from the front: head units, x right, y up."""


HEAD_CENTRE_Y, HEAD_HALF_WIDTH = 0.05, 1.2
"""Centre and half width of the crop of the whole head, in head units."""


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the face plane (head units) and the pixels it is sampled at."""

    x0: float
    x1: float
    y0: float
    y1: float
    height: int
    width: int


EYES = Region(x0=-0.62, x1=0.62, y0=-0.20, y1=0.42, height=48, width=96)
MOUTH = Region(x0=-0.46, x1=0.46, y0=-1.06, y1=-0.37, height=48, width=64)


def similarity(centre: Tensor, scale: Tensor, roll: Tensor) -> Tensor:
    """centre (B, 2) in image coordinates, scale (B,), roll (B,) in radians -> (B, 2, 3)."""
    cos, sin = roll.cos() * scale, roll.sin() * scale
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1), centre], -1)


def apply(matrix: Tensor, points: Tensor) -> Tensor:
    """Affine map (B, 2, 3) of points (B, N, 2)."""
    with _fp32(points):
        return points @ matrix[..., :2].transpose(-1, -2) + matrix[..., None, :, 2]


def invert(matrix: Tensor) -> Tensor:
    """The inverse affine map of (B, 2, 3)."""
    with _fp32(matrix):
        linear = torch.linalg.inv(matrix[..., :2])
        return torch.cat([linear, -linear @ matrix[..., 2:]], -1)


def warp_crop(images: Tensor, matrix: Tensor, size: int, padding: str = "border") -> Tensor:
    """images (B, C, H, W), matrix (B, 2, 3) from crop to image coordinates -> (B, C, size, size)."""
    grid = pixel_grid(size, size, images.device).view(1, -1, 2).expand(len(images), -1, -1)
    return sample_image(images, apply(matrix, grid).view(-1, size, size, 2), padding=padding)


def pose_similarity(pose: Tensor) -> Tensor:
    """The crop (B, 2, 3) in which a head of this pose (B, 6) is upright, centred and of reference size."""
    centre = torch.stack([pose[:, 3], -pose[:, 4]], -1)
    return similarity(centre, pose[:, 5].exp(), pose[:, 2])


def pose_in_crop(pose: Tensor, matrix: Tensor) -> Tensor:
    """The pose (B, 6) of the same head as its crop by a similarity (B, 2, 3) shows it.

    Exact for roll, translation and scale; yaw and pitch are kept, although moving a crop sideways changes the
    direction in which a perspective camera sees the head (1.4 degrees for a tenth of the half width).
    """
    scale = torch.linalg.det(matrix[:, :, :2]).clamp(min=1e-6).sqrt()
    roll = torch.atan2(matrix[:, 0, 1], matrix[:, 0, 0])
    centre = apply(invert(matrix), torch.stack([pose[:, 3], -pose[:, 4]], -1)[:, None])[:, 0]
    return torch.stack(
        [pose[:, 0], pose[:, 1], pose[:, 2] - roll, centre[:, 0], -centre[:, 1], pose[:, 5] - scale.log()], -1
    )


def face_plane(landmarks: Tensor) -> Tensor:
    """The affine map (B, 3, 2) from (x, y, 1) of the frontal face plane to image coordinates, least squares.

    Fitted to the STABLE of landmarks (B, 68, 2), so that an opened mouth stays opened: it takes out place,
    size, roll and the foreshortening of yaw and pitch, which else dominate what a network sees of a gaze or
    a lip.
    """
    xy = torch.tensor(STABLE_XY, device=landmarks.device)
    design = torch.cat([xy, torch.ones_like(xy[:, :1])], -1)
    with _fp32(landmarks):
        return torch.linalg.pinv(design) @ landmarks.detach().float()[:, STABLE, :]


def region_crop(images: Tensor, landmarks: Tensor, region: Region) -> Tensor:
    """The region of images (B, C, H, W), frontalised: (B, C, region.height, region.width)."""
    half = landmarks.new_tensor([(region.x1 - region.x0) / 2, -(region.y1 - region.y0) / 2])
    middle = landmarks.new_tensor([(region.x0 + region.x1) / 2, (region.y0 + region.y1) / 2])
    xy = pixel_grid(region.height, region.width, images.device) * half + middle  # (h, w, 2), y up
    xy1 = torch.cat([xy, torch.ones_like(xy[..., :1])], -1).view(1, -1, 3)
    with _fp32(images):
        grid = (xy1 @ face_plane(landmarks)).view(-1, region.height, region.width, 2)
    return sample_image(images, grid)


def head_crop(images: Tensor, landmarks: Tensor, size: int) -> Tensor:
    """An upright square of the whole head, (B, C, size, size), that keeps its proportions: for identity."""
    with _fp32(images):
        plane = face_plane(landmarks)  # (B, 3, 2)
        centre = plane[:, 1] * HEAD_CENTRE_Y + plane[:, 2]
        unit = torch.linalg.det(plane[:, :2]).abs().clamp(min=1e-6).sqrt()
        roll = torch.atan2(-plane[:, 0, 1], plane[:, 0, 0])
        matrix = similarity(centre, HEAD_HALF_WIDTH * unit, roll)
    return warp_crop(images, matrix, size)


def face_boxes(landmarks: Tensor, margin: float = 0.1) -> Tensor:
    """Boxes (B, 4) around landmarks (B, 68, 2): `margin` of their size more a side, and the forehead."""
    low, high = landmarks.amin(1), landmarks.amax(1)
    size = high - low
    low = low - size * size.new_tensor([margin, 2.5 * margin])  # landmarks end at the brows
    return torch.cat([low, high + size * margin], -1).clamp(-1, 1)


def box_crop(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """The boxes (B, 4) of images (B, C, H, W), stretched to (B, C, size, size); black outside the picture."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-6) / 2
    matrix = torch.cat([torch.diag_embed(half), middle[:, :, None]], -1)
    factor = max(1, int(float(half.median()) * images.shape[-1] / size))
    shrunk = torch.nn.functional.avg_pool2d(images, factor) if factor > 1 else images
    return warp_crop(shrunk, matrix, size, padding="zeros")


def _fp32(tensor: Tensor) -> torch.autocast:
    """Half precision would round a grid by a quarter of a pixel."""
    return torch.autocast(tensor.device.type, enabled=False)
