"""Controls that change with time: a CSV or JSON file of times and values, checked as a whole.

    time,gaze_yaw,emotion
    0,0,neutral
    2.5,12,happy:0.7+surprise:0.3

Columns: ``time`` in seconds, then any of the controls of ``controls.RANGES`` (angles in degrees; yaw, pitch
and roll are short for head_yaw, head_pitch and head_roll), and ``emotion``, a name or a mixture, or a column
of weights for each emotion that is named. JSON: an object of lists, or a list of objects, of the same names.
Between rows values go in straight lines; before the first and after the last they stay.

Two kinds of column are not of what is shown but of how motion is drawn, window by window:
``guidance.audio`` and the like, strengths from 0 on, and ``seed``, whole numbers that stay between rows.
"""

from __future__ import annotations

import csv
import decimal
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vasa.inference.config import MAX_SEED, check_guidance
from vasa.inference.controls import RANGES, check, emotion_weights
from vasa.motion.config import GUIDED
from vasa.records import EMOTIONS, VIDEO_FPS

TIME, EMOTION, SEED = "time", "emotion", "seed"
GUIDANCE = {f"guidance.{name}": name for name in GUIDED}
"""Column -> condition."""
ALIASES = {"yaw": "head_yaw", "pitch": "head_pitch", "roll": "head_roll"}
MAX_ROWS = 1_000_000
"""Eleven hours of a row a frame."""


@dataclass(frozen=True, slots=True)
class ControlTracks:
    """times_s (N,), rising. values: control -> (N,), radians inside; emotion -> (N, 8) weights; column of
    guidance -> (N,); seed -> (N,) int64.
    """

    times_s: np.ndarray
    values: Mapping[str, np.ndarray]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def at(self, name: str, frames: np.ndarray) -> Tensor:
        """A control at frames (t,), also fractional or before 0: (t,), emotion (t, 8); float32."""
        track, seconds = self.values[name], frames / VIDEO_FPS
        columns = track[:, None] if track.ndim == 1 else track
        found = np.stack([np.interp(seconds, self.times_s, column) for column in columns.T], 1)
        return torch.from_numpy(found.reshape(len(frames), *track.shape[1:])).float()

    def mean(self, name: str, first: int, stop: int) -> float:
        """Of a column over frames first .. stop - 1; where it is constant exactly its value."""
        values = np.interp(np.arange(first, stop) / VIDEO_FPS, self.times_s, self.values[name])
        return float(values[0] + (values - values[0]).mean())

    def last(self, name: str, stop: int) -> int:
        """What a column of whole numbers says when frame ``stop`` begins, that moment left out."""
        row = int(np.searchsorted(self.times_s, stop / VIDEO_FPS)) - 1
        return int(self.values[name][max(row, 0)])


