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
import resource
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from vasa.device import choose_device
from vasa.training.config import LoopConfig

BUCKET_BYTES = 64 * 2**20
"""Of gradients in one message. Fewer bytes cost more round trips, more bytes hide less packing."""
PATIENCE = timedelta(hours=2)
"""How long processes wait for one that is busy, as the first is with validation; then they give up."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(slots=True)
class Runtime:
    """One process of a run. device: where tensors go. rank: of ``world`` processes."""

    device: torch.device
    rank: int
    world: int
    precision: str
    control: Any = None  # the process group for messages between CPUs; None: the one for gradients will do

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 autocast when asked for; weights, optimiser and anything that opts out stay fp32."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def rows(self, batch_size: int, accumulate: int) -> slice:
        """This process's rows of a global batch: with W processes and A parts each, process r has parts r A
        .. r A + A - 1 of W A equal ones. Raises: ValueError when the batch does not divide.
        """
        parts = self.world * accumulate
        if batch_size % parts:
            raise ValueError(
                f"loop.batch_size={batch_size} cannot be divided into {self.world} process(es) x "
                f"loop.accumulate={accumulate}; choose a multiple of {parts}."
            )
        size = batch_size // self.world
        return slice(self.rank * size, (self.rank + 1) * size)

    def parts(self, share: Any, size: int, accumulate: int) -> list[Any]:
        """This process's ``size`` rows in equal parts, in order, on the device."""
        step = size // accumulate
        return [
            self.to_device(cut(share, size, slice(first, first + step))) for first in range(0, size, step)
        ]

    def pinned(self, batch: Any) -> Any:
        """The batch in page-locked memory if the device is a CUDA one, so that copying it there takes no time
        of the CPU. Locking does: call it from the thread that prepares the batch.
        """
        if self.device.type != "cuda":
            return batch
        return _map(batch, lambda tensor: tensor if tensor.is_cuda else tensor.pin_memory())

    def to_device(self, batch: Any) -> Any:
        """Every tensor of a batch on the device."""
        return to_device(batch, self.device)

    def average_gradients(self, parameters: list[torch.nn.Parameter]) -> None:
        """Gradients become their mean over the processes, sent in buckets: while one is on its way the next
        is packed.

        A missing gradient counts as zero, but one that is missing in every process stays missing, as in one
        process: the optimiser does not touch such a parameter.
        """
        if self.world == 1:
            return
        there = [float(p.grad is not None) for p in parameters]
        anywhere = torch.tensor(there, device=self.device)
        sent = [(anywhere, dist.all_reduce(anywhere, async_op=True))]
        filled = buckets(parameters)
        for bucket in filled:
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in bucket])
            for parameter in bucket:
                parameter.grad = None  # its place is taken by the bucket, so that memory stays level
            sent.append((flat, dist.all_reduce(flat, async_op=True)))
        for _, message in sent:
            message.wait()
        for (flat, _), bucket in zip(sent[1:], filled, strict=True):
            means = flat.div_(self.world).split([p.numel() for p in bucket])
            for parameter, value in zip(bucket, means, strict=True):
                parameter.grad = value.view_as(parameter)
        if not all(there):  # reading waits for the device, and a gradient that is here is somewhere
            for parameter, count in zip(parameters, anywhere.tolist(), strict=True):
                parameter.grad = parameter.grad if count else None

    def mean(self, tensor: Tensor) -> Tensor:
        """Mean of a tensor over the processes."""
        if self.world == 1:
            return tensor
        total = tensor.clone()
        dist.all_reduce(total)
        return total / self.world

    def from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites tensors on the device with the first process's."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def any(self, flag: bool) -> bool:
        """Whether any process raises the flag: a message between CPUs, which waits for no GPU."""
        if self.world == 1:
            return flag
        raised = torch.tensor(float(flag))
        dist.all_reduce(raised, group=self.control)
        return bool(raised.item() > 0)

    def wait(self) -> None:
        """Returns when every process has come here."""
        self.any(False)

    def first_only(self, work: Callable[[], None] | None) -> None:
        """Runs ``work`` in the first process while the others, which bring None, wait; what it raises there
        ends them all.
        """
        if work is not None:
            try:
                work()
            except BaseException:
                self.any(True)
                raise
        if self.any(False):
            raise ConnectionAbortedError("Stopped with the first process, whose message says why.")

    def check_alike(self, name: str, value: float, cure: str) -> None:
        """Raises: ValueError in every process unless a number is the same in all, but for rounding."""
        if self.world == 1:
            return
        ends = torch.tensor([value, -value], dtype=torch.float64)
        dist.all_reduce(ends, dist.ReduceOp.MAX, group=self.control)
        largest, smallest = ends[0].item(), -ends[1].item()
        if largest - smallest > 1e-6 * abs(largest):
            raise ValueError(f"{name} differs between the processes: {smallest:g} to {largest:g}; {cure}.")

    def memory_gib(self) -> float:
        """Largest memory of tensors on a CUDA device since the last call; elsewhere of the process so far."""
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            return peak / 2**30
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, else KiB
        return peak / (2**30 if sys.platform == "darwin" else 2**20)

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
    device, rank, world, control = choose_device(config.device), 0, 1, None
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState

        state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
        atexit.unregister(state.destroy_process_group)  # one script may start several trainings
        atexit.register(state.destroy_process_group)  # else a process can abort when another leaves first
        device, rank, world = state.device, state.process_index, state.num_processes
        control = dist.new_group(backend="gloo", timeout=PATIENCE) if device.type != "cpu" else None
    if rank > 0:
        logging.getLogger("vasa").setLevel(logging.WARNING)
    torch.manual_seed(config.seed)
    torch.backends.cudnn.benchmark = True
    # bf16 asks for speed, so convolutions that autocast leaves in fp32 may use TF32; fp32 means fp32. Matrix
    # products never do: those left in fp32 are rotations and poses, which ten bits of mantissa would move.
    torch.backends.cudnn.allow_tf32 = config.precision == "bf16"
    torch.backends.cuda.matmul.allow_tf32 = False
    _log.info("Process %d of %d on %s, %s.", rank + 1, world, device, config.precision)
    return Runtime(device, rank, world, config.precision, control)


def buckets(parameters: list[torch.nn.Parameter]) -> list[list[torch.nn.Parameter]]:
    """Parameters in groups of at most BUCKET_BYTES, or of one; last first, as the backward pass ends them."""
    groups: list[list[torch.nn.Parameter]] = []
    room = 0
    for parameter in reversed(parameters):
        size = parameter.numel() * parameter.element_size()
        if size > room or not groups:
            groups.append([])
            room = BUCKET_BYTES
        groups[-1].append(parameter)
        room -= size
    return groups


def to_device(batch: Any, device: torch.device) -> Any:
    """A copy of a nest of mappings, sequences and dataclasses with every tensor on ``device``."""
    return _map(batch, lambda tensor: tensor.to(device, non_blocking=True))


def batch_ids(batch: Any) -> list[str]:
    """What a batch says it is made of (its ``ids``), for messages; empty when it does not say."""
    ids = batch.get("ids") if isinstance(batch, Mapping) else getattr(batch, "ids", None)
    return [str(i) for i in ids] if ids is not None else []


def cut(batch: Any, batch_size: int, part: slice) -> Any:
    """The samples of ``part``: rows of tensors, and entries of lists of strings."""
    if part == slice(0, batch_size):
        return batch

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
