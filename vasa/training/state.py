"""The state of a run: everything that the next step depends on besides the config, in one file per saved
step.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from vasa.checkpoint import CheckpointError, Weights, load_into, read_file, write_file
from vasa.training.optim import load_optimizer_tensors, optimizer_tensors
from vasa.training.phase import Phase

STATE_KIND = "training state"

_NAME = re.compile(r"state_(\d{8})\.safetensors")
_LEFTOVER = re.compile(r"\..+\.\d+-[0-9a-f]+\.tmp(\.\w+)?")
_log = logging.getLogger(__name__)


def save_state(
    folder: str | Path, step: int, tensors: Mapping[str, Tensor], config: Mapping[str, Any], keep: int
) -> Path:
    """Writes ``state_<step>.safetensors``, then removes all but the last ``keep``, and damaged later ones."""
    path = Path(folder) / f"state_{step:08d}.safetensors"
    write_file(path, STATE_KIND, tensors, config, {"step": step})
    states = _states(folder)
    later = [p for p in states if p.name > path.name]  # passed over when resuming, or they would not be there
    for old in [*later, *states[len(later) + keep :]]:
        old.unlink()
    return path


def remove_leftovers(folder: str | Path) -> None:
    """Removes what a killed process left half-written under ``atomic_path``'s temporary names."""
    for path in Path(folder).glob(".*.tmp*"):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink()


@contextmanager
def full_disk_told(run_dir: Path) -> Iterator[None]:
    """Turns the errors of a full disk, of a quota and of a limit on file sizes into one sentence.

    Every file is written under a temporary name first, so what was there before is whole.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        code = _os_code(error)
        if code not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        states = _states(run_dir)
        kept = f"the last training state, {states[0].name}, is whole" if states else "no state is saved yet"
        raise OSError(
            f"{run_dir} takes no more data ({os.strerror(code)}); {kept}. Free some space or lower "
            "loop.keep_states, and give the same command again: it carries on from there."
        ) from error


def _os_code(error: Exception) -> int:
    """The errno of an error; safetensors only has it in its text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"os error (\d+)", str(error))
    return int(found[1]) if found else 0


def load_latest_state(folder: str | Path) -> tuple[int, Weights] | None:
    """The newest readable training state and its step, or None where there is no state file at all.

    A damaged state is passed over with a warning. Raises: CheckpointError when every state there is damaged,
    because starting again from nothing would then silently throw the run away.
    """
    states = _states(folder)
    for path in states:
        try:
            state = read_file(path, STATE_KIND)
            return int(state.meta["step"]), state
        except CheckpointError as error:
            _log.warning("%s Using the state before it.", error)
    if states:
        raise CheckpointError(
            f"None of the {len(states)} training states in {folder} is readable; remove them to start over."
        )
    return None


def has_state(folder: str | Path) -> bool:
    """Whether a run began there."""
    return bool(_states(folder))


def _states(folder: str | Path) -> list[Path]:
    """State files, newest first."""
    found = Path(folder).glob("state_*.safetensors")
    return sorted((path for path in found if _NAME.fullmatch(path.name)), reverse=True)


def state_tensors(phases: Sequence[Phase], averages: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Modules, optimiser moments and averages under the names ``module/``, ``adam/`` and ``average/``."""
    tensors: dict[str, Tensor] = {}
    for phase in phases:
        tensors |= {f"module/{phase.name}/{key}": value for key, value in phase.module.state_dict().items()}
        tensors |= {f"adam/{phase.name}/{key}": value for key, value in optimizer_tensors(phase.adam).items()}
    for name, average in averages.items():
        tensors |= {f"average/{name}/{key}": value for key, value in average.state_dict().items()}
    return tensors


def resume(
    run_dir: Path, phases: Sequence[Phase], averages: Mapping[str, nn.Module], config: Mapping[str, Any]
) -> int:
    """Loads the newest readable state into everything; returns the steps it had done, 0 without a state.

    Another config than the state's is allowed (a longer run, another device) and named in a warning.
    """
    found = load_latest_state(run_dir)
    if found is None:
        return 0
    step, state = found
    changed = differences(state.config, config)
    if changed:
        _log.warning("Resuming %s under a changed config: %s.", run_dir, "; ".join(changed))

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in state.tensors.items() if k.startswith(prefix)}

    for phase in phases:
        load_into(phase.module, under(f"module/{phase.name}/"), f"{phase.name} in {state.path}")
        load_optimizer_tensors(phase.adam, under(f"adam/{phase.name}/"))
    for name, average in averages.items():
        load_into(average, under(f"average/{name}/"), f"the average of {name} in {state.path}")
    _log.info("Resuming %s at step %d.", run_dir, step)
    return step


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What changed between two configs of plain data, a sentence each."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key} was {before}, is {after}")
    return found
