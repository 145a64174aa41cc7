"""Scalars of the steps since the last log entry: kept on the device, read and checked together."""

from __future__ import annotations

import torch
from torch import Tensor

from vasa.training.runtime import Runtime


class Scalars:
    """Reading a number waits for a GPU, so that numbers are read when logging, all at once."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._kept: list[tuple[int, list[str], dict[str, Tensor]]] = []
        self._checked = 0

    def add(self, step: int, ids: list[str], scalars: dict[str, Tensor]) -> None:
        self._kept.append((step, ids, scalars))

    def raise_if_not_finite(self) -> None:
        """Raises: FloatingPointError naming the first bad step since the last check, its bad scalars and its
        batch.
        """
        unchecked = self._kept[self._checked :]
        self._checked = len(self._kept)
        if not unchecked or all_finite([value for _, _, scalars in unchecked for value in scalars.values()]):
            return
        for step, ids, scalars in unchecked:
            bad = [f"{name}={value.item()}" for name, value in scalars.items() if not value.isfinite()]
            if bad:
                made_of = f" of {', '.join(ids)}" if ids else ""
                raise FloatingPointError(
                    f"Training stopped at step {step}: {', '.join(bad)} on the batch{made_of}; "
                    "the last saved state is sound; lower the learning rate or look at these samples."
                )

    def means(self) -> dict[str, float]:
        """Means over the steps since the last call and over processes; then starts afresh."""
        values: dict[str, list[Tensor]] = {}
        for _, _, scalars in self._kept:
            for name, value in scalars.items():
                values.setdefault(name, []).append(value)
        self._kept, self._checked = [], 0
        means = self._runtime.mean(torch.stack([torch.stack(v).mean() for v in values.values()]))
        return dict(zip(values, means.tolist(), strict=True))


def all_finite(values: list[Tensor]) -> bool:
    return bool(torch.stack(values).isfinite().all())
