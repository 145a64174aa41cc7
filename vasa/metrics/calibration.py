"""Dose and response: how every number of an evaluation answers to faults whose doses are known.

Rows of scores come in, plain data goes out. Each clip with a fault is held against the same clip without it;
how much that is, is told in spreads between clips: a metric whose number moves by less than clips differ
anyway cannot tell a faulty video from another good one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vasa.data.synthetic.faults import FAULTS
from vasa.metrics.calibration_clips import FaultRow
from vasa.metrics.correlation import spearman
from vasa.metrics.evaluation import RowScores
from vasa.metrics.sources import REAL_ROW
from vasa.metrics.summary import interval

SEES = 0.5
"""Spreads between clips by which a number must move at the worst dose (Cohen's "medium" effect)."""
FOLLOWS = 0.5
"""Spearman's r of number and dose within clips, towards the worst dose. Without this rule a number that is
mere noise passes for one that sees in 10 to 20 of 100 cases (8 clips, simulated), with it in 1 to 5.
"""
LARGEST = 99.0
"""Where effects end: clips that hardly differ make any change endless."""
ROUNDING = 1e-6
"""Share of a number under which a change is one of arithmetic."""
SET = "the set"
"""Stands for a clip in numbers of sets, of which a row has one."""


@dataclass(slots=True, kw_only=True)
class DosePoint:
    """A number at one dose: mean over clips and its 95 % interval (NaN for numbers of sets)."""

    dose: float
    mean: float
    low: float
    high: float
    scored: int
    total: int


@dataclass(slots=True, kw_only=True)
class Response:
    """How one number answers to one fault. column: "metric.column".

    points: by rising dose, the neutral dose among them. worst: the dose, of the outermost ones, with the
    largest effect. change, low, high: the mean change there in the number's unit, and its 95 % interval.
    effect: that change over the spread between clips (see ``_spread``). with_dose, along: Spearman's r of the
    number with the dose, means over clips: over all doses, and with severity from the neutral to the worst
    dose; they differ for faults that go both ways. sees: whether the effect is at least SEES, the interval
    leaves out 0 and ``along`` is at least FOLLOWS either way; None where nothing can be said.
    """

    fault: str
    column: str
    points: list[DosePoint]
    worst: float
    effect: float
    change: float
    low: float
    high: float
    with_dose: float
    along: float
    sees: bool | None

    @property
    def moves(self) -> bool:
        """Whether doses have different means, or are not scored alike."""
        means = [point.mean for point in self.points if math.isfinite(point.mean)]
        differs = bool(means) and max(means) - min(means) > ROUNDING * max(map(abs, means))
        return differs or len({point.scored for point in self.points}) > 1


@dataclass(slots=True)
class Calibration:
    """All responses; labels: metric -> what it is; context: config, hashes, versions, as plain data."""

    responses: list[Response]
    labels: dict[str, str]
    context: dict[str, Any]

    @property
    def faults(self) -> list[str]:
        return list(dict.fromkeys(response.fault for response in self.responses))

    @property
    def columns(self) -> list[str]:
        """Numbers that some fault moves."""
        moving = {response.column for response in self.responses if response.moves}
        return [c for c in dict.fromkeys(r.column for r in self.responses) if c in moving]

    @property
    def still(self) -> list[str]:
        """Numbers that no fault moves: blind, or mere counts."""
        moving = set(self.columns)
        return [c for c in dict.fromkeys(r.column for r in self.responses) if c not in moving]

    def of(self, fault: str, column: str) -> Response:
        return next(r for r in self.responses if (r.fault, r.column) == (fault, column))

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data; what is no number becomes None."""
        found = {
            "sees": {"effect": SEES, "follows": FOLLOWS},
            "faults": {name: asdict(FAULTS[name]) for name in self.faults},
            "responses": [asdict(response) for response in self.responses],
            "labels": self.labels,
            "context": self.context,
        }
        return _finite(found)


NO_RESPONSE = ("_monotony", "_leak", "_floor", ".num_made", ".num_real", ".num_windows", "_longer_frames")


def responses(scores: Sequence[RowScores], rows: Sequence[FaultRow], seed: int = 0) -> list[Response]:
    """Every number's response to every fault. scores: the row ``real`` and each of ``rows``.

    Counts and floors are no responses, nor is how far a row follows controls, of which none are asked for.
    """
    by_name = {row.name: row for row in scores}
    columns = dict.fromkeys(
        column for row in scores for column in row.cells if not column.endswith(NO_RESPONSE)
    )
    spreads = {column: _spread(column, scores) for column in columns}
    found = []
    for fault in dict.fromkeys(row.fault for row in rows):
        by_dose = {FAULTS[fault].neutral: by_name[REAL_ROW]}
        by_dose |= {row.dose: by_name[row.name] for row in rows if row.fault == fault}
        ordered = dict(sorted(by_dose.items()))
        found += [_response(fault, column, ordered, spreads[column], seed) for column in columns]
    return found


def _response(name: str, column: str, rows: dict[float, RowScores], spread: float, seed: int) -> Response:
    """rows: dose -> scores, by rising dose, the neutral one among them."""
    fault = FAULTS[name]
    by_clip = {dose: _by_clip(row, column) for dose, row in rows.items()}
    if not any(by_clip.values()):  # a number of the set: one row, one number
        by_clip = {dose: _of_set(row, column) for dose, row in rows.items()}
    ends = sorted({min(rows), max(rows)} - {fault.neutral})
    changes = {dose: _change(by_clip[fault.neutral], by_clip[dose], spread, seed) for dose in ends}
    worst = max(changes, key=lambda dose: np.nan_to_num(abs(changes[dose].effect), nan=-1.0))
    most = changes[worst]
    first, last = sorted((fault.neutral, worst))
    along = _mean_rank({d: v for d, v in by_clip.items() if first <= d <= last}, fault.severity)
    return Response(
        fault=name,
        column=column,
        points=[_point(dose, row, column) for dose, row in rows.items()],
        worst=worst,
        effect=most.effect,
        change=most.mean,
        low=most.low,
        high=most.high,
        with_dose=_mean_rank(by_clip, float),
        along=along,
        sees=None if most.stands_out is None else most.stands_out and abs(along) >= FOLLOWS,
    )


@dataclass(slots=True)
class _Change:
    """What becomes of a number between two rows; see Response."""

    effect: float = math.nan
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @property
    def stands_out(self) -> bool | None:
        """Whether it is large and none of chance; None where there is no number."""
        if not math.isfinite(self.effect):
            return None
        leaves_out_zero = math.isnan(self.low) or self.low > 0 or self.high < 0
        return abs(self.effect) >= SEES and leaves_out_zero


def _change(before: dict[str, float], after: dict[str, float], spread: float, seed: int) -> _Change:
    """Clip by clip, over clips that have a number in both."""
    shared = [clip for clip in before if clip in after]
    if not shared or (len(shared) < 2 and SET not in shared):
        return _Change()
    a, b = (np.array([values[clip] for clip in shared]) for values in (before, after))
    mean = float((b - a).mean())
    if abs(mean) <= ROUNDING * max(np.abs(a).max(), np.abs(b).max()):
        mean = 0.0
    low, high = interval(b - a, seed)
    if math.isnan(spread):
        return _Change(math.nan, mean, low, high)
    return _Change(mean / max(spread, abs(mean) / LARGEST) if mean else 0.0, mean, low, high)


def _spread(column: str, rows: Sequence[RowScores]) -> float:
    """What a number's changes are measured by: its standard deviation between clips, median over all rows.

    Over all, because a number that compares a clip with its faultless self cannot vary where there is no
    fault. Of numbers of sets: the distance between halves of the faultless set, which they bring as
    <column>_floor; NaN where they do not.
    """
    values = [list(_by_clip(row, column).values()) for row in rows]
    if any(values):
        spreads = [float(np.std(some, ddof=1)) for some in values if len(some) > 1]
        return float(np.median(spreads)) if spreads else math.nan
    floor = next(row for row in rows if row.name == REAL_ROW).cells.get(f"{column}_floor")
    return math.nan if floor is None else floor.mean


def _by_clip(row: RowScores, column: str) -> dict[str, float]:
    """Clip -> its number, of clips that have one; empty for numbers of sets."""
    metric, _, name = column.partition(".")
    values = {
        score.clip: score.values.get(name, math.nan)
        for score in row.scores.get(metric, [])
        if score.unscored is None
    }
    return {clip: value for clip, value in values.items() if math.isfinite(value)}


def _of_set(row: RowScores, column: str) -> dict[str, float]:
    """The set's number as that of one clip, SET."""
    cell = row.cells.get(column)
    return {} if cell is None or not math.isfinite(cell.mean) else {SET: cell.mean}


def _point(dose: float, row: RowScores, column: str) -> DosePoint:
    cell = row.cells.get(column)
    if cell is None:
        nan = math.nan
        return DosePoint(dose=dose, mean=nan, low=nan, high=nan, scored=0, total=len(row.clips))
    return DosePoint(
        dose=dose, mean=cell.mean, low=cell.low, high=cell.high, scored=cell.scored, total=cell.total
    )


def _mean_rank(by_clip: dict[float, dict[str, float]], place: Callable[[float], float]) -> float:
    """Spearman's r of each clip's number with the place of its dose, mean over clips with two or more."""
    found = []
    for clip in dict.fromkeys(clip for values in by_clip.values() for clip in values):
        doses = [dose for dose, values in by_clip.items() if clip in values]
        if len(doses) >= 2:
            places = np.array([place(dose) for dose in doses])
            found.append(spearman(places, np.array([by_clip[dose][clip] for dose in doses])))
    return float(np.mean(found)) if found else math.nan


def _finite(value: Any) -> Any:
    """Plain data without NaN and infinity: None instead."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
