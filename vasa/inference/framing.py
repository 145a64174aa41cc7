"""Where the face of a photograph is when nothing finds it: the square that the user names, or the middle of a
picture of an animal, whose faces no detector here knows.
"""

from __future__ import annotations

import logging

import numpy as np

from vasa.preprocess.align import CENTRE, FaceAligner, FoundFace
from vasa.preprocess.crop import Crop, centre_crop, picture_size

log = logging.getLogger(__name__)

NAMED = "face_box"
"""FoundFace.found_by of a square that the user named."""
Box = tuple[float, float, float]
"""Left, top and side of a square, pixels of an upright photograph."""


def named_square(
    photo: np.ndarray, box: Box, aligner: FaceAligner, min_size: int, max_size: int
) -> FoundFace:
    """The face in a square of a photograph (H, W, 3). Raises: ValueError where it reaches outside."""
    (x, y, side), (height, width) = box, photo.shape[:2]
    if min(x, y) < 0 or x + side > width or y + side > height:
        raise ValueError(
            f"face_box={x:g},{y:g},{side:g} reaches outside the picture of {width}x{height} pixels; wanted x "
            f"and y from 0 on, x + side at most {width} and y + side at most {height}."
        )
    crop = Crop(x + side / 2, y + side / 2, side, picture_size(side, min_size, max_size))
    return FoundFace(crop, NAMED, 1, 1.0, aligner.points_of(photo, crop))


def middle(photo: np.ndarray, min_size: int, max_size: int) -> FoundFace:
    """Of an animal's photograph (H, W, 3), its middle square, with a remark."""
    height, width = photo.shape[:2]
    crop = centre_crop(height, width, min_size, max_size)
    log.info(
        "The checkpoint is of animals, whose faces nothing here finds: of the picture of %dx%d pixels its "
        "middle is shown, face_box=%g,%g,%g; name another square if the head does not fill that one.",
        width,
        height,
        crop.centre_x - crop.side / 2,
        crop.centre_y - crop.side / 2,
        crop.side,
    )
    return FoundFace(crop, CENTRE, 0, 0.0)