def read_tracks(path: Path) -> ControlTracks:
    """Reads .csv or .json. Raises: FileNotFoundError; ValueError naming the file, the place, the value and
    what was wanted.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"controls={path} does not exist; give a .csv or .json file of times and values."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"controls={path} is not UTF-8 text (byte {error.start}); save it as UTF-8."
        ) from error
    if path.suffix.lower() == ".json":
        columns = _columns_of_json(text, path)
    elif path.suffix.lower() == ".csv":
        columns = _columns_of_csv(text, path)
    else:
        raise ValueError(f"controls={path} ends in {path.suffix!r}; wanted .csv or .json.")
    try:
        return _tracks(columns)
    except ValueError as error:
        raise ValueError(f"controls={path}: {error}") from error


def _columns_of_csv(text: str, path: Path) -> dict[str, list[Any]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ValueError(f"controls={path} is no CSV ({error}); look for a quote that never ends.") from error
    if not rows:
        raise ValueError(f"controls={path} is empty; wanted a line of names such as time,gaze_yaw and rows.")
    names = [name.strip() for name in rows[0]]
    if len(names) == 1 and ";" in names[0]:
        raise ValueError(f"controls={path} is separated by semicolons; wanted commas, and points in numbers.")
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(names):
            raise ValueError(
                f"controls={path}, row {number} has {len(row)} cells; wanted {len(names)}, one for each name."
            )
    if len(set(names)) < len(names):
        raise ValueError(f"controls={path} has a column twice among {', '.join(names)}; wanted each once.")
    return {name: [row[i].strip() for row in rows[1:]] for i, name in enumerate(names)}


def _columns_of_json(text: str, path: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"controls={path} is no JSON ({error}); wanted an object of lists such as "
            '{"time": [0, 2], "gaze_yaw": [0, 12]}.'
        ) from error
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        names = list(content[0]) if content else []
        for number, row in enumerate(content, 1):
            if set(row) != set(names):
                raise ValueError(
                    f"controls={path}, row {number} has {', '.join(row) or 'nothing'}; wanted "
                    f"{', '.join(names)} as in the first."
                )
        return {name: [row[name] for row in content] for name in names}
    if not isinstance(content, dict) or not all(isinstance(column, list) for column in content.values()):
        raise ValueError(
            f"controls={path} is neither an object of lists nor a list of objects; wanted such as "
            '{"time": [0, 2], "gaze_yaw": [0, 12]}.'
        )
    lengths = {name: len(column) for name, column in content.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"controls={path} has lists of unequal length ({said}); wanted equal ones.")
    return content


def _tracks(columns: Mapping[str, Sequence[Any]]) -> ControlTracks:
    names = [ALIASES.get(name, name) for name in columns]
    if len(set(names)) < len(names):
        raise ValueError(f"there is a column twice among {', '.join(columns)}; wanted each once.")
    columns = dict(zip(names, columns.values(), strict=True))
    if TIME not in columns:
        raise ValueError(f"there is no column {TIME}; wanted seconds in it, rising.")
    known = [TIME, EMOTION, *RANGES, *EMOTIONS, *GUIDANCE, SEED]
    for name in columns:
        if name not in known:
            raise ValueError(f"column {name!r} is unknown; wanted some of {', '.join(known)}.")
    if not len(columns[TIME]):
        raise ValueError("there is no row; wanted at least one under the names.")
    if len(columns[TIME]) > MAX_ROWS:
        raise ValueError(f"there are {len(columns[TIME])} rows; wanted at most {MAX_ROWS}.")
    if len(columns) == 1:
        raise ValueError(f"there is no column but {TIME}; wanted a control such as gaze_yaw.")
    values = {name: _numbers(name, columns[name]) for name in RANGES if name in columns}
    values |= {name: _numbers(name, columns[name]) for name in GUIDANCE if name in columns}
    if SEED in columns:
        values[SEED] = np.array([_seed(row, cell) for row, cell in enumerate(columns[SEED], 1)], np.int64)
    weights = {name: _numbers(name, columns[name]) for name in EMOTIONS if name in columns}
    if EMOTION in columns and weights:
        raise ValueError(
            f"there are both a column {EMOTION} and weights of {', '.join(weights)}; wanted one or the other."
        )
    if EMOTION in columns:
        values[EMOTION] = _mixtures(columns[EMOTION])
    elif weights:
        rows = np.stack(list(weights.values()), 1).tolist()
        values[EMOTION] = _mixtures([dict(zip(weights, row, strict=True)) for row in rows])
    return ControlTracks(_times(columns[TIME]), values)


def _times(cells: Sequence[Any]) -> np.ndarray:
    times = np.array([_number(TIME, row, cell) for row, cell in enumerate(cells, 1)])
    for row in np.flatnonzero(np.diff(times) <= 0)[:1]:
        raise ValueError(
            f"row {row + 2} has time {times[row + 1]:g} after {times[row]:g}; wanted rising times: sort them."
        )
    return times


def _numbers(name: str, cells: Sequence[Any]) -> np.ndarray:
    """(N,) of one column, radians inside."""
    found = np.empty(len(cells))
    for row, cell in enumerate(cells, 1):
        value = _number(name, row, cell)
        try:
            if name in RANGES:
                value = math.radians(value) if RANGES[name].is_angle else value
                check(name, value)
            elif name in GUIDANCE:
                check_guidance(GUIDANCE[name], value)
        except ValueError as error:
            raise ValueError(f"row {row}: {error}") from error
        found[row - 1] = value
    return found


def _number(name: str, row: int, cell: Any) -> float:
    try:
        value = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"row {row} has {name} {cell!r}; wanted a finite number.")
    return value


def _seed(row: int, cell: Any) -> int:
    """Exactly, also where a float would round it."""
    try:
        value = decimal.Decimal(str(cell).strip())
        if 0 <= value <= MAX_SEED and value == int(value):
            return int(value)
    except decimal.InvalidOperation:
        pass  # no number, or NaN
    raise ValueError(f"row {row} has {SEED} {cell!r}; wanted a whole number from 0 to {MAX_SEED}.")


def _mixtures(cells: Sequence[Any]) -> np.ndarray:
    """(N, 8) weights over EMOTIONS."""
    found = []
    for row, cell in enumerate(cells, 1):
        if not isinstance(cell, (str, dict)):
            raise ValueError(f"row {row} has emotion {cell!r}; wanted a name or a mixture such as happy:0.7.")
        try:
            found.append(emotion_weights(cell).numpy())
        except (TypeError, ValueError) as error:
            raise ValueError(f"row {row}: {error}") from error
    return np.stack(found)
