"""Scalars of the steps since the last log entry: kept on the device, read and checked together."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from vasa.training.runtime import Runtime


class Scalars:
    """Reading a number waits for a GPU, so that numbers are read when logging, all at once."""

    def __init__(self, runtime: Runtime, explosion: float = 0.0) -> None:
        """explosion: a total beyond it, of either sign, is as bad as one that is not finite; 0: none is."""
        self._runtime, self._explosion = runtime, explosion or math.inf
        self._kept: list[tuple[int, list[str], dict[str, Tensor]]] = []
        self._checked = 0

    def add(self, step: int, ids: list[str], scalars: dict[str, Tensor]) -> None:
        self._kept.append((step, ids, scalars))

    def raise_if_bad(self) -> None:
        """Raises: FloatingPointError in every process if any has met a scalar that is not finite, or a total
        that has exploded, since the last check; it names the first bad step of this process, its scalars, the
        bad ones first, and its batch. All processes must ask.
        """
        unchecked = self._kept[self._checked :]
        self._checked = len(self._kept)
        values = [value for _, _, scalars in unchecked for value in scalars.values()]
        limits = [self._limit(name) for _, _, scalars in unchecked for name in scalars]
        if not self._runtime.any(bool(values) and not _all_below(values, limits)):
            return
        for step, ids, scalars in unchecked:
            sound: list[str] = []
            bad: list[str] = []
            for name, value in scalars.items():
                found = sound if _all_below([value], [self._limit(name)]) else bad
                found.append(f"{name}={value.item():.6g}")
            if bad:
                made_of = f" of {', '.join(ids)}" if ids else ""
                if self._runtime.world > 1 and all("gradient_norm=" in text for text in bad):
                    made_of += ", or on another process's: gradients are averaged before they are measured"
                raise FloatingPointError(
                    f"Training stopped at step {step}: {', '.join(bad)} on the batch{made_of}; beside "
                    f"{', '.join(sound) or 'nothing'}; "
                    "the last saved state is sound; lower the learning rate or look at these samples."
                )
        raise FloatingPointError(
            "Training stopped: another process met a scalar that is not finite or has exploded."
        )

    def _limit(self, name: str) -> float:
        """Of its size. Only totals explode: a single gradient may be large, and is clipped."""
        return self._explosion if name.split("/")[-1] == "total" else math.inf

    def means(self, extra: Mapping[str, float]) -> dict[str, float]:
        """Means over the steps since the last call and over processes; then starts afresh.

        extra: numbers of this process whose mean over processes goes with them.
        """
        values: dict[str, list[Tensor]] = {}
        for _, _, scalars in self._kept:
            for name, value in scalars.items():
                values.setdefault(name, []).append(value)
        self._kept, self._checked = [], 0
        found = torch.stack([torch.stack(v).mean() for v in values.values()])
        means = self._runtime.mean(torch.cat([found, found.new_tensor(list(extra.values()))]))
        return dict(zip([*values, *extra], means.tolist(), strict=True))


def _all_below(values: list[Tensor], limits: list[float]) -> bool:
    """Whether all are finite and of smaller size than their limits, which may be infinite."""
    sizes = torch.stack(values).abs()
    return bool((sizes < sizes.new_tensor(limits)).all())
