"""From a stretch of one face to a clip: one square for all its pictures, and what that square is worth.

The square is the median of the looks' crops: one that followed the face would take the head's own motion out
of the clip and put the finder's noise in (preprocess/framing.py does the same for clips at hand whole).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vasa.preprocess.crop import Crop, outside_share, soften
from vasa.preprocess.picture import Picture
from vasa.preprocess.tracking import Region, Stretch

UPRIGHT = 1.5
"""What a way up or down counts, of one aside: a head's crop has less room above and below it than beside."""


@dataclass(slots=True)
class Placement:
    """Where a clip is cut out of the video's pictures.

    crop: in pixels of the video. drift: the farthest that a look's square lies from its middle, in sides;
    up and down count UPRIGHT times.
    stability_px: how far it would typically have moved or grown from look to look had it followed the finder,
    in px of the clip: median absolute deviation from the median, the larger of the two. looks: how many.
    """

    crop: Crop
    drift: float
    stability_px: float
    looks: int

    @property
    def enlarged(self) -> float:
        """How many times the video's pixels are enlarged; below 1 they are reduced."""
        return self.crop.size / self.crop.side


def place(stretch: Stretch) -> Placement:
    """The one square of a stretch of a face."""
    first = stretch.looks[0][1]
    squares = np.array([(crop.centre_x, crop.centre_y, crop.side) for _, crop in stretch.looks])
    x, y, side = np.median(squares, 0).tolist()
    away = np.hypot(squares[:, 0] - x, squares[:, 1] - y)
    noise = max(float(np.median(away)), float(np.median(np.abs(squares[:, 2] - side))) / 2)
    drift = float((np.abs(squares[:, :2] - [x, y]) * [1, UPRIGHT]).max()) / side
    crop = replace(first, centre_x=x, centre_y=y, side=side, yaw=0.0, pitch=0.0, roll=0.0)
    return Placement(crop, drift, noise * first.size / side, len(squares))


def cut_frames(stretch: Stretch, crop: Crop) -> np.ndarray:
    """uint8 (T, size, size, 3): the crop of each picture of a stretch of a face.

    Planes are resampled before they become RGB; ``crop.cut`` does it after, with the same outcome but for the
    rounding of colours.
    """
    assert stretch.region is not None
    inside = stretch.region.crop(_kept_inside(crop, stretch.region))
    share = outside_share(inside, stretch.region.size[1], stretch.region.size[0])
    frames = np.empty((len(stretch.pictures), crop.size, crop.size, 3), np.uint8)
    last: Picture | None = None
    for number, picture in enumerate(stretch.pictures):
        if picture is last:
            frames[number] = frames[number - 1]
        else:
            square = picture.square(inside.centre_x, inside.centre_y, inside.side, crop.size)
            frames[number] = soften(square.rgb(), share)
        last = picture
    return frames


def _kept_inside(crop: Crop, region: Region) -> Crop:
    """The median of squares that a region holds may reach a little beyond it; then it is moved back."""

    def moved(centre: float, low: int, high: int, end: int) -> float:
        half = crop.side / 2
        if low > 0:
            centre = max(centre, low + half)
        return min(centre, high - half) if high < end else centre

    height, width = region.picture
    return replace(
        crop,
        centre_x=moved(crop.centre_x, region.x0, region.x1, width),
        centre_y=moved(crop.centre_y, region.y0, region.y1, height),
    )
