"""Numbers that papers printed, for a block of their own beside a measured table. Never mixed with ours.

From VASA-1 (arXiv 2404.10667v1, tables of section 4): their test lists, SyncNet set-up and CAPP network are
not public, so only the order of methods within their table says anything.
"""

from __future__ import annotations

VASA1_COLUMNS = ("S_C", "S_D", "CAPP", "delta P", "FVD_25")

Rows = dict[str, tuple[float | None, ...]]

VASA1_VOXCELEB2: Rows = {
    "real video": (7.640, 7.189, 0.588, 0.505, None),
    "VASA-1": (8.841, 6.312, 0.468, 0.304, None),
    "SadTalker": (5.843, 8.813, 0.441, 0.275, None),
    "Audio2Head": (6.172, 8.470, 0.246, 0.260, None),
    "MakeItTalk": (4.176, 15.513, -0.051, 0.210, None),
}

VASA1_ONEMIN32: Rows = {
    "real video": (7.192, 7.254, 0.559, 0.405, 29.245),
    "VASA-1": (7.957, 6.635, 0.465, 0.316, 105.884),
    "SadTalker": (5.501, 8.850, 0.383, 0.252, 214.507),
    "Audio2Head": (5.992, 8.211, 0.205, 0.239, 209.772),
    "MakeItTalk": (-0.123, 14.340, 0.002, 0.190, 304.833),
}

BLOCKS: dict[str, Rows] = {
    "VASA-1, VoxCeleb2 (46 people x 10 clips)": VASA1_VOXCELEB2,
    "VASA-1, OneMin-32": VASA1_ONEMIN32,
}


def markdown() -> str:
    """Both tables as Markdown, marked as published."""
    parts = []
    for title, rows in BLOCKS.items():
        head = f"Published: {title}. Other lists and networks than above: compare within this block only.\n"
        lines = ["| method | " + " | ".join(VASA1_COLUMNS) + " |", "|" + "---|" * (len(VASA1_COLUMNS) + 1)]
        for name, values in rows.items():
            shown = ["" if value is None else f"{value:g}" for value in values]
            lines.append(f"| {name} | " + " | ".join(shown) + " |")
        parts.append(head + "\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)
