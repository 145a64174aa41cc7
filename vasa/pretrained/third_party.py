"""Reading published weight files: flat state dicts, read as data and never executed: torch's ``weights_only``
rebuilds tensors and calls nothing else that a file names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vasa.checkpoint import CheckpointError, load_into

_Network = TypeVar("_Network", bound=nn.Module)


def read_torch_file(path: str | Path, name: str, allowed: Sequence[Any] = ()) -> Any:
    """What a published PyTorch file holds, on the CPU.

    name: of the network, for messages. allowed: what the file may name besides tensors and plain data, as of
    torch.serialization.safe_globals. Raises: FileNotFoundError; CheckpointError when it is damaged or names
    anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}, the published weights of {name}, is missing; put the file there.")
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds here, of which none is ours to tell apart
        raise CheckpointError(
            f"{path} cannot be read as weights of {name} ({_reason(error)}); "
            "it is damaged, or holds code, which is never run: get it again."
        ) from error


def _reason(error: Exception) -> str:
    """The line of torch's long message that says what was refused, not those that say how to run it."""
    lines = [line.strip(" .") for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "nsupported" in line or "not an allowed" in line]
    brief = [line for line in lines if "weights_only" not in line]
    return (telling or brief or [type(error).__name__])[0]


def read_state_dict(path: str | Path, name: str) -> dict[str, Tensor]:
    """Names and tensors of a published PyTorch file, on the CPU.

    name: of the network, for messages.
    Raises: FileNotFoundError; CheckpointError when the file holds anything but a flat state dict.
    """
    content = read_torch_file(path, name)
    flat = isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values())
    if not flat:
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}; wanted the flat state dict of {name}."
        )
    return dict(content)


def load_published(
    network: _Network, path: str | Path, name: str, ours: Mapping[str, str], unused: tuple[str, ...]
) -> _Network:
    """The network with the tensors of a published file, frozen.

    ours: the network's name of each tensor whose name in the file is another. unused: beginnings of names in
    the file that the network has no part for. Raises: as read_state_dict; CheckpointError listing missing,
    unexpected and mis-shaped tensors.
    """
    tensors = read_state_dict(path, name)
    kept = {ours.get(key, key): value for key, value in tensors.items() if not key.startswith(unused)}
    load_into(network, kept, f"{name} from {path}")
    return network.eval().requires_grad_(False)


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes: what a cache of a published network's results is keyed by."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
