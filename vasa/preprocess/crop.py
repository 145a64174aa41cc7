"""The crop rule: from five points of a face to the square that every network here expects, and back.

Inference and preprocessing use this one rule. It only moves and scales a photograph (no turning: roll
belongs to the head pose; LivePortrait's own rule, in landmark_frame.py, turns): the five points are explained
as a mean face, turned somehow, seen by the project's camera (geometry.py), and the square is where that
camera looks when the head stands at the reference distance in the middle of the picture. A head turned aside
is therefore cropped around its centre and not around its face, at the size it would have looking ahead. What
lies outside the photograph continues its border, blurred with the distance. Knows no network and no detector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageFilter
from scipy.optimize import least_squares

from vasa.geometry import project

MEAN_POINTS = np.array(
    [
        [-0.287, 0.009, 0.649],  # middle of the eye on the viewer's left
        [0.287, 0.009, 0.649],  # middle of the other eye
        [0.0, -0.328, 0.965],  # tip of the nose
        [-0.265, -0.587, 0.687],  # corner of the mouth on the viewer's left
        [0.265, -0.587, 0.687],  # the other corner
    ]
)
"""Head-frame positions (head units) of the five points on the mean procedural head (a test holds them to it):
the one place where the framing of photographs is fixed.
"""

_GROUPS_OF_68 = (range(36, 42), range(42, 48), (30,), (48,), (54,))
_SPREAD = np.array([[0.03, 0.03], [0.03, 0.03], [0.06, 0.06], [0.1, 0.075], [0.1, 0.075]])
"""How far the five points of people stray from the mean (across, along the face), in head units. The mouth
moves with speech, which must not be taken for a nod, and is wider on the procedural heads than on people.
"""
_POSE_SPREAD_RAD = np.array([0.6, 0.2, 0.6])
"""Yaw, pitch and roll of heads in portraits. Pitch and the length of a face look alike in five points; most
heads are level.
"""

_STEP = 1e-5
"""Of the fit's differences, in units of what is typical."""


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """The five points (5, D) of 68 landmarks (68, D) in the iBUG order: eyes, nose, mouth corners, viewer's
    left first.
    """
    if landmarks.shape[0] != 68:
        raise ValueError(f"landmarks have shape {landmarks.shape}; wanted (68, D) in the iBUG order.")
    return np.stack([landmarks[list(group)].mean(0) for group in _GROUPS_OF_68])


@dataclass(slots=True)
class Crop:
    """A square of a photograph and the picture made of it.

    centre_x, centre_y, side: pixels of the photograph (pixel centres at .5); the square may reach outside.
    size: pixels of the picture's side. yaw, pitch, roll: how the fit believes the head is turned, radians.
    angle: radians by which the square is turned about its middle, > 0 clockwise.
    """

    centre_x: float
    centre_y: float
    side: float
    size: int
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    angle: float = 0.0

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Image coordinates (..., 2) of the crop to pixels of the photograph."""
        turned = points @ turn(self.angle) if self.angle else points
        return turned * (self.side / 2) + np.array([self.centre_x, self.centre_y])

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of the photograph to image coordinates of the crop. The inverse of ``to_photo``."""
        upright = (points - np.array([self.centre_x, self.centre_y])) / (self.side / 2)
        return upright @ turn(self.angle).T if self.angle else upright


