"""Which device a name such as ``auto`` means. Knows nothing of what will run there."""

from __future__ import annotations

import torch


def choose_device(name: str) -> torch.device:
    """The device of ``auto`` (cuda, else mps, else cpu), ``cpu``, ``cuda`` or ``mps``.

    Raises: ValueError when the name is unknown or the device is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if name not in there:
        raise ValueError(f"device={name} is unknown; wanted auto, {', '.join(there)}.")
    if not there[name]:
        raise ValueError(f"device={name} is not available to this torch; use device=auto or device=cpu.")
    return torch.device(name)
