"""Scalars of the steps since the last log entry: kept on the device, read and checked together."""

from __future__ import annotations

from collections.abc import Mapping

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
        """Raises: FloatingPointError in every process if any has met such a scalar since the last check; it
        names the first bad step of this process, its bad scalars and its batch. All processes must ask.
        """
        unchecked = self._kept[self._checked :]
        self._checked = len(self._kept)
        values = [value for _, _, scalars in unchecked for value in scalars.values()]
        if not self._runtime.any(bool(values) and not all_finite(values)):
            return
        for step, ids, scalars in unchecked:
            bad = [f"{name}={value.item()}" for name, value in scalars.items() if not value.isfinite()]
            if bad:
                made_of = f" of {', '.join(ids)}" if ids else ""
                raise FloatingPointError(
                    f"Training stopped at step {step}: {', '.join(bad)} on the batch{made_of}; "
                    "the last saved state is sound; lower the learning rate or look at these samples."
                )
        raise FloatingPointError("Training stopped: another process met a scalar that is not finite.")

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


def all_finite(values: list[Tensor]) -> bool:
    return bool(torch.stack(values).isfinite().all())
