"""The table of a data set: a row for every input that was looked at, and for every clip that was cut of it.

Preprocessing writes it, readers of clips choose from it. A Parquet file, so that a reader takes the columns
that it needs, of the rows that it needs, and any table tool opens it. A clip's row is also in its shard, as
JSON. Numbers that nobody measured are NaN, and null in JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vasa.checkpoint import atomic_path
from vasa.records import EMOTIONS

MANIFEST = "manifest.parquet"
KEPT = "kept"
KINDS = ("input", "clip")
ROWS_AT_ONCE = 100_000
"""Of a row group: what a reader that skips some holds in memory."""
_UNKNOWN = math.nan
_ABOUT = b"vasa"
MEMBERS = ("mp4", "mask", "flac", "signals")
PLACES = ("shard", *(f"{member}_{what}" for member in MEMBERS for what in ("offset", "length")))
"""Columns that say where in its shard a clip is: known once the shard is whole, so in no clip's JSON."""


@dataclass(kw_only=True, slots=True)
class ManifestRow:
    """An input (kind "input") or a clip that was cut of one.

    id: of a clip the key of its sample; of an input what its clips' ids begin with. source: the data set.
    file: the input, as its data set names it. status: "kept", or one word for why not, which reason says in
    a sentence. Of a clip that is kept, shard: the tar that holds it, relative to the manifest's folder, and
    where its members' bytes lie in it, a length of 0 for a member that is not there.

    frames: of `size` px at 25 per second. start_s, seconds: of a clip in its input; of an input 0 and its
    duration. fps, width, height (px): the input's. side_px: pixels of the input that the crop's side covers;
    below `size`, frames were enlarged. drift: how far the face moves from the crop's middle, in sides, ways
    up and down counting one and a half times. stability_px: how far a crop that followed each look would
    have moved; ours stands still. sync_offset_frames: by which the sound was moved.
    gaze_yaw, gaze_pitch (radians), distance, emotion (8,): the clip's conditions, as in records.py.
    """

    id: str
    kind: str
    source: str = ""
    file: str = ""
    speaker: str = ""
    split: str = ""
    status: str = KEPT
    reason: str = ""
    shard: str = ""
    mp4_offset: int = 0
    mp4_length: int = 0
    mask_offset: int = 0
    mask_length: int = 0
    flac_offset: int = 0
    flac_length: int = 0
    signals_offset: int = 0
    signals_length: int = 0
    frames: int = 0
    size: int = 0
    start_s: float = 0.0
    seconds: float = 0.0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    side_px: float = _UNKNOWN
    drift: float = _UNKNOWN
    stability_px: float = _UNKNOWN
    blur: float = _UNKNOWN
    brightness: float = _UNKNOWN
    yaw_range: float = _UNKNOWN
    pitch_range: float = _UNKNOWN
    iqa: float = _UNKNOWN
    sync_offset_frames: float = _UNKNOWN
    sync_confidence: float = _UNKNOWN
    gaze_yaw: float = _UNKNOWN
    gaze_pitch: float = _UNKNOWN
    distance: float = _UNKNOWN
    emotion: list[float] = field(default_factory=lambda: [_UNKNOWN] * len(EMOTIONS))

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"row {self.id}: kind is {self.kind!r}; wanted one of {', '.join(KINDS)}.")
        if len(self.emotion) != len(EMOTIONS):
            raise ValueError(f"row {self.id} has {len(self.emotion)} emotions; wanted {len(EMOTIONS)}.")


_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
COLUMNS = {
    f.name: _TYPES.get(str(f.type), pa.list_(pa.float64(), len(EMOTIONS))) for f in fields(ManifestRow)
}
"""Name and Parquet type of every column, in order."""


def to_plain(row: ManifestRow) -> dict[str, Any]:
    """A row as plain data; bytes of a file's name that are no text become ``\\xNN``."""
    values = {name: getattr(row, name) for name in COLUMNS}
    return {name: _text(value) if isinstance(value, str) else value for name, value in values.items()}


