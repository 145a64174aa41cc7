"""An error as the one sentence that a person reads: on the command line, and in the report of a list."""

from __future__ import annotations

import errno


def sentence(error: BaseException) -> str:
    """What was wrong in one line; an error of the system with its file, a full disk with the cure."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f" of {error.filename}" if error.filename else ""
        return f"no space is left on the disk{where}; free some, and the same command carries on."
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return " ".join(str(error).splitlines()) or type(error).__name__
