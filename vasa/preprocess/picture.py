"""One decoded picture in planes of brightness and colour (4:2:0), as nearly all video stores it.

Half the memory of RGB, and turning into RGB is put off until it is known which part is wanted: of a 4K frame
that is the square around a face. What other formats hold (10 bits, 4:4:4) is brought to this one first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import av
import cv2
import numpy as np
from PIL import Image

MAX_PIXELS = 8192 * 4608
"""Larger pictures are taken for damage of a header: 57 MB in planes."""


@dataclass(slots=True)
class Picture:
    """luma: uint8 (H, W), both even. blue, red: uint8 (H/2, W/2). The others are FFmpeg's numbers."""

    luma: np.ndarray
    blue: np.ndarray
    red: np.ndarray
    colorspace: int
    color_range: int

    @classmethod
    def of(cls, frame: av.VideoFrame, pixel_aspect: float = 1.0) -> Picture:
        """An upright picture of a decoded frame; pixels wider than high become square."""
        width, height = round(frame.width * pixel_aspect), frame.height
        width, height = max(2, width - width % 2), max(2, height - height % 2)
        turns = round(frame.rotation / 90) % 4
        space, span = int(frame.colorspace), int(frame.color_range)
        if frame.format.name != "yuv420p" or (width, height) != (frame.width, frame.height):
            frame = frame.reformat(width=width, height=height, format="yuv420p", interpolation="AREA")
            space, span = int(frame.colorspace), int(frame.color_range)
        luma, blue, red = (np.rot90(p, turns) for p in _planes(frame.to_ndarray(), height, width))
        return cls(luma, blue, red, space, span)

    @property
    def height(self) -> int:
        return self.luma.shape[0]

    @property
    def width(self) -> int:
        return self.luma.shape[1]

    def rgb(self) -> np.ndarray:
        """uint8 (H, W, 3)."""
        planes = [self.luma, self.blue, self.red]
        flat = np.concatenate([plane.reshape(-1) for plane in planes])
        frame = av.VideoFrame.from_ndarray(flat.reshape(self.height * 3 // 2, self.width), "yuv420p")
        frame.colorspace, frame.color_range = self.colorspace, self.color_range
        return frame.to_ndarray(format="rgb24")

    def part(self, x0: int, y0: int, x1: int, y1: int) -> Picture:
        """The rectangle between even pixels, as a copy that keeps nothing else in memory."""
        rows, columns = slice(y0 // 2, y1 // 2), slice(x0 // 2, x1 // 2)
        return Picture(
            self.luma[y0:y1, x0:x1].copy(),
            self.blue[rows, columns].copy(),
            self.red[rows, columns].copy(),
            self.colorspace,
            self.color_range,
        )

    def reduced(self, width: int, height: int) -> Picture:
        """The same picture of a smaller, even size, each pixel the mean of what it stands for."""
        half = (width // 2, height // 2)
        return Picture(
            cv2.resize(self.luma, (width, height), interpolation=cv2.INTER_AREA),
            cv2.resize(self.blue, half, interpolation=cv2.INTER_AREA),
            cv2.resize(self.red, half, interpolation=cv2.INTER_AREA),
            self.colorspace,
            self.color_range,
        )

    def square(self, x: float, y: float, side: float, size: int) -> Picture:
        """The square around (x, y), brought to ``size`` pixels (even); the picture's border is continued."""
        planes = (
            _resampled(self.luma, x, y, side, size),
            _resampled(self.blue, x / 2, y / 2, side / 2, size // 2),
            _resampled(self.red, x / 2, y / 2, side / 2, size // 2),
        )
        return Picture(*planes, self.colorspace, self.color_range)


def _resampled(plane: np.ndarray, x: float, y: float, side: float, size: int) -> np.ndarray:
    """As preprocess/crop.py resamples: Lanczos to reduce, a cubic to enlarge."""
    height, width = plane.shape
    margin = math.ceil(3 * max(1.0, side / size))  # as far as Lanczos reaches
    x0, y0 = math.floor(x - side / 2) - margin, math.floor(y - side / 2) - margin
    x1, y1 = math.ceil(x + side / 2) + margin, math.ceil(y + side / 2) + margin
    inside = plane[max(y0, 0) : max(min(y1, height), 1), max(x0, 0) : max(min(x1, width), 1)]
    outside = (max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0))
    if any(outside):
        inside = cv2.copyMakeBorder(inside, *outside, cv2.BORDER_REPLICATE)
    left, top = x - side / 2 - x0, y - side / 2 - y0
    resampling = Image.Resampling.BICUBIC if size > side else Image.Resampling.LANCZOS
    window = Image.fromarray(np.ascontiguousarray(inside))
    return np.asarray(window.resize((size, size), resampling, box=(left, top, left + side, top + side)))


def _planes(i420: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    flat, luma, chroma = i420.reshape(-1), height * width, height * width // 4
    half = (height // 2, width // 2)
    return (
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(half),
        flat[luma + chroma :].reshape(half),
    )
