"""Checkpoint files: plain tensors and plain data, written atomically, loaded strictly, executing nothing.

Two kinds of file, never confused. *Weights* (``face.safetensors``, ``motion.safetensors``, judges) are all
that using a model needs: tensors, the model's config, and meta data. A *training state* (written by
vasa/training/state.py) is all that resuming needs. Both are safetensors with JSON in the header,
both carry a SHA-256 of their content that is verified on every load, and both are written under a temporary
name, flushed to the disk and renamed. This module knows no model and no trainer.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import os
import platform
import secrets
import subprocess
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

FORMAT_VERSION = 1
"""Version of the layout of the header, not of any model. Raised when old files can no longer be read."""

WEIGHTS_KIND = "weights"

_log = logging.getLogger(__name__)
_Config = TypeVar("_Config")


class CheckpointError(ValueError):
    """A checkpoint file is damaged, of another kind or version, or does not fit what it is loaded into."""


@dataclasses.dataclass(slots=True)
class Weights:
    """The content of one checkpoint file: tensors on the CPU, config and meta as plain data."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    meta: dict[str, Any]
    path: Path


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path; it replaces ``path`` when the block succeeds and vanishes when it fails.

    It keeps the suffix, by which writers of video and arrays choose their format. The folder is made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(3)}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:  # without this a power cut can leave a renamed but empty file
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save_weights(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    meta: Mapping[str, Any],
    dtype: torch.dtype | None = None,
) -> str:
    """Writes a weights file and returns its content hash.

    config: the model's own config as plain data (see ``plain``). meta: whatever else is worth knowing;
    versions and the git commit are added. dtype: floating tensors are stored as this, e.g. ``torch.float16``;
    None keeps them.

    Raises: ValueError when a finite value does not survive ``dtype``, or config or meta is not plain data.
    """
    return write_file(path, WEIGHTS_KIND, tensors, config, meta, dtype)


