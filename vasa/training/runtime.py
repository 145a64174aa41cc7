"""Where a run runs: device, processes, precision, threads and randomness. The only module that knows of
ranks.

Devices and processes come from Accelerate's PartialState, so one plain process, ``torchrun`` with gloo on
CPUs and ``torchrun`` with NCCL on GPUs are the same code. (``accelerate launch --cpu`` silently starts one
process: use torchrun.) Gradients are averaged here after the backward pass instead of inside a
DistributedDataParallel wrapper, because a phase's loss calls its module as often and through whichever
methods it likes, which the wrapper would not see.
"""

from __future__ import annotations

import atexit
import dataclasses
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from vasa.device import choose_device
from vasa.training.config import LoopConfig

_log = logging.getLogger(__name__)


@dataclasses.dataclass(slots=True)
class Runtime:
    """One process of a run. device: where tensors go. rank of world processes."""

    device: torch.device
    rank: int
    world: int
    precision: str

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 autocast when asked for; weights, optimiser and anything that opts out stay fp32."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def shares(self, batch: Any, batch_size: int, accumulate: int) -> list[Any]:
        """This process's parts of a global batch, on the device.

        With W processes and A parts each, process r gets parts r A .. r A + A - 1 of W A equal ones.
        Raises: ValueError when the batch does not divide.
        """
        parts = self.world * accumulate
        if parts == 1:
            return [self.to_device(batch)]
        if batch_size % parts:
            raise ValueError(
                f"loop.batch_size={batch_size} cannot be divided into {self.world} process(es) x "
                f"loop.accumulate={accumulate}; choose a multiple of {parts}."
            )
        size, first = batch_size // parts, self.rank * accumulate
        return [
            self.to_device(_slice(batch, batch_size, slice(index * size, (index + 1) * size)))
            for index in range(first, first + accumulate)
        ]

    def to_device(self, batch: Any) -> Any:
        """Every tensor of a batch on the device."""
        return to_device(batch, self.device)

    def average_gradients(self, parameters: list[torch.nn.Parameter]) -> None:
        """Gradients become their mean over the processes, in one message.

        A missing gradient counts as zero, but one that is missing in every process stays missing, as in one
        process: the optimiser does not touch such a parameter.
        """
        if self.world == 1:
            return
        there = [float(p.grad is not None) for p in parameters]
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([g.reshape(-1) for g in gradients] + [torch.tensor(there, device=self.device)])
        *means, anywhere = self.mean(flat).split([*(p.numel() for p in parameters), len(parameters)])
        kept = there if all(there) else anywhere.tolist()
        for parameter, value, keep in zip(parameters, means, kept, strict=True):
            parameter.grad = value.view_as(parameter).clone() if keep else None

    def mean(self, tensor: Tensor) -> Tensor:
        """Mean of a tensor over the processes."""
        return self._reduce(tensor, "mean")

    def any(self, flag: bool) -> bool:
        """Whether any process raises the flag. Waits for the device: not for every step."""
        if self.world == 1:
            return flag
        return bool(self._reduce(torch.tensor(float(flag), device=self.device), "sum").item() > 0)

    def _reduce(self, tensor: Tensor, how: str) -> Tensor:
        if self.world == 1:
            return tensor
        from accelerate.utils import reduce

        return reduce(tensor, reduction=how)

    def wait(self) -> None:
        """Returns when every process has come here."""
        self.any(False)

    def seed_step(self, seed: int, step: int) -> None:
        """Makes every draw of this step, such as dropout, a function of (seed, step, process), so resuming
        needs no state.
        """
        torch.manual_seed(mix(seed, step, self.rank))


def mix(*numbers: int) -> int:
    """One seed of 63 bits from several integers, the same in every process (hashing text differs in each)."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
        state = state * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 29
    return state >> 1


def start(config: LoopConfig) -> Runtime:
    """Joins the other processes if torchrun started any, and sets threads, priority and the seed of new
    weights.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.nice and hasattr(os, "nice"):
        os.nice(max(0, config.nice - os.nice(0)))
    device, rank, world = choose_device(config.device), 0, 1
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState

        state = PartialState(cpu=device.type == "cpu")
        atexit.unregister(state.destroy_process_group)  # one script may start several trainings
        atexit.register(state.destroy_process_group)  # else a process can abort when another leaves first
        device, rank, world = state.device, state.process_index, state.num_processes
    if rank > 0:
        logging.getLogger("vasa").setLevel(logging.WARNING)
    torch.manual_seed(config.seed)
    torch.backends.cudnn.benchmark = True
    _log.info("Process %d of %d on %s, %s.", rank + 1, world, device, config.precision)
    return Runtime(device, rank, world, config.precision)


def to_device(batch: Any, device: torch.device) -> Any:
    """A copy of a nest of mappings, sequences and dataclasses with every tensor on ``device``."""
    return _map(batch, lambda tensor: tensor.to(device, non_blocking=True))


def batch_ids(batch: Any) -> list[str]:
    """What a batch says it is made of (its ``ids``), for messages; empty when it does not say."""
    ids = batch.get("ids") if isinstance(batch, Mapping) else getattr(batch, "ids", None)
    return [str(i) for i in ids] if ids is not None else []


def _slice(batch: Any, batch_size: int, part: slice) -> Any:
    """The samples of ``part``: rows of tensors, and entries of lists of strings."""

    def rows(tensor: Tensor) -> Tensor:
        if tensor.ndim == 0 or tensor.shape[0] != batch_size:
            raise ValueError(
                f"The batch holds a tensor of shape {tuple(tensor.shape)}; "
                f"wanted loop.batch_size={batch_size} rows."
            )
        return tensor[part]

    return _map(batch, rows, lambda names: names[part])


def _map(
    batch: Any, tensors: Callable[[Tensor], Tensor], names: Callable[[list[str]], list[str]] = list
) -> Any:
    """A copy of a nest of mappings, sequences and dataclasses with a function applied to each tensor."""
    if isinstance(batch, Tensor):
        return tensors(batch)
    if isinstance(batch, Mapping):
        return {key: _map(value, tensors, names) for key, value in batch.items()}
    if isinstance(batch, list) and batch and all(isinstance(item, str) for item in batch):
        return names(batch)
    if isinstance(batch, (list, tuple)):
        items = [_map(item, tensors, names) for item in batch]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        values = {f.name: _map(getattr(batch, f.name), tensors, names) for f in dataclasses.fields(batch)}
        return dataclasses.replace(batch, **values)
    return batch