def _text(value: str) -> str:
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def to_json(row: ManifestRow) -> str:
    """A row without its places, as JSON; NaN is null. Raises: ValueError where a number is infinite."""
    values = {name: _null(value) for name, value in to_plain(row).items() if name not in PLACES}
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def from_json(text: str | bytes) -> ManifestRow:
    """The inverse of ``to_json``. Raises: ValueError where it is none."""
    try:
        values: dict[str, Any] = json.loads(text)
        values["emotion"] = [_UNKNOWN if value is None else value for value in values["emotion"]]
        values = {name: _UNKNOWN if value is None else value for name, value in values.items()}
        return ManifestRow(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is no row of a manifest ({error}): {text[:200]!r}") from error


def _null(value: Any) -> Any:
    if isinstance(value, list):
        return [_null(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def write_rows(path: Path, rows: Iterable[ManifestRow], about: Mapping[str, Any] | None = None) -> None:
    """Writes a table, whole or not at all. about: plain data that is kept with it."""
    plain = [to_plain(row) for row in rows]
    columns = [pa.array([row[name] for row in plain], kind) for name, kind in COLUMNS.items()]
    _write(path, [pa.table(columns, schema=_schema())], about)


def join_tables(path: Path, parts: Iterable[Path], about: Mapping[str, Any] | None = None) -> None:
    """Writes one table of the rows of many, in order; a part at a time is in memory."""
    _write(path, (read_table(part) for part in parts), about)


def _write(path: Path, tables: Iterable[pa.Table], about: Mapping[str, Any] | None) -> None:
    schema = _schema().with_metadata({_ABOUT: json.dumps(dict(about or {}), sort_keys=True).encode()})
    waiting: list[pa.Table] = []
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for table in tables:
            waiting.append(table.cast(_schema()))
            if sum(map(len, waiting)) >= ROWS_AT_ONCE:
                writer.write_table(pa.concat_tables(waiting).cast(schema), ROWS_AT_ONCE)
                waiting = []
        rest = pa.concat_tables(waiting or [_schema().empty_table()])
        writer.write_table(rest.cast(schema), ROWS_AT_ONCE)


def _schema() -> pa.Schema:
    return pa.schema(list(COLUMNS.items()))


def read_table(path: Path, columns: Sequence[str] | None = None, where: list | None = None) -> pa.Table:
    """Some columns (all if None) of some rows. where: conditions that all hold, as
    [("split", "==", "train")].

    Raises: FileNotFoundError; ValueError where the file is no manifest.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; name a folder that scripts/preprocess.py wrote, to the end, as its out=."
        )
    wanted = list(columns or COLUMNS)
    try:
        return pq.read_table(path, columns=wanted, filters=where, partitioning=None).select(wanted)
    except (pa.ArrowException, KeyError, OSError) as error:
        told = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path} is no manifest of this version, or is damaged ({told}); delete it and run "
            "scripts/preprocess.py again: it is written anew from the shards' own tables."
        ) from error


def read_rows(path: Path) -> list[ManifestRow]:
    """All rows. Raises: what ``read_table`` does."""
    return [ManifestRow(**values) for values in read_table(path).to_pylist()]


def read_about(path: Path) -> dict[str, Any]:
    """The plain data that a table was written with. Raises: what ``read_table`` does."""
    read_table(path, ["id"], [("id", "==", "")])
    return json.loads((pq.read_schema(path).metadata or {}).get(_ABOUT, b"{}"))


def kept_clips(path: Path, columns: Sequence[str], split: str | None = None) -> pa.Table:
    """Some columns of all clips that can be read, or of those of a split."""
    where = [("kind", "==", "clip"), ("status", "==", KEPT)]
    return read_table(path, columns, [*where, ("split", "==", split)] if split else where)
