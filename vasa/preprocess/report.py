"""One page about a data set as preprocessing left it: what became of every input, of what kind the clips are.

Counts by reason, histograms of what was measured, pictures of clips that were kept, and, where the raw videos
are at hand, of what was rejected. The page needs no other file. Nothing is measured or decided here.
"""

from __future__ import annotations

import base64
import html
import io
import logging
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from vasa.checkpoint import atomic_path
from vasa.data.clip_store import ClipStore
from vasa.data.manifest import KEPT, MANIFEST, ManifestRow, read_about, read_table
from vasa.preprocess.config import ReportDataRun
from vasa.preprocess.shard_work import ODD
from vasa.records import EMOTIONS
from vasa.video import VideoReader

STYLE = (
    "body{font-family:sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:3px 7px;text-align:right}th{background:#f4f4f4}td.t{text-align:left}"
    "figure{display:inline-block;margin:4px;vertical-align:top;width:132px;font-size:11px;overflow:hidden;"
    "overflow-wrap:anywhere}img{max-width:100%}"
)
MEASURED = {
    "seconds": "length of a clip, s",
    "side_px": "pixels of the video that a crop covers",
    "drift": "the face's farthest way from the crop's middle, sides",
    "stability_px": "how far a crop that followed each look would move, px; ours is still",
    "blur": "sharpness",
    "brightness": "brightness",
    "iqa": "perceived quality",
    "yaw_range": "range of the head's turns, degrees",
    "pitch_range": "range of its nods, degrees",
    "gaze_yaw": "main gaze to the viewer's right, degrees",
    "gaze_pitch": "main gaze up, degrees",
    "distance": "head distance, 1: the crop rule's framing",
    "sync_offset_frames": "offset of the sound that was corrected, frames",
    "sync_confidence": "confidence of lips and sound being in step",
}
"""Columns of the manifest that get a histogram where they are known."""
DEGREES = ("gaze_yaw", "gaze_pitch")
THUMBNAIL = 128
_log = logging.getLogger(__name__)


def report_data(run: ReportDataRun) -> Path:
    """Writes ``report.html`` beside the manifest, or where ``run.output`` says.

    Raises: FileNotFoundError, ValueError where ``run.data`` holds no manifest.
    """
    rows = read_table(run.data / MANIFEST)
    inputs, clips = (rows.filter(pc.field("kind") == kind) for kind in ("input", "clip"))
    kept = clips.filter(pc.field("status") == KEPT)
    good, hours = _count(inputs), (pc.sum(kept["seconds"]).as_py() or 0) / 3600
    parts = [
        f"<p>{len(inputs)} inputs = {good} kept + {len(inputs) - good} rejected; "
        f"{len(clips)} stretches of them = {len(kept)} kept + {len(clips) - len(kept)} rejected: "
        f"{hours:.2f} hours of {pc.count_distinct(kept['speaker']).as_py()} speakers.</p>",
        _reasons("Inputs", inputs),
        _reasons("Stretches", clips),
        _splits(kept),
        f"<h2>What was measured of kept clips</h2>{_plots(kept)}",
        f"<h2>Kept clips</h2>{_kept_pictures(run, kept)}",
        f"<h2>Rejected</h2>{_rejected_pictures(run, rows.filter(pc.field('status') != KEPT))}",
        f"<h2>How it was made</h2><pre>{html.escape(_about(run.data / MANIFEST))}</pre>",
    ]
    output = run.output or run.data / "report.html"
    head = f"<!doctype html><meta charset='utf-8'><title>{html.escape(run.data.name)}</title>"
    with atomic_path(output) as temporary:
        text = f"{head}<style>{STYLE}</style><h1>{html.escape(run.data.name)}</h1>{''.join(parts)}\n"
        temporary.write_text(text, encoding="utf-8")
    _log.info("%s", output)
    return output


def _count(rows: pa.Table) -> int:
    return pc.sum(pc.equal(rows["status"], KEPT)).as_py() or 0


def _about(path: Path) -> str:
    return "\n".join(f"{key}: {value}" for key, value in sorted(read_about(path).items()))


def _table(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    titles = "".join(f"<th>{html.escape(title)}</th>" for title in head)
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=t' if isinstance(v, str) else ''}>{html.escape(str(v))}</td>" for v in line)
        + "</tr>"
        for line in lines
    )
    return f"<table><tr>{titles}</tr>{body}</table>"


def _reasons(title: str, rows: pa.Table) -> str:
    """How many rows have which status, and the reason of one of each."""
    counts = Counter(rows["status"].to_pylist())
    lines = []
    for status, number in counts.most_common():
        example = rows["reason"][pc.index(rows["status"], status).as_py()].as_py()
        lines.append((status, number, f"{number / len(rows):.1%}", example))
    return f"<h2>{title}</h2>" + _table(("status", "number", "share", "as in"), lines)


