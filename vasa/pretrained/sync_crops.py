"""The square around a face that SyncNet was trained on: the published pipeline's, from boxes of the face.

Knows pixels and boxes, no network, and not where the boxes come from.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import median_filter

from vasa.pretrained.syncnet import CROP_PX

SMOOTHED_FRAMES = 13
CROP_ROOM = 0.4
"""The crop is 1 + CROP_ROOM boxes to each side; its middle lies CROP_ROOM half boxes below the box's."""
OUTSIDE = 110
"""Grey level of what lies outside the frame."""


def box_crops(frames: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Crops (T, 224, 224, 3) uint8 around the boxes (T, 4), pixels, of a face in frames (T, H, W, 3).

    Centre and half side of the box are median-filtered over 13 frames, with zeros beyond both ends as
    published: there the smallest of the neighbouring values is taken.
    """
    half = _smoothed((boxes[:, 2:] - boxes[:, :2]).max(1) / 2)
    x, y = _smoothed(boxes[:, [0, 2]].mean(1)), _smoothed(boxes[:, [1, 3]].mean(1))
    return np.stack([crop(frame, *place) for frame, *place in zip(frames, x, y, half, strict=True)])


def _smoothed(values: np.ndarray) -> np.ndarray:
    return median_filter(values, SMOOTHED_FRAMES, mode="constant")


def crop(frame: np.ndarray, x: float, y: float, half: float) -> np.ndarray:
    """The square (224, 224, 3) of a frame around a face box with middle (x, y) and half side ``half``,
    pixels.
    """
    room = int(half * (1 + 2 * CROP_ROOM))
    x, y = x + room, y + room
    padded = np.pad(frame, ((room, room), (room, room), (0, 0)), constant_values=OUTSIDE)
    rows = slice(int(y - half), int(y + half * (1 + 2 * CROP_ROOM)))
    columns = slice(int(x - half * (1 + CROP_ROOM)), int(x + half * (1 + CROP_ROOM)))
    return resized(padded[rows, columns])


def resized(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 at 224 x 224, bilinear without averaging, as the published code does it."""
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    sized = F.interpolate(pixels, (CROP_PX, CROP_PX), mode="bilinear", align_corners=False)
    return sized.round().to(torch.uint8)[0].permute(1, 2, 0).numpy()
