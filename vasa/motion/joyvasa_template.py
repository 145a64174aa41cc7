"""Raw keypoint motion <-> what JoyVASA's model sees, by the statistics of its motion template.

Raw keypoint motion (..., 70), LivePortrait's own signs: yaw, pitch, roll in degrees; t_x, t_y, t_z and scale
of the keypoint transform; then the expression's 21 points x 3, point by point.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vasa.safe_pickle import PickleFileError, load_arrays

YAW, PITCH, ROLL = 0, 1, 2
ROTATION = slice(0, 3)
TRANSLATION = slice(3, 6)
SCALE = 6
EXPRESSION = slice(7, 70)
MOTION_DIM = 70
"""Entries of raw keypoint motion."""
SMALLEST_SCALE = 1e-3
"""Released networks give 1.1 to 1.7."""

MODEL_EXPRESSION = slice(0, 63)
MODEL_HEAD = slice(63, 70)  # scale, t (3), pitch, yaw, roll
_RAW_OF_MODEL = [68, 67, 69, 64, 65, 66, 63, *range(63)]
"""Where each raw entry stands in the model's vector; what follows there, an emotion, is not used."""
_SPARE = 1e-9
"""Added to denominators on the way to the model, as upstream's data set does; not on the way back."""


def to_keypoints(motion: Tensor) -> Tensor:
    """Raw keypoint motion (..., 70) -> that of a keypoint face space (..., 69): yaw, pitch, roll in radians
    and t_y with the project's signs (the negatives), no t_z, the logarithm of the scale, the expression.
    """
    place = motion[..., TRANSLATION][..., :2] * motion.new_tensor([1.0, -1.0])
    scale = motion[..., SCALE : SCALE + 1].clamp(min=SMALLEST_SCALE).log()
    return torch.cat([torch.deg2rad(-motion[..., ROTATION]), place, scale, motion[..., EXPRESSION]], -1)


def from_keypoints(motion: Tensor) -> Tensor:
    """The inverse of ``to_keypoints``; t_z is 0."""
    degrees, (x, y) = torch.rad2deg(-motion[..., :3]), motion[..., 3:5].unbind(-1)
    t = torch.stack([x, -y, torch.zeros_like(x)], -1)
    return torch.cat([degrees, t, motion[..., 5:6].exp(), motion[..., 6:]], -1)


class JoyvasaNormalizer(nn.Module):
    """raw = normalised * spread + offset, entry by entry in raw order.

    Expression by mean and standard deviation; scale, translation and angles by minimum and range.
    """

    offset: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offset", torch.zeros(MOTION_DIM))
        self.register_buffer("spread", torch.ones(MOTION_DIM))
        order = torch.tensor(_RAW_OF_MODEL)
        self.register_buffer("_order", order, persistent=False)
        self.register_buffer("_back", order.argsort(), persistent=False)

    @staticmethod
    def from_template(path: str | Path) -> JoyvasaNormalizer:
        """From the published motion_template.pkl. Raises: FileNotFoundError, PickleFileError."""
        template = load_arrays(path)
        normalizer = JoyvasaNormalizer()
        try:
            normalizer.set_template(template)
        except ValueError as error:
            raise PickleFileError(f"{path} is not a motion template: {error}") from error
        return normalizer

    def set_template(self, template: Mapping[str, Any]) -> None:
        """Takes mean_exp, std_exp (63,) and min_, max_ of scale, t (3,), pitch, yaw, roll. Raises: ValueError
        of what is missing, of another size, not finite or without a range.
        """
        low = [_entry(template, f"min_{name}", size) for name, size in _MINMAX]
        high = [_entry(template, f"max_{name}", size) for name, size in _MINMAX]
        offset = torch.cat([*low, _entry(template, "mean_exp", 63)])
        spread = torch.cat([torch.cat(high) - torch.cat(low), _entry(template, "std_exp", 63)])
        if bool((spread < 0).any()):
            raise ValueError("a maximum lies below its minimum, or a deviation is negative.")
        self.offset.copy_(offset)
        self.spread.copy_(spread)

    def set_ranges(self, low: Tensor, high: Tensor, mean: Tensor, deviation: Tensor) -> None:
        """The same from statistics (70,) of raw keypoint motion."""
        head, face = slice(0, EXPRESSION.start), EXPRESSION
        self.offset.copy_(torch.cat([low[head], mean[face]]))
        self.spread.copy_(torch.cat([high[head] - low[head], deviation[face]]))

    def denormalise(self, motion: Tensor) -> Tensor:
        """The model's motion (..., 70 or more) as raw keypoint motion (..., 70)."""
        return motion[..., self.get_buffer("_order")] * self.spread + self.offset

    def normalise(self, raw: Tensor) -> Tensor:
        """Raw keypoint motion (..., 70) as the model's (..., 70)."""
        return ((raw - self.offset) / (self.spread + _SPARE))[..., self.get_buffer("_back")]


_MINMAX = (("yaw", 1), ("pitch", 1), ("roll", 1), ("t", 3), ("scale", 1))
"""Names and sizes in raw order."""


def _entry(template: Mapping[str, Any], name: str, size: int) -> Tensor:
    found = template.get(name) if isinstance(template, Mapping) else None
    if not isinstance(found, np.ndarray) or found.size != size or found.dtype.kind != "f":
        shape = found.shape if isinstance(found, np.ndarray) else "nothing"
        raise ValueError(f"{name} is {shape}; wanted {size} numbers.")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} is not finite.")
    return torch.from_numpy(found.reshape(size)).float()