def _splits(kept: pa.Table) -> str:
    parts = [("speaker", "count_distinct"), ("id", "count"), ("seconds", "sum")]
    found = kept.group_by("split").aggregate(parts).sort_by("split").to_pylist()
    lines = [
        (one["split"], one["speaker_count_distinct"], one["id_count"], f"{one['seconds_sum'] / 3600:.2f}")
        for one in found
    ]
    return "<h2>Splits</h2>" + _table(("split", "speakers", "clips", "hours"), lines)


def _plots(kept: pa.Table) -> str:
    """Histograms of what is known, and the mean emotion, as one picture."""
    import matplotlib.pyplot as plt

    columns = {name: _known(kept[name].to_numpy()) for name in MEASURED}
    columns = {
        name: np.degrees(values) if name in DEGREES else values
        for name, values in columns.items()
        if len(values)
    }
    if not columns:
        return "<p>Nothing.</p>"
    emotion = kept["emotion"].combine_chunks().flatten().to_numpy().reshape(-1, len(EMOTIONS))
    shown = len(columns) + bool(np.isfinite(emotion).any())
    figure, axes = plt.subplots(
        math.ceil(shown / 3), 3, figsize=(12, 2.6 * math.ceil(shown / 3)), squeeze=False
    )
    for axis in axes.flat[shown:]:
        axis.set_axis_off()
    for axis, (name, values) in zip(axes.flat[: len(columns)], columns.items(), strict=True):
        axis.hist(values, bins=40, color="#1f5a96")
        axis.set_title(f"{MEASURED[name]} (median {np.median(values):.3g})", fontsize=8)
    if shown > len(columns):
        axis = axes.flat[len(columns)]
        axis.bar(EMOTIONS, np.nanmean(emotion, 0), color="#1f5a96")
        axis.set_title("mean emotion", fontsize=8)
        axis.tick_params("x", rotation=60)
    buffer = io.BytesIO()
    figure.tight_layout()
    figure.savefig(buffer, format="png", dpi=90)
    plt.close(figure)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    words = html.escape("; ".join(MEASURED[name] for name in columns))
    return f"<img alt='Histograms: {words}' src='data:image/png;base64,{encoded}'>"


def _known(values: np.ndarray) -> np.ndarray:
    found = values.astype(np.float64)
    return found[np.isfinite(found)]


def _sampled(rows: pa.Table, run: ReportDataRun) -> list[ManifestRow]:
    """Some rows, the same each time."""
    order = np.random.default_rng(run.seed).permutation(len(rows))[: run.pictures]
    return [ManifestRow(**values) for values in rows.take(np.sort(order)).to_pylist()]


def _kept_pictures(run: ReportDataRun, kept: pa.Table) -> str:
    """First, middle and last frame of some clips: what a crop keeps, and whether it stays."""
    store, figures = ClipStore(run.data), []
    chosen = _sampled(kept, run)
    for row, clip in zip(chosen, store.numbers([row.id for row in chosen]), strict=True):
        frames = store.frames(int(clip), (0, row.frames // 2, row.frames - 1))
        words = f"{row.id}: {row.seconds:.1f} s, side {row.side_px:.0f} px, drift {row.drift:.2f}"
        figures.append(_figure(np.concatenate(list(frames)), words))
    return "".join(figures) or "<p>None.</p>"


def _rejected_pictures(run: ReportDataRun, rejected: pa.Table) -> str:
    """A frame of some rejected stretches and inputs, with the reason; only the reason where there is none."""
    figures = []
    for row in _sampled(rejected, run):
        # those may do to this process what they did to theirs
        safe = run.root if row.status not in ODD else None
        picture = _first_frame(safe / row.file, row.start_s) if safe else None
        figures.append(_figure(picture, f"{row.id}: {row.status}. {row.reason}"))
    return "".join(figures) or "<p>Nothing.</p>"


def _first_frame(path: Path, start_s: float) -> np.ndarray | None:
    try:
        reader = VideoReader(path)
        first = int(np.searchsorted(reader.times_s, start_s).clip(0, len(reader) - 1))
        return next(iter(reader.at(np.array([first]))))
    except (OSError, ValueError):
        return None


def _figure(picture: np.ndarray | None, words: str) -> str:
    shown = ""
    if picture is not None:
        image = Image.fromarray(picture)
        image.thumbnail((THUMBNAIL, 3 * THUMBNAIL))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=85)
        shown = f"<img src='data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"
    return f"<figure>{shown}<figcaption>{html.escape(words)}</figcaption></figure>"
