"""What moved, under the sound: a picture of a motion's table (``motion_csv``)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vasa.audio import resample
from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME, VIDEO_FPS

Table = dict[str, np.ndarray]
PANELS = {
    "mouth": {"jaw": "jaw open", "lip_press": "lips pressed", "smile": "smile"},
    "head (degrees)": {"yaw": "yaw", "pitch": "pitch", "roll": "roll"},
    "eyes (degrees)": {"gaze_yaw": "gaze, sideways", "gaze_pitch": "gaze, up"},
}
"""Panel -> column of the table -> its name in the picture."""
COLOURS = ("#4f46e5", "#0d9488", "#d97706")
WIDTH_IN, DPI = 5.0, 216
"""The page shows it about 490 pixels wide: 9 points are 12 pixels there, as sharp on a screen of double
density."""
POINTS = 9


def loudness(waveform: np.ndarray, rate_hz: int, num_frames: int) -> np.ndarray:
    """(T,) root mean square of the sound under each frame, over the loudest frame's."""
    samples = resample(np.asarray(waveform, np.float32), rate_hz, AUDIO_HZ)
    samples = np.resize(np.pad(samples, (0, num_frames * SAMPLES_PER_FRAME)), num_frames * SAMPLES_PER_FRAME)
    levels = np.sqrt(np.square(samples.reshape(num_frames, -1)).mean(1))
    return levels / max(float(levels.max()), 1e-6)


def read_table(path: Path) -> Table:
    """Columns of a ``.motion.csv`` by name, (T,) each."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    numbers = np.array(rows[1:], dtype=np.float64)
    return {name: numbers[:, place] for place, name in enumerate(rows[0])}


def draw(path: Path, table: Table, levels: np.ndarray | None) -> None:
    """Writes the picture: a panel for mouth, head and eyes, each over the sound's loudness."""
    shown = {title: names for title, names in PANELS.items() if set(names) & set(table)}
    figure = Figure(figsize=(WIDTH_IN, 1.3 * len(shown) + 0.4), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
    for axes, (title, names) in zip(panels, shown.items(), strict=True):
        _panel(axes, title, names, table, levels)
    panels[-1].set_xlabel("seconds", fontsize=POINTS)
    figure.savefig(path)


def _panel(axes: Axes, title: str, names: dict[str, str], table: Table, levels: np.ndarray | None) -> None:
    if levels is not None:
        behind = axes.twinx()
        behind.fill_between(np.arange(len(levels)) / VIDEO_FPS, levels, color="#e2e8f0", label="loudness")
        behind.set_ylim(0, 1)
        behind.set_axis_off()
        axes.set_zorder(behind.get_zorder() + 1)
    axes.set_facecolor("none")
    for colour, (name, label) in zip(COLOURS, names.items(), strict=False):
        if name in table:
            axes.plot(table["time"], table[name], color=colour, label=label, linewidth=1.4)
    axes.set_title(title, fontsize=POINTS, fontweight="bold", loc="left")
    axes.tick_params(labelsize=POINTS)
    axes.locator_params(axis="y", nbins=4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(  # above the panel: no curve runs there
        loc="lower right",
        bbox_to_anchor=(1, 1),
        borderaxespad=0.1,
        fontsize=POINTS,
        frameon=False,
        ncols=3,
        handlelength=1.1,
        columnspacing=1.0,
    )
    axes.margins(x=0)
