"""What ``scripts/eval.py`` does: every metric on every clip of every row, from the cache where it was done.

Results are kept under the hash of the clip's files and of everything the metric depends on, so a killed
evaluation goes on where it was, a second one is instant, and a changed weight file measures again. Receives
metrics and files; builds neither.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vasa.checkpoint import atomic_path
from vasa.metrics.protocol import (
    ClipMetric,
    EvalClip,
    RowMetric,
    SampleMetric,
    SetMetric,
    Unscored,
)
from vasa.metrics.sources import REAL_ROW, TRUE_ROW, ClipFiles, read_clip
from vasa.metrics.summary import Cell, ClipScore, columns_of, summarise

log = logging.getLogger(__name__)

Features = dict[str, list[tuple[str, Tensor]]]
"""Metric -> group and features of each clip of a row."""


@dataclass(slots=True)
class RowScores:
    """All that was measured of one row: each clip metric's scores by metric name, and each column's cell.

    sha256: of its clips' names and contents.
    """

    name: str
    clips: list[ClipFiles]
    scores: dict[str, list[ClipScore]] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)
    sha256: str = ""


class Evaluation:
    """Measures rows of clips. cache: a folder for results. seed: of bootstrap intervals."""

    def __init__(
        self,
        clip_metrics: Sequence[ClipMetric],
        set_metrics: Sequence[SetMetric | SampleMetric],
        cache: Path,
        seed: int = 0,
    ) -> None:
        self.clip_metrics, self.set_metrics = list(clip_metrics), list(set_metrics)
        self.cache, self.seed = cache, seed
        named = [(m.name, m.identity) for m in clip_metrics] + [(m.name, m.identity) for m in set_metrics]
        self._keys = {name: _digest(identity) for name, identity in named}

    def run(self, rows: dict[str, list[ClipFiles]], reference: Sequence[ClipFiles] = ()) -> list[RowScores]:
        """Every row; sets are compared with ``reference``, else with the row ``real``, else not at all."""
        real = list(reference) or rows.get(REAL_ROW, [])
        work = [(name, clip) for name, clips in rows.items() for clip in clips]
        results = {name: RowScores(name, clips) for name, clips in rows.items()}
        features: dict[str, Features] = {name: {} for name in rows}
        begun, fresh = time.monotonic(), 0
        for done, (name, files) in enumerate(work, 1):
            fresh += self._clip(files, results[name], features[name])
            if fresh and (done % 5 == 0 or done == len(work)):
                rate = done / (time.monotonic() - begun)
                left = (len(work) - done) / rate
                log.info("%d of %d clips, %.2f clips/s, %.0f s left", done, len(work), rate, left)
        real_features = self._reference(real, rows, features)
        for row in results.values():
            self._summarise(row, features[row.name], real_features, results.get(TRUE_ROW))
        return list(results.values())

    def fill(
        self, rows: dict[str, list[ClipFiles]], reference: Sequence[ClipFiles], part: int, parts: int
    ) -> None:
        """Measures every ``parts``-th clip, from ``part`` on, into the cache: a share of ``run``'s work."""
        work = [(name, clip) for name, clips in rows.items() for clip in clips]
        begun = time.monotonic()
        for done, (name, files) in enumerate(work[part::parts], 1):
            if self._clip(files, RowScores(name, []), {}) and done % 5 == 0:
                rate = parts * done / (time.monotonic() - begun)
                left = max(len(work) - parts * done, 0) / rate
                log.info(
                    "About %d of %d clips, %.2f clips/s, %.0f s left", parts * done, len(work), rate, left
                )
        self._reference(list(reference)[part::parts], {}, {})

    # Clips

    def _clip(self, files: ClipFiles, row: RowScores, features: Features) -> bool:
        """Scores one clip by every metric; whether anything had to be measured."""
        content, loaded, fresh = files.content_hash(), _Loaded(files), False
        group = files.group
        row.sha256 = hashlib.sha256(f"{row.sha256} {files.name} {content}".encode()).hexdigest()
        for metric in self.clip_metrics:
            path = self._path(metric.name, content, ".json")
            saved = _read_json(path)
            if saved is None:
                saved, fresh = _measured(metric, loaded), True
                _write_json(path, saved)
            score = ClipScore(clip=files.name, group=group, **saved)
            row.scores.setdefault(metric.name, []).append(score)
        for kind in self.set_metrics:
            found, was_fresh = self._features(kind, content, loaded)
            fresh |= was_fresh
            score = ClipScore(clip=files.name, group=group)
            if isinstance(found, str):
                score.unscored = found
            else:
                features.setdefault(kind.name, []).append((group, found))
            row.scores.setdefault(kind.name, []).append(score)
        return fresh

    def _features(
        self, metric: SetMetric | SampleMetric, content: str, loaded: _Loaded
    ) -> tuple[Tensor | str, bool]:
        """Features of a clip or the reason why there are none; and whether they were computed now."""
        path = self._path(metric.name, content, ".safetensors")
        reason = _read_json(path.with_suffix(".json"))
        if reason is not None:
            return str(reason["unscored"]), False
        if path.is_file():
            try:
                return load_file(path)["features"], False
            except SafetensorError:
                log.warning("%s is damaged; it is computed again.", path)
        try:
            found = metric.features(loaded.clip()).float().cpu().contiguous()
        except Unscored as unscored:
            _write_json(path.with_suffix(".json"), {"unscored": str(unscored)})
            return str(unscored), True
        with atomic_path(path) as temporary:
            save_file({"features": found}, temporary)
        return found, True

    def _reference(
        self,
        real: list[ClipFiles],
        rows: dict[str, list[ClipFiles]],
        features: dict[str, Features],
    ) -> Features:
        if not real or real == rows.get(REAL_ROW):
            return features.get(REAL_ROW, {})
        found: Features = {}
        for files in real:
            content, loaded = files.content_hash(), _Loaded(files)
            for metric in self.set_metrics:
                one, _ = self._features(metric, content, loaded)
                if not isinstance(one, str):
                    found.setdefault(metric.name, []).append((files.name, one))
        return found

    def _path(self, metric: str, content: str, ending: str) -> Path:
        return self.cache / metric / f"{content[:24]}_{self._keys[metric]}{ending}"

    # Rows

    def _summarise(
        self, row: RowScores, made: Features, real: Features, true: RowScores | None = None
    ) -> None:
        for metric in self.clip_metrics:
            scores = row.scores[metric.name]
            for column in columns_of(scores) or [metric.name]:
                row.cells[f"{metric.name}.{column}"] = summarise(scores, column, self.seed)
            if isinstance(metric, RowMetric):
                own, others = (_scored(one, metric.name) for one in (row, None if true is row else true))
                self._add(row, metric.name, metric.of_row(*own, others) if own is not None else {})
        for kind in self.set_metrics:
            if isinstance(kind, SampleMetric):
                self._spread(row, kind, made.get(kind.name, []))
                continue
            sets = [[one for _, one in found.get(kind.name, [])] for found in (made, real)]
            self._add(row, kind.name, kind.score(*sets))

    def _spread(self, row: RowScores, kind: SampleMetric, made: list[tuple[str, Tensor]]) -> None:
        """Means over jobs that have several samples; no column where none has."""
        by_group: dict[str, list[Tensor]] = {}
        for group, features in made:
            by_group.setdefault(group, []).append(features)
        scores = [
            ClipScore(clip=group, group=group, values=kind.spread(samples))
            for group, samples in by_group.items()
            if len(samples) > 1
        ]
        for column in columns_of(scores):
            row.cells[f"{kind.name}.{column}"] = summarise(scores, column, self.seed)

    @staticmethod
    def _add(row: RowScores, metric: str, numbers: dict[str, float]) -> None:
        """Numbers of the row as a whole, which have no interval."""
        scores = row.scores[metric]
        reasons: dict[str, int] = {}
        for score in scores:
            if score.unscored is not None:
                reasons[score.unscored] = reasons.get(score.unscored, 0) + 1
        scored = len(scores) - sum(reasons.values())
        for column, value in numbers.items():
            cell = Cell(mean=value, scored=scored, total=len(scores), reasons=reasons)
            row.cells[f"{metric}.{column}"] = cell


