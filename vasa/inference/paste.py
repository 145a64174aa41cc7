"""Frames of a crop put back into the picture it was cut from.

What lies outside the crop is the picture itself, the same in all frames. Inside, frames fade in from the
crop's edge inwards; a face space that was told so (FaceSpace.hold_edges) moves nothing there, so the two that
are blended show the same thing at the same place. Knows of pixels only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image, ImageChops

from vasa.preprocess.crop import Crop, turn, turned

LONGEST_PX = 1920
MARGIN, FADE = 0.02, 0.2
"""Of half a crop, from its edge inwards: where frames begin to be seen, and how far it is to where they alone
are."""


@dataclass(slots=True)
class Surround:
    """picture: uint8 (H, W, 3), even sides. place: (x0, y0, x1, y1), the pixels of it that lie in the crop;
    of a turned one, the rectangle around them. box: two opposite corners of the same rectangle, in pixels of
    the crop's own frames. share: what frames have of each pixel there, as a Pillow mask. angle: the crop's.
    """

    picture: np.ndarray
    place: tuple[int, int, int, int]
    box: tuple[float, float, float, float]
    share: Image.Image
    angle: float = 0.0

    @classmethod
    def of(cls, photo: np.ndarray, crop: Crop) -> Self:
        """What surrounds a crop of a photograph (H, W, 3), whose longest side becomes at most LONGEST_PX."""
        picture, scale = even_and_bounded(photo)
        return cls.around_crop(picture, crop, scale)

    @classmethod
    def around_crop(cls, picture: np.ndarray, crop: Crop, scale: float = 1.0) -> Self:
        """The same for a picture that is ``scale`` times as large as what the crop speaks of."""
        side = crop.side * scale
        if crop.angle:
            return cls._around_turned(picture, crop, scale)
        left, top = crop.centre_x * scale - side / 2, crop.centre_y * scale - side / 2
        height, width = picture.shape[:2]
        x0, y0 = max(math.ceil(left), 0), max(math.ceil(top), 0)
        x1, y1 = min(math.floor(left + side), width), min(math.floor(top + side), height)
        fine = crop.size / side
        box = ((x0 - left) * fine, (y0 - top) * fine, (x1 - left) * fine, (y1 - top) * fine)
        x = np.abs((np.arange(x0, x1) + 0.5 - left) / side * 2 - 1)
        y = np.abs((np.arange(y0, y1) + 0.5 - top) / side * 2 - 1)
        share = Image.fromarray(np.rint(255 * fade(np.maximum(x[None, :], y[:, None]))).astype(np.uint8))
        return cls(picture, (x0, y0, x1, y1), box, share)

    @classmethod
    def _around_turned(cls, picture: np.ndarray, crop: Crop, scale: float) -> Self:
        corners = crop.to_photo(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])) * scale
        height, width = picture.shape[:2]
        x0, y0 = np.floor(corners.min(0)).clip(0).astype(int).tolist()
        x1, y1 = np.ceil(corners.max(0)).clip(0, [width, height]).astype(int).tolist()
        pixels = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), -1) + 0.5
        inside = np.abs(crop.to_crop(pixels / scale)).max(-1)
        share = Image.fromarray(np.rint(255 * fade(inside)).astype(np.uint8))
        ends = (crop.to_crop(np.array([[x0, y0], [x1, y1]]) / scale) + 1) * crop.size / 2
        left, top, right, bottom = ends.ravel().tolist()
        return cls(picture, (x0, y0, x1, y1), (left, top, right, bottom), share, crop.angle)

    def limit(self, strength: float, mask: Image.Image | None = None) -> None:
        """Lets frames be seen only so much, and only within a mask of ``place``, 255 where they are."""
        if mask is not None:
            self.share = ImageChops.multiply(self.share, mask)
        if strength < 1:
            self.share = self.share.point([round(value * strength) for value in range(256)])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.picture.shape[0], self.picture.shape[1]

    def around(self, frame: np.ndarray) -> np.ndarray:
        """A frame (size, size, 3) of the crop -> the whole picture (H, W, 3) with it."""
        x0, y0, x1, y1 = self.place
        fitted = self._fitted(Image.fromarray(frame), (x1 - x0, y1 - y0))
        whole = self.picture.copy()
        whole[y0:y1, x0:x1] = Image.composite(fitted, Image.fromarray(whole[y0:y1, x0:x1]), self.share)
        return whole

    def _fitted(self, frame: Image.Image, size: tuple[int, int]) -> Image.Image:
        """A frame as it lies in ``place``."""
        if self.angle:
            corner, way = np.array(self.box[:2]), np.array(self.box[2:]) - self.box[:2]
            step = np.hypot(*way) / np.hypot(*size)  # pixels of the frame for one of the picture
            return turned(frame, corner, step * turn(-self.angle), size)
        shrinks = size[0] < self.box[2] - self.box[0]
        resampling = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
        return frame.resize(size, resampling, box=self.box)


def fade(distance: np.ndarray) -> np.ndarray:
    """Share of frames at a distance from the crop's middle, 1 at its edge."""
    depth = ((1 - distance - MARGIN) / FADE).clip(0, 1)
    return depth * depth * (3 - 2 * depth)


def even_and_bounded(photo: np.ndarray) -> tuple[np.ndarray, float]:
    """A picture whose sides are even and at most LONGEST_PX, as video wants them; and its scale.
    A row or a column of pixels may be lost at the end.
    """
    height, width = photo.shape[:2]
    scale = min(1.0, LONGEST_PX / max(height, width))
    if scale < 1:
        size = (round(width * scale), round(height * scale))
        photo = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))
        scale = size[0] / width
    return photo[: photo.shape[0] // 2 * 2, : photo.shape[1] // 2 * 2].copy(), scale
