"""The table of ``scripts/eval.py``: rows of videos, columns of numbers, as Markdown, JSON and a page with the
videos side by side.

Each number stands with its 95 % interval and with how many of how many clips it was scored on; what a number
may be compared with is said once for each metric, below the table.
"""

from __future__ import annotations

import html
import json
import math
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vasa.checkpoint import atomic_path
from vasa.metrics import published
from vasa.metrics.controls import INTO
from vasa.metrics.evaluation import RowScores
from vasa.metrics.sources import REAL_ROW
from vasa.metrics.summary import Cell

STYLE = (
    "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}"
    "td,th{border:1px solid #bbb;padding:4px 8px;vertical-align:top}video{width:220px;display:block}"
)

DETAILS = ("_seen", ".num_windows", "_longer_frames")
"""Columns of table.json alone; so are leaks of one control into one other, which have their own table."""


@dataclass(slots=True)
class EvalTable:
    """rows as measured; labels: metric -> what it is; context: config, hashes, versions, as plain data."""

    rows: list[RowScores]
    labels: dict[str, str]
    context: dict[str, Any]

    @property
    def columns(self) -> list[str]:
        """metric.column, in the order in which rows bring them."""
        return list(dict.fromkeys(name for row in self.rows for name in row.cells))

    def _by_metric(self) -> dict[str, list[str]]:
        """metric -> its columns, without details and without what is scored nowhere while others are."""
        found: dict[str, list[str]] = {}
        for name in self.columns:
            if not name.endswith(DETAILS) and INTO not in name:
                found.setdefault(name.partition(".")[0], []).append(name)
        return {metric: [c for c in names if self._is_scored(c)] or names for metric, names in found.items()}

    def _is_scored(self, column: str) -> bool:
        return any(row.cells[column].scored for row in self.rows if column in row.cells)

    def markdown(self) -> str:
        """A table for each metric with what it is, the reasons of failures, and published numbers apart."""
        parts = []
        for metric, columns in self._by_metric().items():
            names = [name.partition(".")[2] for name in columns]
            lines = [f"| {metric} | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
            for row in self.rows:
                if any(name in row.cells for name in columns):
                    shown = [_shown(row.cells.get(name)) for name in columns]
                    lines.append(f"| {row.name} | " + " | ".join(shown) + " |")
            label = self.labels.get(metric)
            parts.append("\n".join(lines) + "\n" + (f"\n{metric}: {label}.\n" if label else ""))
        parts += [*self._leaks(), *self._warnings(), *self._failures(), self._made_with() + "\n"]
        parts.append(published.markdown())
        return "\n".join(parts)

    def _leaks(self) -> list[str]:
        """A table for each row whose controls were swept: how far each moves each of the others, in shares of
        their range.
        """
        parts = []
        for row in self.rows:
            found = {
                tuple(name.partition(".")[2].split(INTO)): cell.mean
                for name, cell in row.cells.items()
                if INTO in name
            }
            into = list(dict.fromkeys(b for _, b in found))
            lines = [
                f"| {a} | " + " | ".join(f"{found[a, b]:.3f}" if (a, b) in found else "" for b in into) + " |"
                for a in dict.fromkeys(a for a, _ in found)
            ]
            head = [
                f"| {row.name}: leak of | into " + " | ".join(into) + " |",
                "|" + "---|" * (len(into) + 1),
            ]
            parts += ["\n".join([*head, *lines]) + "\n"] if lines else []
        return parts

    def _failures(self) -> list[str]:
        """A line for each row, metric and set of reasons."""
        found: dict[tuple[str, str, str], list[str]] = {}
        for row in self.rows:
            for name, cell in row.cells.items():
                metric, column = name.split(".", 1)
                reasons = ", ".join(f"{count} {reason}" for reason, count in cell.reasons.items())
                text = f"{cell.total - cell.scored} of {cell.total} clips not scored ({reasons})"
                if reasons and INTO not in name:
                    found.setdefault((row.name, metric, text), []).append(column)
        lines = [
            f"- {row}, {metric} ({', '.join(columns)}): {text}"
            for (row, metric, text), columns in found.items()
        ]
        return ["\n".join(lines) + "\n"] if lines else []

    def _made_with(self) -> str:
        """What a reader needs to repeat the table: versions, and short hashes of options, clips, weights."""
        known = self.context.get("versions", {})
        parts = [f"{name} {known[name]}" for name in ("vasa", "git_commit") if name in known]
        parts += [
            f"{name} {str(self.context[key])[:12]}"
            for name, key in (("options", "config_sha256"), ("list", "list_sha256"))
            if self.context.get(key)
        ]
        parts.append("clips " + ", ".join(f"{row.name} {row.sha256[:12]}" for row in self.rows))
        used = self.context.get("metrics", {})
        weights = {name: dict(sorted(_hashes(identity).items())) for name, identity in used.items()}
        parts += [
            f"{name} " + ", ".join(f"{key} {value[:12]}" for key, value in found.items())
            for name, found in weights.items()
            if found
        ]
        return "Measured with: " + "; ".join(parts) + "."

    def _warnings(self) -> list[str]:
        """A model above real video in S_C is no better than life: sync alone was driven up."""
        real = next((row for row in self.rows if row.name == REAL_ROW), None)
        if real is None or "sync.s_c" not in real.cells:
            return []
        above = [
            row.name
            for row in self.rows
            if row is not real and "sync.s_c" in row.cells
            and row.cells["sync.s_c"].mean > real.cells["sync.s_c"].mean
        ]  # fmt: skip
        if not above:
            return []
        return [f"S_C above the real row ({', '.join(above)}) is exaggeration, not quality.\n"]

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data; NaN becomes None."""
        rows = {
            row.name: {
                name: {k: _finite(v) for k, v in asdict(cell).items()} for name, cell in row.cells.items()
            }
            for row in self.rows
        }
        clips = {row.name: row.sha256 for row in self.rows}
        return {"rows": rows, "labels": self.labels, "clips_sha256": clips, "context": self.context}

    def page(self, folder: Path) -> str:
        """An HTML page for ``folder``: the table, and below it each clip's videos side by side."""
        tables = []
        for metric, columns in self._by_metric().items():
            names = [metric, *(name.partition(".")[2] for name in columns)]
            head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
            body = "".join(
                f"<tr><th>{html.escape(row.name)}</th>"
                + "".join(f"<td>{html.escape(_shown(row.cells.get(name)))}</td>" for name in columns)
                + "</tr>"
                for row in self.rows
                if any(name in row.cells for name in columns)
            )
            tables.append(f"<table><tr>{head}</tr>{body}</table>")
            tables.append(f"<p>{html.escape(self.labels.get(metric, ''))}</p>")
        notes = "".join(
            f"<p>{html.escape(part)}</p>"
            for part in [*self._warnings(), *self._failures(), self._made_with()]
        )
        return (
            f"<!doctype html><meta charset='utf-8'><title>Evaluation</title><style>{STYLE}</style>"
            f"{''.join(tables)}{notes}{self._videos(folder)}"
            f"<pre>{html.escape(published.markdown())}</pre>"
        )

    def _videos(self, folder: Path) -> str:
        by_job: dict[str, dict[str, Path]] = {}
        for row in self.rows:
            for files in row.clips:
                by_job.setdefault(files.group, {}).setdefault(row.name, files.video)  # a job's first sample
        names = [row.name for row in self.rows]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ["clip", *names])
        lines = []
        for job, videos in by_job.items():
            cells = "".join(f"<td>{_video(videos.get(name), folder)}</td>" for name in names)
            lines.append(f"<tr><th>{html.escape(job)}</th>{cells}</tr>")
        return f"<table><tr>{head}</tr>{''.join(lines)}</table>"

    def write(self, folder: Path) -> list[Path]:
        """table.md, table.json, table.html and clips.jsonl (a line per clip and metric) into ``folder``."""
        lines = [
            json.dumps(
                {"row": row.name, "metric": metric}
                | {
                    k: {n: _finite(x) for n, x in v.items()} if k == "values" else v
                    for k, v in asdict(score).items()
                },
                ensure_ascii=False,
                allow_nan=False,
            )
            for row in self.rows
            for metric, scores in row.scores.items()
            for score in scores
        ]
        texts = {
            "table.md": self.markdown(),
            "table.json": json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
            "table.html": self.page(folder),
            "clips.jsonl": "".join(line + "\n" for line in lines),
        }
        for name, text in texts.items():
            with atomic_path(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return [folder / name for name in texts]


def _video(path: Path | None, folder: Path) -> str:
    if path is None:
        return ""
    source = html.escape(os.path.relpath(path.resolve(), folder.resolve()), quote=True)
    return f"<video src='{source}' controls loop></video>"


def _hashes(identity: dict[str, Any]) -> dict[str, str]:
    """The hashes in a metric's identity, by key."""
    found: dict[str, str] = {}
    for key, value in identity.items():
        if isinstance(value, dict):
            found |= _hashes(value)
        elif isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
            found[key] = value
    return found


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _shown(cell: Cell | None) -> str:
    """A cell as the table shows it: mean [low, high] (scored/total)."""
    if cell is None or math.isnan(cell.mean):
        return "" if cell is None else f"not scored ({cell.scored}/{cell.total})"
    bounds = "" if math.isnan(cell.low) else f" [{_number(cell.low)}, {_number(cell.high)}]"
    return f"{_number(cell.mean)}{bounds} ({cell.scored}/{cell.total})"
