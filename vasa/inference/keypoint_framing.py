"""What a keypoint space sees of a face: a portrait's square upright and a driver's as it is, by
LivePortrait's rule; and how open eyes and lips are, of a portrait and of each of a driver's frames.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vasa.face.keypoints.config import RulesConfig
from vasa.inference.framing import NAMED
from vasa.preprocess.align import FoundFace
from vasa.preprocess.crop import Crop
from vasa.preprocess.face_landmarks import FaceLandmarks, OpeningsFollower, SeenFace
from vasa.preprocess.landmark_frame import LandmarkFrame
from vasa.pretrained.dense_landmarks import how_to_get

NUM_OPENINGS = 3
RETARGETING = {"eyes": "eye_retargeting", "lips": "lip_retargeting"}
WANTING = (*RETARGETING.values(), "close_lips", "open_source_eyes")
"""Rules that want the source's openings."""
NO_POINTS = (
    "but no points of the face were found to frame it by; leave them out, or give a detector's file "
    "(detector.scrfd)."
)


def framed_portrait(
    photo: np.ndarray, found: FoundFace, landmarks: FaceLandmarks, rules: RulesConfig, size: int
) -> tuple[FoundFace, np.ndarray | None]:
    """A found face in the square that rules ask for, and its openings (3,), where they are told.

    size: px of its picture; LivePortrait's is 512 whatever the photograph has. Where only a square is known
    of the face, and no points, as of a picture's middle, that is kept, as is one that the user named. Raises:
    ValueError where rules ask for another one.
    """
    seen = None if found.points is None else landmarks.see(photo, found.points)
    if seen is None or found.found_by == NAMED:
        if rules.framing != RulesConfig().framing:
            why = (
                "beside face_box, which names the square itself; leave one of them out."
                if found.found_by == NAMED
                else NO_POINTS
            )
            said = "keypoints.crop_scale, crop_vx, crop_vy or crop_rotate is given"
            raise ValueError(f"{said}, {why}")
        return replace(found, crop=replace(found.crop, size=size)), seen.openings if seen else None
    frame = seen.frame.widened(rules.crop_scale, rules.crop_vx, rules.crop_vy)
    crop = (frame if rules.crop_rotate else frame.level()).crop(size, size)
    return replace(found, crop=crop, found_by=f"{found.found_by}, {seen.seen_by} points"), seen.openings


class DriverFraming:
    """The square around a driver's face, which is not turned, and the face in that square. is_source: by the
    rule of portraits instead, for the frames of a source video. Where only a square is known of a face
    and no points, that is kept; where rules ask for another one, ValueError is raised.
    """

    def __init__(self, landmarks: FaceLandmarks, rules: RulesConfig, is_source: bool = False) -> None:
        self.landmarks, self._prefix = landmarks, "crop" if is_source else "driving"
        self._scale, self._vx, self._vy = self._asked(rules)
        self._is_asked = self._asked(rules) != self._asked(RulesConfig())

    def _asked(self, rules: RulesConfig) -> tuple[float, float, float]:
        scale, vx, vy = (getattr(rules, f"{self._prefix}_{name}") for name in ("scale", "vx", "vy"))
        return scale, vx, vy

    def square(self, photo: np.ndarray, found: FoundFace) -> Crop:
        """Of a frame (H, W, 3) in which a face was found, for ``FaceVideo``."""
        seen = self._seen(photo, found)
        return found.crop if seen is None else self._widened(seen).crop(*(found.crop.size,) * 2)

    def picture(self, photo: np.ndarray, found: FoundFace, size: int) -> tuple[Crop, np.ndarray | None]:
        """The same of a driving picture, ``size`` px, and its openings (3,) where they are told."""
        seen = self._seen(photo, found)
        return (found.crop, None) if seen is None else (self._widened(seen).crop(size, size), seen.openings)

    def _seen(self, photo: np.ndarray, found: FoundFace) -> SeenFace | None:
        if found.points is not None:
            return self.landmarks.see(photo, found.points)
        if self._is_asked:
            name = self._prefix
            raise ValueError(f"keypoints.{name}_scale, {name}_vx or {name}_vy is given, {NO_POINTS}")
        return None

    def _widened(self, seen: SeenFace) -> LandmarkFrame:
        return seen.frame.widened(self._scale, self._vx, self._vy).level()

    def face_in(self, square: Crop) -> LandmarkFrame:
        """About where the landmarks of a face are whose square this is."""
        whole = LandmarkFrame(square.centre_x, square.centre_y, square.side, 0.0)
        return whole.widened(1.0, -self._vx, -self._vy).widened(1 / self._scale, 0.0, 0.0)


class OpeningTrack:
    """Openings of eyes and lips by number of frame, in step with motion: added as frames are read, taken, and
    then forgotten, as they are shown.
    """

    def __init__(self, values: Tensor | None = None) -> None:
        """values: (T, 3), where all are known."""
        self._values, self._first = torch.empty(0, NUM_OPENINGS) if values is None else values, 0

    def add(self, values: Tensor) -> None:
        """Of the next frames, (t, 3)."""
        self._values = torch.cat([self._values.to(values), values])

    def take(self, first: int, count: int) -> Tensor:
        """Of frames ``first`` to ``first + count`` - 1, (count, 3). Earlier ones are forgotten."""
        start = first - self._first
        assert start >= 0 and start + count <= len(self._values)
        self._values, self._first = self._values[start:], first
        return self._values[:count]


class DriverOpenings:
    """Measures a driver's openings while its frames are encoded, into ``track``."""

    def __init__(self, framing: DriverFraming) -> None:
        self._framing, self._follow = framing, OpeningsFollower(framing.landmarks)
        self.track = OpeningTrack()

    def of_frame(self, frame: np.ndarray, square: Crop) -> np.ndarray:
        """(3,) of the next frame (H, W, 3), whose face is in a square."""
        return self._follow(frame, self._framing.face_in(square))


def wants_openings(rules: RulesConfig) -> bool:
    """Whether rules want the source's openings."""
    return any(getattr(rules, name) for name in WANTING)


def check_openings(
    rules: RulesConfig, species: str, relative: bool, is_known: bool, driver: str, tells: tuple[bool, bool]
) -> None:
    """Raises: ValueError in a sentence, where rules need openings that nothing tells.

    is_known: whether the portrait's are. driver: what it is, for messages. tells: whether it has its eyes'
    openings, and its lips'.
    """
    wanted = [name for name in WANTING if getattr(rules, name)]
    if not wanted:
        return
    said = " and ".join(f"keypoints.{name}" for name in wanted)
    said, it = f"{said} {'is' if len(wanted) == 1 else 'are'} given", "it" if len(wanted) == 1 else "them"
    if species != "human":
        raise ValueError(f"{said}, but openings of eyes and lips are told of people alone; leave {it} out.")
    if rules.close_lips and not relative:
        raise ValueError(
            "keypoints.close_lips goes with pose=relative, as absolute motion brings its own lips; leave one "
            "of them out."
        )
    for (part, name), is_told in zip(RETARGETING.items(), tells, strict=True):
        if getattr(rules, name) and not is_told:
            raise ValueError(
                f"keypoints.{name} makes {part} as open as the driver's, but {driver} does not tell "
                f"openings; leave it out, or drive with a video and landmarks: {how_to_get()}."
            )
    if not is_known:
        raise ValueError(
            f"{said}, but the source has no ratios of its eyes and lips: five points do not tell them; "
            f"{how_to_get()}, or leave {it} out."
        )