def _scored(row: RowScores | None, metric: str) -> tuple[list[dict[str, Any]], list[dict[str, float]]] | None:
    """What was asked of the clips of a row that a metric scored, and its numbers; None without any."""
    if row is None:
        return None
    scores = zip(row.clips, row.scores[metric], strict=True)
    pairs = [(clip.asked(), score.values) for clip, score in scores if score.unscored is None]
    return ([asked for asked, _ in pairs], [values for _, values in pairs]) if pairs else None


class _Loaded:
    """A clip that is read when the first metric asks for it, once; a failure to read is remembered too."""

    def __init__(self, files: ClipFiles) -> None:
        self.files = files
        self._clip: EvalClip | None = None
        self._failure: Unscored | None = None

    def clip(self) -> EvalClip:
        if self._failure is not None:
            raise self._failure
        if self._clip is None:
            try:
                self._clip = read_clip(self.files)
            except Unscored as failure:
                self._failure = failure
                raise
        return self._clip


@torch.inference_mode()
def _measured(metric: ClipMetric, loaded: _Loaded) -> dict[str, Any]:
    try:
        values = metric.measure(loaded.clip())
    except Unscored as unscored:
        return {"values": {}, "unscored": str(unscored)}
    return {"values": {name: float(value) for name, value in values.items()}, "unscored": None}


def _digest(identity: dict[str, Any]) -> str:
    """A short hash of everything a metric's scores depend on."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read_json(path: Path) -> dict[str, Any] | None:
    """A cached result; None where there is none or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    if not isinstance(content, dict):
        return None
    if "values" in content:
        values = {name: math.nan if value is None else value for name, value in content["values"].items()}
        content["values"] = values
    return content


def _write_json(path: Path, content: dict[str, Any]) -> None:
    if "values" in content:
        values = {name: value if math.isfinite(value) else None for name, value in content["values"].items()}
        content = {**content, "values": values}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")
