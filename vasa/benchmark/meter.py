"""Counting what a call costs from the operations it dispatches: FLOPs, memory traffic, live activations.

Works on real tensors and on fake ones (torch's FakeTensorMode), which have shapes and types but no data, so
that a network of any size is counted in seconds. Knows nothing of faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

ALLOCATES_ONLY = ("aten::empty", "aten::new_empty")
"""Operations whose outputs nobody writes."""


def fake_tensors() -> FakeTensorMode:
    """Context in which tensors are made without memory and computed without work; on the CPU device, because
    autocast knows no meta device.
    """
    return FakeTensorMode()


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call. flops: 2 x multiply-adds of convolutions and matrix products. traffic and peak: bytes.
    parameters: numbers in the weights that the call reads.
    """

    flops: int
    traffic: int
    peak: int
    parameters: int


class Meter(TorchDispatchMode):
    """Sums the traffic and follows the live activations of everything that runs inside.

    Traffic: bytes of the tensors that each operation reads and writes, each once, as if every operation
    went through memory (eager execution without caches). Views cost nothing; a repeated (expanded) tensor
    counts as what is stored of it; working space inside an operation is not seen.

    Peak: the most bytes of tensors that were made inside and alive at one time, looked at after each
    operation, when its inputs still are. What existed before (weights, the call's arguments) is not counted.
    On a CPU, whose convolutions reorder their input inside, the allocator's peak is a third higher.
    """

    def __init__(self, module: nn.Module | None = None) -> None:
        super().__init__()
        self.traffic, self.peak = 0, 0
        weights = module.parameters() if module is not None else ()
        self._sizes = {_key(weight): weight.numel() for weight in weights}
        self._read: set[int] = set()
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    @property
    def parameters(self) -> int:
        """Numbers in those of the module's weights that were read."""
        return sum(self._sizes[key] for key in self._read)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        known = {_key(tensor) for tensor in inputs}
        self._read |= known & self._sizes.keys()
        if outputs and not _is_view(func) and not func.name().startswith(ALLOCATES_ONLY):
            self.traffic += sum(_stored(tensor) for tensor in [*inputs, *outputs])
        for tensor in outputs:
            key = _key(tensor)
            if key not in known:
                storage = tensor.untyped_storage()
                self._live[key] = (StorageWeakRef(storage), storage.nbytes())
        self._live = {key: held for key, held in self._live.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
        return out


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _stored(tensor: Tensor) -> int:
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _is_view(func: Any) -> bool:
    """Whether an operation's output is its input's memory, looked at in another way."""
    if func.name() == "aten::_unsafe_view":
        return True
    aliases = [result.alias_info for result in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def cost_of(call: Callable[[], Any], module: nn.Module | None = None) -> Cost:
    """What ``call`` costs without gradients; module: whose weights are told apart from activations."""
    meter = Meter(module)
    with torch.no_grad(), FlopCounterMode(display=False) as flops, meter:
        result = call()
    del result  # held until here: a call's result is alive at its end
    return Cost(flops.get_total_flops(), meter.traffic, meter.peak, meter.parameters)
