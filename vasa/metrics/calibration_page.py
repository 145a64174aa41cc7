"""The calibration report: one page that says which metric sees which fault, with plots; and a Markdown table.

The page needs no other file. Nothing is measured or decided here.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vasa.checkpoint import atomic_path
from vasa.data.synthetic.faults import FAULTS
from vasa.metrics.calibration import FOLLOWS, LARGEST, SEES, Calibration, Response

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE = (
    "body{font-family:sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:3px 7px;text-align:right;font-weight:normal}"
    "th{text-align:left;background:#f4f4f4}td.sees{font-weight:bold}thead th{vertical-align:bottom}"
    "img{max-width:100%}pre{overflow-x:auto}"
)
STRONG = 3.0
"""Effect at which a cell of the table has its full colour."""
COLUMNS = 4
"""Plots beside each other."""
LINE, NEUTRAL = "#1f5a96", "#999999"


def write_report(calibration: Calibration, folder: Path) -> list[Path]:
    """calibration.html, calibration.md and calibration.json into ``folder``."""
    content = json.dumps(calibration.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    texts = {
        "calibration.html": page(calibration),
        "calibration.md": markdown(calibration),
        "calibration.json": content,
    }
    for name, text in texts.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def explanation() -> str:
    """How to read a cell."""
    return (
        "A cell is the change of a number at the worst dose of a fault, in spreads between clips (their "
        "standard deviation, median over all rows; for numbers of sets: the distance between halves of the "
        "faultless set). It stands out where the metric "
        f"sees the fault: the change is at least {SEES:g}, its 95 % interval leaves out 0, and within clips "
        f"the number follows the dose towards it (Spearman's r at least {FOLLOWS:g}). n/N: only so many "
        "clips could be scored there; -: not measured."
    )


def markdown(calibration: Calibration) -> str:
    """The table, what each fault is and who sees it, what the metrics are."""
    head = "| number | " + " | ".join(calibration.faults) + " |"
    lines = [head, "|---|" + "---|" * len(calibration.faults)]
    for column in calibration.columns:
        cells = [calibration.of(fault, column) for fault in calibration.faults]
        shown = [f"**{effect_text(cell)}**" if cell.sees else effect_text(cell) for cell in cells]
        lines.append(f"| {column} | " + " | ".join(shown) + " |")
    faults = [
        f"- {fault}: {_fault_text(fault)}. {seen_by(calibration, fault)}" for fault in calibration.faults
    ]
    labels = [f"- {name}: {label}" for name, label in calibration.labels.items()]
    parts = [lines, [explanation()], faults, [still_text(calibration)], labels]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def effect_text(response: Response) -> str:
    """The effect with its sign; how many clips were scored where not all were."""
    point = next(point for point in response.points if point.dose == response.worst)
    coverage = f" {point.scored}/{point.total}" if point.scored < point.total else ""
    if not math.isfinite(response.effect):
        return coverage.strip() or "-"
    if abs(response.effect) >= LARGEST:
        return f"{'>' if response.effect > 0 else '<-'}{LARGEST:.0f}{coverage}"
    if response.effect == 0:
        return f"0{coverage}"
    return f"{response.effect:+.1f}{coverage}"


def seen_by(calibration: Calibration, fault: str) -> str:
    """Numbers that see a fault, by falling effect."""
    seen = _seeing(calibration, fault)
    names = ", ".join(f"{r.column} ({effect_text(r)})" for r in seen)
    return f"Seen by {names}." if seen else "Seen by no number."


def still_text(calibration: Calibration) -> str:
    names = ", ".join(calibration.still)
    return f"Moved by no fault at any dose: {names}." if names else "Every number is moved by some fault."


def _fault_text(fault: str) -> str:
    return f"{FAULTS[fault].text} ({FAULTS[fault].unit})"


def _seeing(calibration: Calibration, fault: str) -> list[Response]:
    found = [r for r in calibration.responses if r.fault == fault and r.sees]
    return sorted(found, key=lambda r: -abs(r.effect))


def page(calibration: Calibration) -> str:
    """The whole page as HTML."""
    labels = "".join(
        f"<li>{html.escape(name)}: {html.escape(label)}</li>" for name, label in calibration.labels.items()
    )
    context = json.dumps(calibration.as_dict()["context"], indent=1, ensure_ascii=False)
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Calibration</title>"
        f"<style>{STYLE}</style><h1>Which metric sees which fault</h1>"
        f"<p>{html.escape(explanation())}</p>{_matrix(calibration)}"
        f"<p>{html.escape(still_text(calibration))}</p>"
        + "".join(_section(calibration, fault) for fault in calibration.faults)
        + f"<h2>Metrics</h2><ul>{labels}</ul><details><summary>Measured with</summary>"
        f"<pre>{html.escape(context)}</pre></details></html>\n"
    )


def _matrix(calibration: Calibration) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ["number", *calibration.faults])
    lines = []
    for column in calibration.columns:
        cells = "".join(_cell(calibration.of(fault, column)) for fault in calibration.faults)
        lines.append(f"<tr><th>{html.escape(column)}</th>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead>{''.join(lines)}</table>"


def _cell(response: Response) -> str:
    """Blue where the number rises with the fault, red where it falls; details when pointed at."""
    effect = response.effect if math.isfinite(response.effect) else 0.0
    strength = 0.75 * min(abs(effect) / STRONG, 1.0)
    colour = "40,100,200" if effect > 0 else "210,70,50"
    hint = (
        f"at {response.worst:g}: {_number(response.change)} [{_number(response.low)}, "
        f"{_number(response.high)}]; r towards it {_number(response.along)}, with all doses "
        f"{_number(response.with_dose)}"
    )
    kind = "sees" if response.sees else "blind"
    return (
        f"<td class='{kind}' style='background:rgba({colour},{strength:.2f})' "
        f"title='{html.escape(hint, quote=True)}'>{html.escape(effect_text(response))}</td>"
    )


def _section(calibration: Calibration, fault: str) -> str:
    """A fault: what it is, who sees it, and the course of every number that does."""
    seen = _seeing(calibration, fault)
    drawn = ""
    if seen:
        encoded = base64.b64encode(plots(seen)).decode()
        drawn = f"<img alt='responses to {fault}' src='data:image/svg+xml;base64,{encoded}'>"
    return (
        f"<h2>{html.escape(fault)}</h2><p>{html.escape(_fault_text(fault))}. "
        f"{html.escape(seen_by(calibration, fault))}</p>{drawn}"
    )


def plots(responses: list[Response]) -> bytes:
    """SVG: a plot each of a number over the doses of one fault, with 95 % intervals; dashed: faultless."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = -(-len(responses) // COLUMNS)
    options: Any = {"svg.fonttype": "none", "svg.hashsalt": "calibration", "font.size": 8}
    with matplotlib.rc_context(options):
        figure = Figure(figsize=(3.0 * COLUMNS, 2.2 * rows), layout="constrained")
        axes = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
        for place, response in zip(axes[: len(responses)], responses, strict=True):
            _plot(place, response)
        for place in axes[len(responses) :]:
            place.set_axis_off()
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue()


def _plot(axes: Axes, response: Response) -> None:
    fault, points = FAULTS[response.fault], response.points
    doses = [point.dose for point in points]
    neutral = next(point.mean for point in points if point.dose == fault.neutral)
    axes.axhline(neutral, color=NEUTRAL, linewidth=0.8, linestyle="--")
    axes.fill_between(doses, [p.low for p in points], [p.high for p in points], color=LINE, alpha=0.2)
    axes.plot(doses, [point.mean for point in points], color=LINE, marker="o", markersize=3)
    axes.set_title(f"{response.column}  {effect_text(response)}", fontsize=8)
    axes.set_xlabel(fault.unit)


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"
