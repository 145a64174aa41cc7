"""The table of clips on disk: one row for every video that was looked at, kept or not and why.

Preprocessing writes it, readers of clips choose from it. A CSV file, so that a spreadsheet opens it. Paths in
it are relative: ``file`` to the folder of videos, ``clip`` to the folder of the manifest.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath

from vasa.checkpoint import atomic_path

MANIFEST = "manifest.csv"
KEPT = "kept"
_KINDS = {"str": str, "int": int, "float": float}
_SPEAKER = re.compile(r"id\d{5}")


@dataclass(kw_only=True, slots=True)
class ClipRow:
    """One video. status: "kept", or why not, which reason says in words.

    width, height (px), fps, seconds: of the video. clip: its file, with `frames` frames of `size` px, of
    which `masks` have a mask: all or none. side_px: pixels of the video that the crop's side covers; below
    `size`, frames were enlarged. drift: how far the face moves from the crop's middle, in sides of the crop.
    """

    file: str
    speaker: str
    split: str = ""
    status: str = KEPT
    reason: str = ""
    clip: str = ""
    frames: int = 0
    size: int = 0
    masks: int = 0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    seconds: float = 0.0
    side_px: float = 0.0
    drift: float = 0.0


def speaker_of(file: str) -> str:
    """VoxCeleb2's id folder where a path has one, else the file itself: nobody knows who speaks in it."""
    return next((part for part in PurePosixPath(file).parts if _SPEAKER.fullmatch(part)), file)


def split_of(speaker: str, validation_share: float) -> str:
    """The split of a speaker, by a hash of the name: the same on every machine, whoever else is there."""
    number = int.from_bytes(hashlib.sha256(speaker.encode("utf-8", "surrogateescape")).digest()[:8], "big")
    return "validation" if number / 2**64 < validation_share else "train"


def write_manifest(path: Path, rows: Iterable[ClipRow]) -> None:
    """Writes the table, whole or not at all."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.DictWriter(file, [field.name for field in fields(ClipRow)], lineterminator="\n")
        table.writeheader()
        table.writerows(map(asdict, rows))


def read_manifest(path: Path) -> list[ClipRow]:
    """All rows. Raises: FileNotFoundError; ValueError naming the line that is no row."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; name a folder that scripts/preprocess.py wrote, as its out=."
        )
    rows = []
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.DictReader(file)
        for line in table:
            try:
                values = {field.name: _KINDS[str(field.type)](line[field.name]) for field in fields(ClipRow)}
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{path}, line {table.line_num}, is no row of a manifest ({error!r}); "
                    "run scripts/preprocess.py again."
                ) from error
            rows.append(ClipRow(**values))
    return rows
