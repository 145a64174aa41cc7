"""How frames are computed: options that change what a video costs, and its grey levels by one or two.
Torch-free.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

PRECISIONS = ("auto", "fp32", "bf16")
MOST_LIVE_THREADS = 4
LAYOUTS = ("auto", "nchw", "channels_last")


@dataclass(frozen=True, slots=True)
class Speed:
    """precision: fp32, bf16 or auto, which is bf16 for pictures where the device computes it natively.
    layout: channels_last, which is auto: warp and decoder in their quick forms; nchw: both as they are
    trained. overlap: motion is made in one thread while frames are in another; their encoding always goes on
    beside. compile: the decoder is compiled by torch.compile. graphs: on CUDA a batch of frames is replayed
    as one CUDA graph.
    """

    precision: str = "auto"
    layout: str = "auto"
    overlap: bool = True
    compile: bool = False
    graphs: bool = True

    def __post_init__(self) -> None:
        for name, choices in (("precision", PRECISIONS), ("layout", LAYOUTS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; wanted one of {', '.join(choices)}.")
        if self.compile and self.layout == "nchw":
            raise ValueError("compile=true compiles the decoder of layout=channels_last; leave layout out.")


def live_threads(asked: int) -> int:
    """CPU threads of torch where somebody waits for single frames: as asked, or for 0 one for each core that
    this process may use, at most four, beyond which a frame is not made faster.
    """
    if asked:
        return asked
    may = getattr(os, "sched_getaffinity", None)
    return min(len(may(0)) if may is not None else os.cpu_count() or 1, MOST_LIVE_THREADS)