def _stored(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A private contiguous CPU copy (safetensors refuses shared memory), cast when it is floating."""
    source = tensor.detach()
    target = dtype if dtype is not None and source.is_floating_point() else source.dtype
    copy = source.to("cpu", target, copy=True).contiguous()
    if target != source.dtype and not torch.equal(copy.isfinite(), source.isfinite().cpu()):
        raise ValueError(f"Tensor {name} has values beyond the range of {target}; store it as torch.float32.")
    return copy


def write_file(
    path: str | Path,
    kind: str,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    meta: Mapping[str, Any],
    dtype: torch.dtype | None = None,
) -> str:
    """Writes a checkpoint file of any kind, as ``save_weights`` does."""
    stored = {name: _stored(name, tensor, dtype) for name, tensor in tensors.items()}
    digest = _digest(stored, config)
    header = {
        "vasa_format": str(FORMAT_VERSION),
        "kind": kind,
        "content_sha256": digest,
        "config": _json(config, "config"),
        "meta": _json({**versions(), **meta}, "meta"),
    }
    with atomic_path(path) as temporary:
        save_file(stored, temporary, header)
        temporary.chmod(0o644)  # safetensors writes files that only their owner may read
    return digest


def _json(value: Mapping[str, Any], name: str) -> str:
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} of a checkpoint must be plain finite data (see checkpoint.plain): {error}."
        ) from error


def _digest(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of the tensors in order of their names, and the config."""
    sha = hashlib.sha256(_json(config, "config").encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


@functools.cache
def versions() -> dict[str, str]:
    """Versions of what wrote a file, and the git commit (ending in "-dirty" when changed) where there is a
    clone.
    """
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    try:
        found["vasa"] = metadata.version("vasa")
    except metadata.PackageNotFoundError:
        found["vasa"] = "not installed"
    root = Path(__file__).resolve().parent.parent
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        try:
            found["git_commit"] = subprocess.run(
                command, capture_output=True, text=True, timeout=20, check=True
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            _log.debug("No git commit recorded: git is missing or failed.")
    return found


def load_weights(path: str | Path) -> Weights:
    """Reads and verifies a weights file.

    Raises: FileNotFoundError when there is none; CheckpointError when it is damaged, of another version or
    another kind.
    """
    return read_file(path, WEIGHTS_KIND)


def content_hash(path: str | Path, parts: tuple[str, ...] = ()) -> str:
    """SHA-256 of a weights file's tensors and config; the same whatever meta data the file carries.

    parts: prefixes of names; then only tensors under them count, and no config: the identity of a part of a
    model, whatever becomes of the rest. Raises: CheckpointError when no tensor is under them.
    """
    weights = load_weights(path)
    if not parts:
        return _digest(weights.tensors, weights.config)
    chosen = {name: tensor for name, tensor in weights.tensors.items() if name.startswith(parts)}
    if not chosen:
        raise CheckpointError(f"{path} holds no tensor under {', '.join(parts)}; name a file that does.")
    return _digest(chosen, {})


def read_file(path: str | Path, kind: str) -> Weights:
    """Reads and verifies a checkpoint file of the wanted kind, as ``load_weights`` does."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Checkpoint {path} does not exist; train it, or name another.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            _check_header(path, header, kind)
            # Cloned, because they map the file: whoever overwrote it in place would change loaded weights.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        weights = Weights(tensors, json.loads(header["config"]), json.loads(header["meta"]), path)
    except (SafetensorError, KeyError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint or is damaged ({error}); copy or train it again."
        ) from error
    if _digest(weights.tensors, weights.config) != header.get("content_sha256"):
        raise CheckpointError(
            f"{path} is damaged: its content does not match its own SHA-256; copy or train it again."
        )
    return weights


def _check_header(path: Path, header: Mapping[str, str], kind: str) -> None:
    version = header.get("vasa_format")
    if version is None:
        raise CheckpointError(
            f"{path} is a safetensors file but was not written by vasa; wanted a {kind} file of this project."
        )
    if version != str(FORMAT_VERSION):
        raise CheckpointError(
            f"{path} has checkpoint format {version}, this vasa reads {FORMAT_VERSION}; "
            "use the version that wrote it, or train it again."
        )
    if header.get("kind") != kind:
        raise CheckpointError(f"{path} holds a {header.get('kind')}; wanted {kind}.")


def load_into(module: nn.Module, weights: Weights | Mapping[str, Tensor], name: str) -> None:
    """Copies tensors into ``module`` strictly: every name and every shape must agree. dtypes are converted.

    name: what the module is called in the message.
    Raises: CheckpointError listing missing, unexpected and mis-shaped tensors.
    """
    tensors = weights.tensors if isinstance(weights, Weights) else weights
    wanted = module.state_dict()
    problems = {
        "missing": [key for key in wanted if key not in tensors],
        "unexpected": [key for key in tensors if key not in wanted],
        "mis-shaped": [
            f"{key} {tuple(tensors[key].shape)}, wanted {tuple(wanted[key].shape)}"
            for key in wanted
            if key in tensors and tensors[key].shape != wanted[key].shape
        ],
    }
    found = [f"{len(keys)} {kind} ({_shortened(keys)})" for kind, keys in problems.items() if keys]
    if found:
        origin = f" from {weights.path}" if isinstance(weights, Weights) else ""
        raise CheckpointError(f"Weights of {name}{origin} do not fit: {'; '.join(found)}.")
    module.load_state_dict(tensors)


def _shortened(keys: list[str], limit: int = 6) -> str:
    return ", ".join(keys[:limit]) + (f", and {len(keys) - limit} more" if len(keys) > limit else "")


def plain(value: Any) -> Any:
    """A config dataclass (or anything inside one) as plain data: dicts, lists, strings, numbers, booleans,
    None.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.name
    return str(value) if isinstance(value, Path) else value


def from_plain(cls: type[_Config], values: Mapping[str, Any], name: str = "config") -> _Config:
    """The config dataclass ``cls`` from plain data: the inverse of ``plain``.

    A field that the data lacks takes its default, so that a checkpoint outlives a new option; an unknown one
    is refused. Raises: CheckpointError naming the unknown or absent fields.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    unknown = [key for key in values if key not in fields]
    if unknown:
        raise CheckpointError(
            f"{name} has fields this vasa does not know: {', '.join(unknown)}; use the version that wrote it."
        )
    built = {key: _from_plain(hints[key], value, f"{name}.{key}") for key, value in values.items()}
    try:
        return cls(**built)
    except TypeError as error:
        raise CheckpointError(f"{name} is incomplete: {error}.") from error


def _from_plain(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _from_plain(next(a for a in arguments if a is not type(None)), value, name)
    if origin in (list, tuple) and value is not None:
        items = [_from_plain(arguments[0] if arguments else Any, item, name) for item in value]
        return tuple(items) if origin is tuple else items
    if origin is dict:
        return {key: _from_plain(arguments[1], item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(hint, type):
        if dataclasses.is_dataclass(hint):
            return from_plain(hint, value, name)
        if issubclass(hint, Enum):
            return hint[value]
        if issubclass(hint, Path):
            return Path(value)
    return value
