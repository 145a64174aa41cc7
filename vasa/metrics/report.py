"""A table of measured numbers, each with its target and its judge's own ceiling, as markdown and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vasa.checkpoint import atomic_path


@dataclass(slots=True, kw_only=True)
class Row:
    """One measured number.

    target: what it must reach; at_most says that smaller is better. ceiling: the same measured on true
    frames, in words or a number. note: why it is missing (then value is None) or how it was measured.
    """

    name: str
    value: float | None
    unit: str = ""
    target: float | None = None
    at_most: bool = False
    ceiling: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is no target or no value."""
        if self.value is None or self.target is None:
            return None
        if math.isnan(self.value):
            return False
        return self.value <= self.target if self.at_most else self.value >= self.target


@dataclass(slots=True)
class Table:
    """Rows under a title, with what the numbers were measured on."""

    title: str
    rows: list[Row]
    context: dict[str, Any]

    def markdown(self) -> str:
        lines = [
            "| "
            + " | ".join(("", "measured", "must reach", "reached", "judge on true frames", "note"))
            + " |"
        ]
        lines.append("|---|---|---|---|---|---|")
        for row in self.rows:
            bound = (
                ""
                if row.target is None
                else f"{'at most ' if row.at_most else ''}{_number(row.target)} {row.unit}"
            )
            reached = {True: "yes", False: "**no**", None: ""}[row.met]
            value = "not measured" if row.value is None else f"{_number(row.value)} {row.unit}"
            cells = (row.name, value.strip(), bound.strip(), reached, row.ceiling, row.note)
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"

    def write(self, folder: Path, stem: str) -> tuple[Path, Path]:
        """Writes <stem>.json and <stem>.md into folder."""
        rows = [{**asdict(row), "met": row.met} for row in self.rows]
        for row in rows:
            if isinstance(row["value"], float) and not math.isfinite(row["value"]):
                row["value"] = None
        data = {"title": self.title, "context": self.context, "rows": rows}
        paths = folder / f"{stem}.json", folder / f"{stem}.md"
        for path, text in zip(
            paths, (json.dumps(data, indent=1, ensure_ascii=False), self.markdown()), strict=True
        ):
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return paths


def _number(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
