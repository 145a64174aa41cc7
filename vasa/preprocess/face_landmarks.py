"""Landmarks all over a face by what networks are there: where a portrait's face is framed by, and how open
eyes and lips are, in a picture and from frame to frame.

LivePortrait frames photographs by 106 points and measures openings on 203, which it then follows in videos
from one frame to the next. So here, as far as the files are there; else the best of what is: 203, 106, 68
points, and in the end the detector's five, which tell no openings.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vasa.preprocess.crop import cut
from vasa.preprocess.landmark_frame import LandmarkFrame, frame_of, openings, typical_frame
from vasa.pretrained.dense_landmarks import DenseNetwork

log = logging.getLogger(__name__)

VIEWS: dict[int, tuple[float, float, bool]] = {
    203: (1.5, -0.1, True),
    106: (2.06, -0.083, False),
    68: (2.62, -0.091, True),
}
"""The square that a network sees, of the landmarks' own: how much larger, how far below its middle, and
whether it is upright. 203 as LivePortrait has it; 106 one and a half of a detector's box, as insightface, and
68 as face-alignment: of boxes that SCRFD draws on portraits.
"""


@dataclass(frozen=True, slots=True)
class SeenFace:
    """frame: the square around the face. openings (3,): of the eyes, viewer's left first, and the lips; None
    where nothing tells. seen_by: the numbers of points, as "106+203".
    """

    frame: LandmarkFrame
    openings: np.ndarray | None
    seen_by: str


class FaceLandmarks:
    """Networks by their numbers of points; none is fine, and five points are all there is."""

    def __init__(self, networks: Mapping[int, DenseNetwork]) -> None:
        self._networks, self._warned = networks, False
        self._best = next((count for count in (203, 106, 68) if count in networks), 0)

    @property
    def tells_openings(self) -> bool:
        """Whether any network is there."""
        return self._best > 0

    def see(self, photo: np.ndarray, five: np.ndarray) -> SeenFace:
        """A face of a photograph (H, W, 3), of which five points (5, 2) are known. Raises: ValueError where
        these are none.
        """
        return self.seen_near(photo, typical_frame(five))

    def seen_near(self, photo: np.ndarray, rough: LandmarkFrame) -> SeenFace:
        """The same of a face that is about there."""
        if not self._best:
            return SeenFace(rough, None, "5")
        first = 106 if 106 in self._networks else self._best
        frame, points = rough, np.empty((0, 2))
        for _ in range(1 if first == 106 else 2):  # 106 are seen around a box, others around their own
            points = self._looked(first, photo, frame)
            frame = self._believed(points, rough)
        if first == self._best:
            return SeenFace(frame, openings(points), str(first))
        told = openings(self.points_at(photo, frame))
        return SeenFace(frame, told, f"{first}+{self._best}")

    def points_at(self, photo: np.ndarray, frame: LandmarkFrame) -> np.ndarray:
        """The most points (N, 2) that can be told of a face, by one look at a frame of it."""
        return self._looked(self._best, photo, frame)

    def _looked(self, count: int, photo: np.ndarray, frame: LandmarkFrame) -> np.ndarray:
        """Points (count, 2) of the photograph by one look of a network at the square that it wants."""
        network, (scale, down, upright) = self._networks[count], VIEWS[count]
        view = frame.widened(scale, 0.0, down)
        crop = (view if upright else view.level()).crop(network.size, network.size)
        return crop.to_photo(network(cut(photo, crop)))

    def _believed(self, points: np.ndarray, rough: LandmarkFrame) -> LandmarkFrame:
        """The frame of points; the rough one where they lie elsewhere, as on what is no person's face."""
        frame = frame_of(points) if np.isfinite(points).all() else rough
        if agree(frame, rough):
            return frame
        level, self._warned = logging.DEBUG if self._warned else logging.WARNING, True
        log.log(level, "%d landmarks lie elsewhere than the found face; kept the latter.", len(points))
        return rough


class OpeningsFollower:
    """Openings of one face frame by frame: each is looked for where the landmarks of the last one were."""

    def __init__(self, landmarks: FaceLandmarks) -> None:
        self._landmarks = landmarks
        self._last: LandmarkFrame | None = None

    def __call__(self, photo: np.ndarray, rough: LandmarkFrame) -> np.ndarray:
        """(3,) of a frame (H, W, 3) whose face is about at ``rough``."""
        if self._last is None or not agree(self._last, rough):
            seen = self._landmarks.seen_near(photo, rough)
            self._last = seen.frame
            assert seen.openings is not None
            return seen.openings
        points = self._landmarks.points_at(photo, self._last)
        self._last = frame_of(points) if np.isfinite(points).all() else None
        return openings(points)


def agree(fine: LandmarkFrame, rough: LandmarkFrame) -> bool:
    """Whether two frames may be of one face: half a side apart at most, and of about one size."""
    apart = np.hypot(fine.centre_x - rough.centre_x, fine.centre_y - rough.centre_y)
    return bool(apart < 0.5 * rough.side and 0.5 < fine.side / rough.side < 2)
