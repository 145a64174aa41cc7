"""GPUs that training is planned on: dense bf16 rate (no sparsity) and memory, by NVIDIA's data sheets."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """rate: dense bf16 FLOP/s with fp32 sums. memory: bytes."""

    rate: float
    memory: float


GPUS = {
    "A6000": Gpu(154.8e12, 48e9),  # RTX A6000 (Ampere)
    "A100": Gpu(312e12, 80e9),  # SXM, 80 GB
    "H100": Gpu(989e12, 80e9),  # SXM
    "H200": Gpu(989e12, 141e9),
    "4090": Gpu(165.2e12, 24e9),
}


def parse(text: str) -> tuple[int, str]:
    """``8xA100`` -> (8, "A100").

    Raises: ValueError for another form or an unknown name.
    """
    match = re.fullmatch(r"(\d+)x(\w+)", text.strip())
    if match is None or int(match[1]) < 1 or match[2].upper() not in GPUS:
        raise ValueError(
            f"gpus is {text!r}; wanted number x name, such as 8xA100, with one of {', '.join(GPUS)}."
        )
    return int(match[1]), match[2].upper()
