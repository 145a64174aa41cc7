"""Reading published weight files: flat state dicts, read as data and never executed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from vasa.checkpoint import CheckpointError


def read_state_dict(path: str | Path, name: str) -> dict[str, Tensor]:
    """Names and tensors of a published PyTorch file, on the CPU.

    name: of the network, for messages.
    Raises: FileNotFoundError; CheckpointError when the file holds anything but a flat state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}, the published weights of {name}, is missing; put the file there.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds here, of which none is ours to tell apart
        raise CheckpointError(
            f"{path} cannot be read as weights of {name} ({str(error).splitlines()[0]}); "
            "it is damaged, or holds code, which is never run: get it again."
        ) from error
    flat = isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values())
    if not flat:
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}; wanted the flat state dict of {name}."
        )
    return dict(content)


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes: what a cache of a published network's results is keyed by."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
