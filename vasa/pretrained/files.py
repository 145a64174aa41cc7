"""Files of the networks this project trained itself: written in fp16, loaded strictly and frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from vasa.checkpoint import CheckpointError, from_plain, load_into, load_weights, plain, save_weights
from vasa.nn.blocks import fold

_Network = TypeVar("_Network", bound=nn.Module)


def save_network(network: nn.Module, path: str | Path, meta: dict[str, Any]) -> str:
    """Writes `network` (which has a `config` dataclass) as fp16 weights; gives the content hash."""
    config = {"network": type(network).__name__, "sizes": plain(network.config)}
    return save_weights(path, network.state_dict(), config, meta, torch.float16)


def load_network(cls: type[_Network], config_cls: type, path: str | Path) -> _Network:
    """A frozen network in eval mode and fp32, for use only (see nn.blocks.fold).

    Raises: FileNotFoundError; CheckpointError when the file is damaged or another network's.
    """
    weights = load_weights(path)
    name = weights.config.get("network")
    if name != cls.__name__:
        raise CheckpointError(f"{path} holds a {name or 'model of another kind'}; wanted a {cls.__name__}.")
    network = cls(from_plain(config_cls, weights.config["sizes"], f"config of {path}"))
    load_into(network, weights, cls.__name__)
    fold(network)
    return network.eval().requires_grad_(False)