def turn(angle: float) -> np.ndarray:
    """(2, 2): the axes, as rows, of a square turned clockwise by an angle; y points down."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, s], [-s, c]])


def crop_face(points: np.ndarray, min_size: int, max_size: int) -> Crop:
    """The crop rule.

    points: (5, 2) eyes, nose tip, mouth corners in pixels of the photograph, viewer's left first. min_size,
    max_size: even bounds of the picture's side; between them the photograph's own resolution is kept and
    nothing is enlarged. Raises: ValueError when the points are not those of a face (coincident or not
    finite).
    """
    points = np.asarray(points, dtype=np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise ValueError(
            f"face points have shape {points.shape}, finite: {np.isfinite(points).all()}; wanted finite "
            "(5, 2)."
        )
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    length = np.hypot(*(mouth - eyes))
    if length < 2:
        raise ValueError(
            f"the face's eyes and mouth are {length:.1f} pixels apart; wanted at least 2: give a larger "
            "picture."
        )
    straight = _project(np.zeros(3))
    half = length / np.hypot(*(straight[3:].mean(0) - straight[:2].mean(0)))
    roll = math.atan2(-(points[1] - points[0])[1], (points[1] - points[0])[0])
    start = np.array([0.0, 0.0, roll, *((eyes + mouth) / 2), half])
    scale = np.array([0.3, 0.3, 0.3, half, half, half])

    def residuals(unknown: np.ndarray) -> np.ndarray:
        """Of unknowns (..., 6): (..., 13)."""
        seen = _project(unknown[..., :3]) * unknown[..., None, 5:] + unknown[..., None, 3:5]
        stray = (seen - points) / (half * _SPREAD)
        lean = (unknown[..., :3] - [0, 0, roll]) / _POSE_SPREAD_RAD
        return np.concatenate([stray.reshape(*unknown.shape[:-1], 10), lean], -1)

    def slopes(unknown: np.ndarray) -> np.ndarray:
        """Of all unknowns at once: a step of each way costs one projection."""
        steps = _STEP * scale
        moved = residuals(np.stack([unknown + np.diag(steps), unknown - np.diag(steps)]))
        return ((moved[0] - moved[1]) / (2 * steps[:, None])).T

    yaw, pitch, roll, centre_x, centre_y, half = least_squares(
        residuals, start, slopes, x_scale=scale, method="trf"
    ).x.tolist()
    return Crop(centre_x, centre_y, 2 * half, picture_size(2 * half, min_size, max_size), yaw, pitch, roll)


def _project(yaw_pitch_roll: np.ndarray) -> np.ndarray:
    """The mean points under rotations (..., 3), at the reference distance in the middle: image coordinates
    (..., 5, 2).
    """
    turns = torch.from_numpy(np.asarray(yaw_pitch_roll, np.float64)).reshape(-1, 3)
    pose = torch.cat([turns, torch.zeros_like(turns)], 1)
    seen = project(torch.from_numpy(MEAN_POINTS).expand(len(pose), -1, -1), pose)
    return seen.reshape(*np.shape(yaw_pitch_roll)[:-1], 5, 2).numpy()


def picture_size(side: float, min_size: int, max_size: int) -> int:
    """Even number of pixels for a square of ``side`` photograph pixels: its own resolution between the two
    bounds.
    """
    return int(min(max(2 * round(side / 2), min_size), max_size))


def centre_crop(height: int, width: int, min_size: int, max_size: int) -> Crop:
    """The largest square in the middle, a little above it in tall pictures, for pictures in which no face was
    found.
    """
    side = float(min(height, width))
    return Crop(width / 2, side / 2 + 0.3 * (height - side), side, picture_size(side, min_size, max_size))


def cut(photo: np.ndarray, crop: Crop) -> np.ndarray:
    """The picture (size, size, 3) uint8 of a crop of ``photo`` (H, W, 3) uint8."""
    height, width = photo.shape[:2]
    half = crop.side / 2 * np.abs(turn(crop.angle)).sum(0)  # of what the square spans across and down
    left, top = crop.centre_x - half[0], crop.centre_y - half[1]
    x0, y0 = math.floor(left) - 1, math.floor(top) - 1
    x1, y1 = math.ceil(left + 2 * half[0]) + 1, math.ceil(top + 2 * half[1]) + 1
    columns = np.arange(x0, x1).clip(0, width - 1)
    rows = np.arange(y0, y1).clip(0, height - 1)
    window = Image.fromarray(
        photo[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1][rows - rows[0]][:, columns - columns[0]]
    )
    if crop.angle:
        corner, step = crop.to_photo(np.array([-1.0, -1.0])) - [x0, y0], crop.side / crop.size
        whole = max(1, math.floor(step))  # averaged first, which is ten times faster than reading it all
        window = window.reduce(whole) if whole > 1 else window
        picture = turned(window, corner / whole, step / whole * turn(crop.angle), (crop.size,) * 2)
        return soften(np.asarray(picture), outside_share(crop, height, width))
    box = (left - x0, top - y0, left - x0 + crop.side, top - y0 + crop.side)
    enlarging = crop.size > crop.side
    picture = window.resize(
        (crop.size,) * 2, Image.Resampling.BICUBIC if enlarging else Image.Resampling.LANCZOS, box=box
    )
    return soften(np.asarray(picture), outside_share(crop, height, width))


def turned(picture: Image.Image, corner: np.ndarray, steps: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A picture of ``size`` (width, height) out of another whose pixels it reads along turned axes.

    corner: where in the other its top left corner lies. steps (2, 2): rows, the way there from one pixel to
    the next across, and down. Where that skips pixels, several are read for each and averaged.
    """
    fine = max(1, math.ceil(float(np.hypot(*steps[0])) - 0.01))
    x, y = steps / fine
    sharp = picture.transform(
        (size[0] * fine, size[1] * fine),
        Image.Transform.AFFINE,
        (x[0], y[0], corner[0], x[1], y[1], corner[1]),
        Image.Resampling.BICUBIC,
    )
    return sharp.reduce(fine) if fine > 1 else sharp


def outside_share(crop: Crop, height: int, width: int) -> np.ndarray | None:
    """How much each pixel of a crop's picture is to be blurred, uint8 (size, size), as it lies outside a
    photograph of ``height`` and ``width``: more with the distance, 0 inside. None where nothing lies outside.
    """
    step = crop.side / crop.size
    if crop.angle:
        centres = (np.arange(crop.size) + 0.5) * (2 / crop.size) - 1
        x, y = np.moveaxis(crop.to_photo(np.stack(np.meshgrid(centres, centres), -1)), -1, 0)
    else:
        x = crop.centre_x - crop.side / 2 + (np.arange(crop.size) + 0.5) * step
        y = crop.centre_y - crop.side / 2 + (np.arange(crop.size) + 0.5)[:, None] * step
    beyond_x = np.maximum(np.maximum(-x, x - width), 0)
    beyond_y = np.maximum(np.maximum(-y, y - height), 0)
    beyond = np.hypot(beyond_x, beyond_y) / crop.side  # (size, size), 0 inside
    return np.round(255 * np.clip(beyond / 0.05, 0, 1)).astype(np.uint8) if beyond.any() else None


def soften(picture: np.ndarray, share: np.ndarray | None) -> np.ndarray:
    """Blurs what continues the photograph's border, by ``outside_share``; the photograph itself is untouched.

    picture: uint8 (size, size, 3). The blur is so wide that a copy of a quarter of the size holds it.
    """
    if share is None:
        return picture.copy()
    sharp, size = Image.fromarray(picture), picture.shape[0]
    small = sharp.reduce(4).filter(ImageFilter.GaussianBlur(0.01 * size))
    blurred = small.resize(sharp.size, Image.Resampling.BILINEAR)
    return np.asarray(Image.composite(blurred, sharp, Image.fromarray(share)))
