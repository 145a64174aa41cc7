"""Motion in chunks of any lengths, as batches of one shape: what a frame looks like then depends on nothing
but itself.

A convolution may sum in another order for another batch size, so a last, smaller batch would round otherwise
than the same frames of a longer video. And a network that meets one shape is planned once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor


def full_batches(chunks: Iterable[Tensor], size: int) -> Iterator[tuple[Tensor, int]]:
    """Chunks (t, E) of one motion -> (batch (size, E), how many of its frames count), in order.

    What a chunk leaves over waits for the next one; the last batch is filled up with its own last frame.
    """
    waiting: Tensor | None = None
    for chunk in chunks:
        motion = chunk if waiting is None else torch.cat([waiting, chunk])
        whole = len(motion) // size * size
        for batch in motion[:whole].split(size) if whole else ():
            yield batch, size
        waiting = motion[whole:]
    if waiting is not None and len(waiting):
        yield torch.cat([waiting, waiting[-1:].expand(size - len(waiting), -1)]), len(waiting)


def to_frames(images: Tensor) -> np.ndarray:
    """Rendered images (B, 3, H, W) in [-1, 1] as frames, uint8 (B, H, W, 3), on the CPU."""
    pixels = ((images + 1) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
