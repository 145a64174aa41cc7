"""A table of measured numbers, each with its target and its judge's own ceiling, as Markdown and as JSON."""

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


COLUMNS = ("number", "measured", "must reach", "reached", "judge on true frames", "note")


@dataclass(slots=True)
class Table:
    """Rows, and what the numbers were measured on."""

    rows: list[Row]
    context: dict[str, Any]

    def markdown(self) -> str:
        """The rows as a table."""
        lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        lines += ["| " + " | ".join(cells(row).values()) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path, stem: str) -> tuple[Path, Path]:
        """Writes <stem>.json (`rows` as shown, `values` as numbers, `context`) and <stem>.md into folder."""
        values = [{**asdict(row), "value": _finite(row.value), "met": row.met} for row in self.rows]
        data = {"rows": [cells(row) for row in self.rows], "values": values, "context": self.context}
        text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
        paths = folder / f"{stem}.json", folder / f"{stem}.md"
        for path, content in zip(paths, (text + "\n", self.markdown()), strict=True):
            with atomic_path(path) as temporary:
                temporary.write_text(content, encoding="utf-8")
        return paths


def cells(row: Row) -> dict[str, str]:
    """A row as the table shows it, by column."""
    bound = "" if row.target is None else f"{_number(row.target)} {row.unit}".strip()
    value = "not measured" if row.value is None else f"{_number(row.value)} {row.unit}".strip()
    reached = {True: "yes", False: "**no**", None: ""}[row.met]
    shown = (row.name, value, f"at most {bound}" if row.at_most else bound, reached, row.ceiling, row.note)
    return dict(zip(COLUMNS, shown, strict=True))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
