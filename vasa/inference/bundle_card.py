"""The model card of a checkpoint folder, in Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vasa.checkpoint import Weights
from vasa.inference.bundle_files import STUDENT_FILE


def results_of(path: Path | None) -> list[dict[str, Any]]:
    """Measured numbers: a JSON list of rows, each a flat object; all rows have the keys of the first."""
    if path is None:
        return []
    if not path.is_file():
        raise FileNotFoundError(
            f"results {str(path)!r} does not exist; measure them first, or leave the option out."
        )
    rows = json.loads(path.read_text(encoding="utf-8"))
    rows = rows.get("rows", []) if isinstance(rows, dict) else rows
    if not rows or any(not isinstance(row, dict) or row.keys() != rows[0].keys() for row in rows):
        raise ValueError(
            f"results {str(path)!r} is not a table; wanted a JSON list of objects with the same keys."
        )
    return rows


def card(
    face: Weights,
    motion: Weights,
    facts: dict[str, Any],
    results: list[dict[str, Any]],
    notes: str = "",
    student: Weights | None = None,
) -> str:
    """The model card, in Markdown: what it is, what it saw, how long, its numbers, what it must not be used
    for.
    """
    lines = [
        "# A talking face checkpoint",
        "",
        "Made by `scripts/bundle.py` from a face space (stage 1) and a motion model (stage 2) of this "
        "project.",
        "",
        "| | face | motion |",
        "|---|---|---|",
        *(
            f"| {key} | {shown(face.meta.get(key))} | {shown(motion.meta.get(key))} |"
            for key in sorted({*face.meta, *motion.meta})
        ),
        f"| parameters | {_parameters(face)} | {_parameters(motion)} |",
        f"| SHA-256 of the content | `{facts['face_sha256'][:16]}` | `{facts['motion_sha256'][:16]}` |",
        "",
        f"Stored in half precision, {facts['megabytes']} MB in all. Speech is heard through: "
        f"{shown(facts['speech'])}.",
        "",
        *(_of_student(student) if student else []),
        *([notes, ""] if notes else []),
        "## Numbers",
        "",
    ]
    lines += numbers(results)
    lines += ["", "## Use", "", *_USE, ""]
    return "\n".join(lines)


def numbers(results: list[dict[str, Any]]) -> list[str]:
    """Measured numbers as the lines of a table."""
    if not results:
        return ["None were measured when this was bundled."]
    names = list(results[0])
    rows = ["| " + " | ".join(shown(row[name]) for name in names) + " |" for row in results]
    return ["| " + " | ".join(names) + " |", "|" + "---|" * len(names), *rows]


_USE = (
    "Trained on procedurally drawn heads and synthetic speech only; no recording of a person was used. "
    "Photographs are animated",
    "approximately: best within about 15 degrees of the picture's own pose. Videos carry a note in their "
    "metadata that they are",
    "synthetic. Do not animate a person without their consent, and do not pass the result off as a "
    "recording.",
)


def _of_student(student: Weights) -> list[str]:
    sampler = student.config["motion"]["sampler"]
    return [
        f"`{STUDENT_FILE}` is the motion model's student: {sampler['steps']} evaluations a window, in which "
        f"its teacher's guidance ({shown(sampler['guidance'])}) is contained; {student.meta.get('steps')} "
        "steps of training. `fast=true` uses it.",
        "",
    ]


def _parameters(weights: Weights) -> str:
    return f"{sum(tensor.numel() for tensor in weights.tensors.values()) / 1e6:.2f} M"


def shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(item)}" for key, item in value.items() if item is not None)
    return str(value).replace("|", "\\|")
