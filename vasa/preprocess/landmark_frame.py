"""LivePortrait's framing: from landmarks of a face to the square, upright or as the picture is, that its
networks expect; and how open eyes and lips are in such landmarks.

Guo et al. 2024 say nothing of it; the rule is what their published code does, stated anew and held against
its recorded results. Landmarks come in layouts that are known by their number: 203 (LivePortrait's), 106
(insightface's), 101, 68 (iBUG's), 9 (animals') or 5. Knows no network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vasa.preprocess.crop import Crop, picture_size, turn

Group = tuple[int, ...]
EYES_AND_MOUTH: dict[int, tuple[Group, Group, Group]] = {
    203: ((0, 6, 12, 18), (24, 30, 36, 42), (48, 66)),
    106: ((33, 35, 40, 39), (87, 89, 94, 93), (52, 61)),
    101: ((39, 42, 45, 48), (51, 54, 57, 60), (75, 81)),
    68: ((36, 39), (42, 45), (48, 54)),
    9: ((2, 3), (0, 1), (5, 6)),
    5: ((0,), (1,), (3, 4)),
}
"""Of each layout the points whose means are the eyes, viewer's left first, and the mouth."""
OPENINGS: dict[int, tuple[tuple[Group, Group, Group, Group], ...]] = {
    203: (((6,), (18,), (0,), (12,)), ((30,), (42,), (24,), (36,)), ((90,), (102,), (48,), (66,))),
    106: (((40,), (33,), (35,), (39,)), ((94,), (87,), (89,), (93,)), ((62,), (60,), (52,), (61,))),
    68: (
        ((37, 38), (41, 40), (36,), (39,)),
        ((43, 44), (47, 46), (42,), (45,)),
        ((62,), (66,), (48,), (54,)),
    ),
}
"""Upper and lower middle, one corner and the other, of the eye on the viewer's left, the other, and the lips
(inside; their corners outside). Only the 203 points' are LivePortrait's; the others are the same places of a
face, 68 points having two on each lid whose mean is taken.
"""
SHORTEST_PX = 1e-3
TYPICAL_SIDE, TYPICAL_DOWN = 1.97, 0.63
"""Of the way from eyes to mouth, on people who look ahead: the side of the square around brows, jaw and
cheeks, and how far below the eyes it has its middle. For five points, whose own box ends at the mouth. Five
portraits by 68 points: 1.88 to 2.32, within a tenth of the way of that middle.
"""


@dataclass(frozen=True, slots=True)
class LandmarkFrame:
    """The square around a face's landmarks, px of the picture. angle: radians by which it is turned, > 0
    clockwise, so that the face is upright in it.
    """

    centre_x: float
    centre_y: float
    side: float
    angle: float

    @property
    def axes(self) -> np.ndarray:
        """(2, 2): the directions of the square's x and y in the picture, as rows."""
        return turn(self.angle)

    def widened(self, scale: float, right: float, down: float) -> LandmarkFrame:
        """``scale`` times as large, then moved by shares of that side along its own axes: LivePortrait's
        scale, vx_ratio and vy_ratio.
        """
        side = self.side * scale
        x, y = (
            np.array([self.centre_x, self.centre_y]) + side * np.array([right, down]) @ self.axes
        ).tolist()
        return LandmarkFrame(x, y, side, self.angle)

    def level(self) -> LandmarkFrame:
        """The square of this middle and size that is not turned: what LivePortrait cuts where rotation is
        off, although size and middle were measured along the face.
        """
        return LandmarkFrame(self.centre_x, self.centre_y, self.side, 0.0)

    def crop(self, min_size: int, max_size: int) -> Crop:
        """As what pictures are cut by."""
        size = picture_size(self.side, min_size, max_size)
        return Crop(self.centre_x, self.centre_y, self.side, size, angle=self.angle)


def frame_of(points: np.ndarray, lips: bool = True) -> LandmarkFrame:
    """The frame of landmarks (N, 2), pixels of the picture.

    lips: the face's vertical is the way from eyes to mouth; else across the eyes. Raises: ValueError for an
    unknown number of landmarks, or coordinates that are not finite.
    """
    points = np.asarray(points, np.float64)
    eyes, across, mouth = _eyes_and_mouth(points)
    down = mouth - eyes if lips else np.array([-across[1], across[0]])
    length = float(np.hypot(*down))
    down = np.array([0.0, 1.0]) if length <= SHORTEST_PX else down / length
    angle = math.atan2(-down[0], down[1])
    axes, middle = turn(angle), points.mean(0)
    along = (points - middle) @ axes.T
    low, high = along.min(0), along.max(0)
    x, y = (middle + (low + high) / 2 @ axes).tolist()
    return LandmarkFrame(x, y, float((high - low).max()), angle)


def typical_frame(points: np.ndarray) -> LandmarkFrame:
    """The frame that landmarks all over a face would have, of its five points (5, 2). Raises: ValueError."""
    points = np.asarray(points, np.float64)
    eyes, _, mouth = _eyes_and_mouth(points)
    turned = frame_of(points)
    length = float(np.hypot(*(mouth - eyes)))
    x, y = (eyes + TYPICAL_DOWN * length * turned.axes[1]).tolist()
    return LandmarkFrame(x, y, TYPICAL_SIDE * length, turned.angle)


def openings(points: np.ndarray) -> np.ndarray:
    """How open eyes and lips are in landmarks (N, 2): (3,), of the eye on the viewer's left, the other, and
    the lips, each a height over its width. Raises: ValueError where the layout does not tell.
    """
    points = np.asarray(points, np.float64)
    if len(points) not in OPENINGS:
        raise ValueError(f"{len(points)} landmarks do not tell openings; wanted 203, 106 or 68.")
    return np.array([_opening(points, *groups) for groups in OPENINGS[len(points)]])


def _opening(points: np.ndarray, upper: Group, lower: Group, left: Group, right: Group) -> float:
    high, low, one, other = (points[list(group)].mean(0) for group in (upper, lower, left, right))
    return float(np.hypot(*(high - low)) / (np.hypot(*(one - other)) + 1e-6))


def _eyes_and_mouth(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middle between the eyes, the way from one to the other, and the mouth."""
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in EYES_AND_MOUTH:
        raise ValueError(
            f"landmarks have shape {points.shape}; wanted (N, 2) with N one of "
            f"{', '.join(map(str, EYES_AND_MOUTH))}."
        )
    if not np.isfinite(points).all():
        raise ValueError("landmarks have coordinates that are not finite; wanted pixels.")
    left, right, mouth = (points[list(group)].mean(0) for group in EYES_AND_MOUTH[len(points)])
    return (left + right) / 2, right - left, mouth
