"""From a photograph to the face in it: detection, refinement of the points where they are only typical, the
crop.

Ties ``pretrained/detector.py`` and the landmark network to the crop rule. Says in words how the face was
found, because a centre crop or a cascade's guess explains a poor result.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch

from vasa.preprocess.crop import Crop, centre_crop, crop_face, cut, five_points
from vasa.pretrained.config import DetectorConfig
from vasa.pretrained.detector import FaceBox, build_detector
from vasa.pretrained.landmarks import SURE_OF_A_FACE, LandmarkNet

log = logging.getLogger(__name__)

CENTRE = "centre"
SURE_LOOKS = 3
SMALLEST = 0.28
"""Of a crop's side, the box of the smallest face beside it: half as wide as its own.
"""


@dataclass(slots=True)
class FoundFace:
    """crop: where the face is, by the crop rule. found_by: "scrfd", "cascade", "cascade+landmarks",
    "landmarks" or "centre".

    num_faces: how many faces the photograph shows; ``crop`` is the largest. confidence: the finder's, in [0,
    1]. points (5, 2): eyes, nose tip and mouth corners in pixels of the photograph, where they were seen.
    second_share: area of the next smaller face's box, of this one's; 0 without one.
    """

    crop: Crop
    found_by: str
    num_faces: int
    confidence: float
    points: np.ndarray | None = None
    second_share: float = 0.0


def whole_frame(picture: np.ndarray, max_size: int) -> FoundFace:
    """Of a picture (H, H, 3) that was cut by the crop rule: all of it, at ``max_size`` px at most. Of one
    that is not square, the middle.
    """
    height, width = picture.shape[:2]
    side = min(height, width)
    return FoundFace(Crop(width / 2, height / 2, side, min(side // 2 * 2, max_size)), "framed", 1, 1.0)


class FaceAligner:
    """Finds the largest face of a photograph and crops it by the crop rule."""

    looks = (
        2  # crop -> landmarks -> crop: the first crop of a cascade is up to a tenth off, the second is not
    )

    def __init__(self, config: DetectorConfig, remarks: int = logging.INFO) -> None:
        """remarks: level at which it is logged how a face was placed; in many frames nobody wants to know."""
        self.config, self._remarks = config, remarks
        self._detector = build_detector(config)
        self._landmarks: LandmarkNet | None = None
        if not self._detector.is_exact and config.landmarks and config.landmarks.is_file():
            self._landmarks = LandmarkNet.from_pretrained(config.landmarks)

    def find(
        self,
        photo: np.ndarray,
        min_size: int,
        max_size: int,
        allow_centre_crop: bool = False,
        last: Crop | None = None,
    ) -> FoundFace:
        """The face of a photograph (H, W, 3) uint8 RGB, cropped to between ``min_size`` and ``max_size``
        pixels. last: the crop of the same face a moment before: faces far smaller are not looked for, and one
        found there is refined from it, by one look.

        Raises: ValueError when no face is found, unless ``allow_centre_crop``.
        """
        faces = self._detector.detect(photo, SMALLEST * last.side if last else 0.0)
        for rank, face in enumerate(faces):
            found = self._crop(photo, face, min_size, max_size, len(faces), last)
            if found is not None:
                if rank + 1 < len(faces):
                    found.second_share = faces[rank + 1].area / max(face.area, 1e-6)
                if len(faces) > 1:
                    log.log(
                        logging.DEBUG if self._remarks == logging.DEBUG else logging.WARNING,
                        "%d faces in the picture; using the %s.",
                        len(faces),
                        "largest" if rank == 0 else "most likely",
                    )
                return found
        if last is not None:
            near = self._near(photo, last, min_size, max_size)
            return near or self.find(photo, min_size, max_size, allow_centre_crop)
        height, width = photo.shape[:2]
        alone = self._alone(photo, min_size, max_size)
        if alone is not None:
            return alone
        if not allow_centre_crop:
            raise ValueError(
                f"no face was found in the {width}x{height} picture; give a photograph of a face seen from "
                "the front, "
                "or allow_centre_crop=true if it shows one anyway."
            )
        log.warning("No face was found in the picture; its middle is used as it is (%dx%d).", width, height)
        return FoundFace(centre_crop(height, width, min_size, max_size), CENTRE, 0, 0.0)

    def points_of(self, photo: np.ndarray, crop: Crop) -> np.ndarray | None:
        """The five points (5, 2) of the face that a crop of a photograph shows, in its pixels; None where
        nothing that sees them is there, or sure.
        """
        if self._landmarks is None:
            return None
        found = self._refined(photo, crop, 1, self.config.min_confidence, crop.size, crop.size)
        return None if found is None else found[2]

    def _alone(self, photo: np.ndarray, min_size: int, max_size: int) -> FoundFace | None:
        """A face that fills the picture's middle, as in framed clips, but that no cascade knows: fringes hide
        what it looks for. None where the landmark network is not sure of one at every look.
        """
        middle = centre_crop(photo.shape[0], photo.shape[1], min_size, max_size)
        return self._near(photo, middle, min_size, max_size)

    def _near(self, photo: np.ndarray, crop: Crop, min_size: int, max_size: int) -> FoundFace | None:
        """A face that the landmark network comes to from a crop, sure at every look."""
        if self._landmarks is None:
            return None
        found = self._refined(photo, crop, SURE_LOOKS, SURE_OF_A_FACE, min_size, max_size)
        return None if found is None else FoundFace(found[0], "landmarks", 1, found[1], found[2])

    def _refined(
        self, photo: np.ndarray, crop: Crop, looks: int, wanted: float, min_size: int, max_size: int
    ) -> tuple[Crop, float, np.ndarray] | None:
        """Crop, least confidence and points after some looks of the landmark network, each in the crop that
        the last one gave; None where one has less than the wanted confidence, or its points fall together.
        """
        assert self._landmarks is not None
        size, least, points = self._landmarks.config.size, 1.0, np.empty((0, 2))
        for _ in range(looks):
            picture = torch.tensor(cut(photo, Crop(crop.centre_x, crop.centre_y, crop.side, 2 * size)))
            prediction = self._landmarks.predict(picture.permute(2, 0, 1)[None] / 127.5 - 1)
            least = min(least, float(prediction.confidence[0]))
            if least < wanted:
                return None
            points = five_points(crop.to_photo(prediction.landmarks[0].double().numpy()))
            try:
                crop = crop_face(points, min_size, max_size)
            except ValueError:
                return None
        return crop, least, points

    def _is_reached_alone(self, photo: np.ndarray, crop: Crop) -> bool:
        """Whether the landmark network comes to this crop from the picture's middle too, and surely: two ways
        to one face outvote a cascade, which takes a forehead with brows for a face.
        """
        alone = self._alone(photo, crop.size, crop.size)
        return alone is not None and _agree(crop, alone.crop)

    def _crop(
        self,
        photo: np.ndarray,
        face: FaceBox,
        min_size: int,
        max_size: int,
        num_faces: int,
        last: Crop | None,
    ) -> FoundFace | None:
        """The crop of one detection; None when the landmark network sees no face in it."""
        crop = crop_face(face.points, min_size, max_size)
        if self._landmarks is None:
            seen = np.asarray(face.points) if self._detector.is_exact else None  # else they are only typical
            return FoundFace(crop, self._detector.name, num_faces, face.score, seen)
        rough = crop
        near, looks = (last, 1) if last and _agree(last, rough) else (rough, self.looks)
        found = self._refined(photo, near, looks, self.config.min_confidence, min_size, max_size)
        if found is None:
            return None
        crop, confidence, points = found
        if not _agree(crop, rough) and not self._is_reached_alone(photo, crop):
            log.log(
                self._remarks,
                "The landmark network places the face elsewhere than the %s; kept the latter.",
                self._detector.name,
            )
            return FoundFace(rough, self._detector.name, num_faces, confidence)
        return FoundFace(crop, f"{self._detector.name}+landmarks", num_faces, confidence, points)


def _agree(fine: Crop, rough: Crop) -> bool:
    """Whether a refined crop is where the rough one may have meant it.

    A cascade is off by up to 7 % of the side in place and 10 % in size on photographs (SCRFD's points as
    truth); twice that is another thing than the face.
    """
    shift = np.hypot(fine.centre_x - rough.centre_x, fine.centre_y - rough.centre_y) / rough.side
    return shift < 0.14 and 0.8 < fine.side / rough.side < 1.25
