"""Numpy arrays out of pickle files of other projects, without running anything that a file names.

A pickle is a program. Here it can build dicts, lists, strings, numbers and arrays of numbers, and nothing
else: each name it asks for is looked up among three stand-ins of ours, so neither numpy nor any other module
is called by a file.
"""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

ARRAY_CODES = frozenset(
    ["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]  # booleans, integers, floats
)


class PickleFileError(ValueError):
    """A pickle file holds something else than plain data and arrays, or is damaged."""


def load_arrays(path: str | Path) -> Any:
    """What a pickle file holds: dicts, lists, tuples, strings, numbers, None and numpy arrays, nested.

    Raises: FileNotFoundError; PickleFileError naming the file and the first thing that is none of these.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; wanted a pickle file of arrays.")
    try:
        found = _ArrayUnpickler(io.BytesIO(path.read_bytes())).load()
        return _plain(found, {})
    except Exception as error:  # a damaged pickle raises a dozen kinds, of which none is ours to tell apart
        raise PickleFileError(
            f"{path} is refused: {error or type(error).__name__}. It is damaged, or holds more than "
            "numbers and arrays, which is never run; get it again from where it was published."
        ) from error


class _Unnamed:
    """Stands for numpy.ndarray, which files only hand on to ``_Reconstruct``. Without attributes, so that a
    file can change nothing about it.
    """

    __slots__ = ()


class _Array:
    """An array as a file describes it, until its state is there."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array of something else than numbers")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise pickle.UnpicklingError(f"an array of shape {shape}")
        if math.prod(shape) * dtype.value.itemsize != len(content):
            raise pickle.UnpicklingError(f"an array of shape {shape} with {len(content)} bytes")
        flat = np.frombuffer(content, dtype.value)
        self.value = flat.reshape(shape, order="F" if fortran else "C").astype(dtype.value.newbyteorder("="))


class _Dtype:
    """A dtype as a file describes it: its code, then its byte order."""

    __slots__ = ("value",)

    def __init__(self, code: str) -> None:
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"a byte order {state[1]!r}")
        self.value = self.value.newbyteorder(state[1])


class _MakeArray:
    __slots__ = ()

    def __call__(self, kind: Any, shape: Any, code: Any) -> _Array:
        return _Array()


class _MakeDtype:
    __slots__ = ()

    def __call__(self, code: Any, align: Any = False, copy: Any = True) -> _Dtype:
        if code not in ARRAY_CODES:
            raise pickle.UnpicklingError(f"an array of dtype {code!r}")
        return _Dtype(code)


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "ndarray"):
            return _Unnamed()
        if (module, name) == ("numpy", "dtype"):
            return _MakeDtype()
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _MakeArray()
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _plain(value: Any, known: dict[int, Any]) -> Any:
    """The value with arrays in place of their descriptions. known: what was converted, by identity, so that
    what a file names often is gone through once; None while it is being converted.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, _Array) and value.value is not None:
        return value.value
    if type(value) not in (dict, list, tuple):
        raise pickle.UnpicklingError(f"it holds a {type(value).__name__.lstrip('_')}")
    if id(value) in known:
        if known[id(value)] is None:
            raise pickle.UnpicklingError("it holds a list that contains itself")
        return known[id(value)]
    known[id(value)] = None
    done: Any
    if isinstance(value, dict):
        if not all(type(key) in (str, int) for key in value):
            raise pickle.UnpicklingError("a dict has a key that is neither a string nor an integer")
        done = {key: _plain(item, known) for key, item in value.items()}
    else:
        done = type(value)(_plain(item, known) for item in value)
    known[id(value)] = done
    return done
