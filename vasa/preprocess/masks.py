"""Who is foreground in the frames of a clip: the matte of the whole clip, as stored with it."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from vasa.pretrained.matte import Matte

FRAMES_AT_ONCE = 16


def masks_of(
    frames: np.ndarray, matte: Matte, stride: int = 1, device: torch.device | str = "cpu"
) -> np.ndarray:
    """Frames uint8 (T, S, S, 3) of one person -> uint8 (T, S, S): 255 on the person, 0 on what is behind.

    The matte is fitted to the middle frame, as at inference to the portrait. stride: of every so many frames
    one is looked at, and the last; between them is what is between their masks. device: the matte's.
    """
    size = frames.shape[1]

    def seen(rows: list[int]) -> torch.Tensor:
        pixels = torch.from_numpy(frames[rows]).permute(0, 3, 1, 2)
        if matte.side_px < size:
            pixels = F.interpolate(pixels, (matte.side_px,) * 2, mode="bilinear", antialias=True)
        return pixels.to(device).float() / 127.5 - 1

    fitted = matte.fitted(seen([len(frames) // 2]))
    at = sorted({*range(0, len(frames), stride), len(frames) - 1})
    masks = np.empty(frames.shape[:3], np.uint8)
    for first in range(0, len(at), FRAMES_AT_ONCE):
        rows = at[first : first + FRAMES_AT_ONCE]
        alpha = fitted.alpha(seen(rows), (size, size))[:, 0]
        masks[rows] = alpha.mul_(255).round_().to(torch.uint8).cpu().numpy()
    for low, high in pairwise(at):
        for number in range(low + 1, high):
            share = (number - low) / (high - low)
            masks[number] = cv2.addWeighted(masks[low], 1 - share, masks[high], share, 0)
    return masks
