"""Shards: plain tar files of clips, as WebDataset reads them, whose clips a manifest also finds one by one.

A clip is the members ``KEY.json`` (its row of the manifest), ``KEY.mp4``, ``KEY.mask.mp4`` (where masks are
known), ``KEY.flac`` and ``KEY.signals.safetensors`` (where there are signals), one after the other. Members
of a tar lie there as they are, so a reader that knows a member's offset seeks straight to it, and one that
knows nothing reads all from the front.

A shard comes of many inputs. Each leaves a *fragment* when it is done, a tar of its clips with all its rows
behind them; when all are there they are joined into the shard and its table. So what a kill costs is the
input in hand, and the bytes of a shard depend on its inputs alone.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np

from vasa.checkpoint import atomic_path
from vasa.data.config import EncodeConfig
from vasa.data.manifest import KEPT, ManifestRow, from_json, read_about, to_json, write_rows
from vasa.data.members import check_lengths, encode_frames, encode_masks, encode_signals, encode_sound

ENDINGS = {"mp4": "mp4", "mask": "mask.mp4", "flac": "flac", "signals": "signals.safetensors"}
"""Members that the manifest knows the places of: the column's name, and how the member's name ends."""
ROWS = "rows.json"
"""The last member of a fragment."""
_KEY = re.compile(r"[A-Za-z0-9_-]{1,160}")


@dataclass(slots=True)
class Sample:
    """A clip as the bytes of its members, by column's name, and its row."""

    row: ManifestRow
    members: dict[str, bytes]


def make_sample(
    row: ManifestRow,
    frames: np.ndarray,
    sound: np.ndarray,
    signals: Mapping[str, np.ndarray],
    config: EncodeConfig,
    masks: np.ndarray | None = None,
) -> Sample:
    """Encodes a clip; sets frames and size in its row.

    frames: uint8 (T, S, S, 3). sound: float32 (T * 640,). signals: see members.SIGNALS; may be empty. masks:
    uint8 (T, S, S).
    """
    check_lengths(len(frames), len(sound), None if masks is None else len(masks))
    members = {"mp4": encode_frames(frames, config)}
    if masks is not None:
        members["mask"] = encode_masks(masks, config)
    members["flac"] = encode_sound(sound)
    if signals:
        members["signals"] = encode_signals(signals, len(frames))
    return Sample(replace(row, frames=len(frames), size=frames.shape[1]), members)


class FragmentWriter:
    """Writes what came of one input, whole or not at all.

        with FragmentWriter(path) as fragment:
            fragment.note(row)        # the input, and what was rejected of it
            fragment.add(sample)      # a clip: its row, too

    Rows keep the order in which they come. Leaving the block by an exception leaves no file behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[str] = []
        self._keys: set[str] = set()

    def __enter__(self) -> FragmentWriter:
        self._place = atomic_path(self.path)
        self._temporary = self._place.__enter__()
        try:
            self._tar = _open_tar(self._temporary)
        except BaseException as error:
            self._place.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def note(self, row: ManifestRow) -> None:
        """Adds a row without a clip."""
        self._rows.append(to_json(row))

    def add(self, sample: Sample) -> None:
        """Adds a clip and its row."""
        key = sample.row.id
        if not _KEY.fullmatch(key):
            raise ValueError(
                f"clip id is {key!r}; wanted 1 to 160 letters, digits, dashes and underscores: a point would "
                "end the key, and a slash make folders."
            )
        if key in self._keys:
            raise ValueError(f"clip id {key!r} comes twice in {self.path}; wanted ids that are unique.")
        self._keys.add(key)
        _add(self._tar, f"{key}.json", to_json(sample.row).encode())
        for name, data in sample.members.items():
            _add(self._tar, f"{key}.{ENDINGS[name]}", data)
        self.note(sample.row)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                _add(self._tar, ROWS, f"[{','.join(self._rows)}]".encode())
            self._tar.close()
        except BaseException as later:
            self._place.__exit__(type(later), later, later.__traceback__)
            raise
        self._place.__exit__(kind, error, trace)


def fragment_rows(path: Path) -> list[ManifestRow]:
    """All rows of a fragment, without places. Raises: ValueError where it is damaged."""
    with _reading(path) as tar:
        file = tar.extractfile(ROWS)
        assert file is not None
        return [from_json(json.dumps(values)) for values in json.load(file)]


def join_fragments(fragments: Sequence[Path], shard: Path) -> list[ManifestRow]:
    """Writes ``shard`` (name.tar) of fragments, in their order, and its table (name.parquet); returns rows.

    The table comes last: a shard is done when it is there (``is_done``). A shard without clips has no tar.
    Fragments stay; ``remove_fragments`` removes them. Raises: ValueError naming a damaged fragment.
    """
    rows = [row for path in fragments for row in fragment_rows(path)]
    kept = [row for row in rows if row.kind == "clip" and row.status == KEPT]
    num_bytes = 0
    if kept:
        with atomic_path(shard) as temporary:
            with _open_tar(temporary) as joined:
                for path in fragments:
                    _copy(path, joined)
            _set_places(kept, shard, temporary)
            num_bytes = temporary.stat().st_size
    else:
        shard.unlink(missing_ok=True)
    write_rows(shard.with_suffix(".parquet"), rows, {"tar_bytes": num_bytes})
    return rows


def _set_places(kept: list[ManifestRow], shard: Path, written: Path) -> None:
    """Sets the places of the clips of a shard in their rows, as the tar that was written has them."""
    places = member_places(written)
    if len(places) != len(kept):
        raise ValueError(f"{shard}: clips of several inputs have one id; wanted ids that are unique.")
    for row in kept:
        row.shard = f"{shard.parent.name}/{shard.name}"
        for column, value in places[row.id].items():
            setattr(row, column, value)


def _copy(path: Path, joined: tarfile.TarFile) -> None:
    with _reading(path) as tar:
        for member in tar:
            if member.name != ROWS:
                joined.addfile(member, tar.extractfile(member))


def remove_fragments(folder: Path) -> None:
    """Removes a folder of fragments, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def is_done(shard: Path) -> bool:
    """Whether a shard's table is there, and its tar of the length that the table knows."""
    try:
        num_bytes = read_about(shard.with_suffix(".parquet")).get("tar_bytes")
    except (FileNotFoundError, ValueError):
        return False
    return num_bytes == (shard.stat().st_size if shard.is_file() else 0)


def member_places(path: Path) -> dict[str, dict[str, int]]:
    """Per key of a tar: where the bytes of its members lie, as columns of the manifest."""
    columns = {ending: name for name, ending in ENDINGS.items()}
    places: dict[str, dict[str, int]] = {}
    with _reading(path) as tar:
        for member in tar:
            key, _, ending = member.name.partition(".")
            place = places.setdefault(key, {})
            if ending in columns:
                place[f"{columns[ending]}_offset"] = member.offset_data
                place[f"{columns[ending]}_length"] = member.size
    return places


def _open_tar(path: Path) -> tarfile.TarFile:
    return tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115


@contextmanager
def _reading(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:") as tar:
            yield tar
    except (tarfile.TarError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); delete it and run scripts/preprocess.py again."
        ) from error


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Adds a file that nobody owns, of no time."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
