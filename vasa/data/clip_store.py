"""Clips of a folder that scripts/preprocess.py wrote, one by one, in any order.

The index is a few columns of the manifest: about 100 bytes a clip. A clip's members are read where they lie
in their shard, and of a video no more than the frames that are wanted need. Files are closed again after each
reading, so memory does not grow with the number of shards.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from vasa.data.manifest import MANIFEST, PLACES, kept_clips
from vasa.data.members import decode_frames, decode_masks, decode_signals, decode_sound
from vasa.data.shards import ENDINGS
from vasa.records import Clip

CONDITIONS = ("gaze_yaw", "gaze_pitch", "distance", "emotion")
_Value = TypeVar("_Value")


class ClipStore:
    """The kept clips of a folder, or of one of its splits, in the manifest's order: that of the shards.

    num_frames, size (N,) int32; side_px (N,) float32; speaker (N,) int32, numbers into speaker_names, sorted.
    """

    def __init__(self, root: Path, split: str | None = None) -> None:
        """Raises: FileNotFoundError, ValueError where the manifest is missing or is none."""
        self.root, self.split = root, split
        names = ["id", "speaker", "frames", "size", "side_px", *PLACES]
        table = kept_clips(root / MANIFEST, names, split)
        self._ids = table["id"].combine_chunks()
        self._shards, self._shard_names = _numbered(table["shard"])
        self.speaker, self.speaker_names = _numbered(table["speaker"])
        self.num_frames = table["frames"].to_numpy().astype(np.int32)
        self.size = table["size"].to_numpy().astype(np.int32)
        self.side_px = table["side_px"].to_numpy().astype(np.float32)
        self._places = {name: table[name].to_numpy() for name in PLACES if name != "shard"}

    def __len__(self) -> int:
        return len(self._ids)

    def clip_id(self, clip: int) -> str:
        return self._ids[clip].as_py()

    def numbers(self, ids: Sequence[str]) -> np.ndarray:
        """Which clips these are (len(ids),). Raises: ValueError naming one that is not here."""
        found = pc.index_in(pa.array(ids, pa.string()), self._ids).to_numpy(zero_copy_only=False)
        if np.isnan(found).any():
            unknown = ids[int(np.flatnonzero(np.isnan(found))[0])]
            raise ValueError(f"{self.root / MANIFEST} has no kept clip {unknown!r}{self._where()}.")
        return found.astype(np.int64)

    def _where(self) -> str:
        return f" in the {self.split} split" if self.split else ""

    def has(self, member: str) -> np.ndarray:
        """Which clips (N,) have a member: mp4, mask, flac or signals."""
        return self._places[f"{member}_length"] > 0

    def frames(self, clip: int, indices: Sequence[int]) -> np.ndarray:
        """Frames of a clip: uint8 (len(indices), S, S, 3)."""
        return self._read(clip, "mp4", lambda file: decode_frames(file, indices))

    def masks(self, clip: int, indices: Sequence[int]) -> np.ndarray:
        """Who is foreground in frames of a clip: uint8 (len(indices), S, S), 255 on the person."""
        return self._read(clip, "mask", lambda file: decode_masks(file, indices))

    def sound(self, clip: int) -> np.ndarray:
        """float32 (T * 640,)."""
        return self._read(clip, "flac", decode_sound)

    def signals(self, clip: int) -> dict[str, np.ndarray]:
        """What was measured in each frame, (T, ...) float32, as members.SIGNALS names it, and identity."""
        return self._read(clip, "signals", lambda file: decode_signals(file.read()))

    def landmarks(self, clip: int, indices: Sequence[int]) -> np.ndarray:
        """Landmarks in frames of a clip: float32 (len(indices), 68, 2), image coordinates."""
        return self.signals(clip)["landmarks"][list(indices)]

    def read(self, clip: int) -> Clip:
        """A whole clip with its conditions; identity and voice are the speaker's number."""
        gaze, distance, emotion = (_known(values[clip]) for values in self._conditions)
        speaker = int(self.speaker[clip])
        return Clip(
            clip_id=self.clip_id(clip),
            audio=self.sound(clip),
            frames=self.frames(clip, range(int(self.num_frames[clip]))),
            gaze=gaze,
            distance=None if distance is None else distance[0],
            emotion=emotion,
            identity=speaker,
            voice=speaker,
        )

    @cached_property
    def _conditions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """gaze (N, 2), distance (N, 1), emotion (N, 8), NaN where unknown: read when first wanted."""
        table = kept_clips(self.root / MANIFEST, CONDITIONS, self.split)
        yaw, pitch, distance = (table[name].to_numpy() for name in CONDITIONS[:3])
        emotion = table["emotion"].combine_chunks().flatten().to_numpy().reshape(len(self), -1)
        return np.stack([yaw, pitch], 1), distance[:, None], emotion

    def _read(self, clip: int, member: str, decode: Callable[[Region], _Value]) -> _Value:
        """Raises: ValueError naming shard, clip and cure where the bytes are not what the manifest says."""
        offset, length = (int(self._places[f"{member}_{what}"][clip]) for what in ("offset", "length"))
        name = f"{self.clip_id(clip)}.{ENDINGS[member]}"
        if not length:
            raise ValueError(f"clip {self.clip_id(clip)} of {self.root / MANIFEST} has no {member}.")
        path = self.root / self._shard_names[self._shards[clip]]
        try:
            with path.open("rb", buffering=0) as shard:
                _check_name(shard, offset, name, length)
                return decode(Region(shard, offset, length))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path}: {name} cannot be read ({error}); delete this shard and run scripts/preprocess.py "
                "again with the options it was made with: it makes what is missing."
            ) from error


class Region(io.RawIOBase):
    """Some bytes of an open file, as a file of their own."""

    def __init__(self, file: io.FileIO, offset: int, length: int) -> None:
        self._file, self._offset, self._length, self._at = file, offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        self._at = place + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(self._length - self._at, 0))
        self._file.seek(self._offset + self._at)
        done = self._file.readinto(memoryview(buffer)[:wanted]) or 0
        self._at += done
        return done


def _check_name(shard: io.FileIO, offset: int, name: str, length: int) -> None:
    """Raises: ValueError unless the member's own header stands before its bytes."""
    shard.seek(max(offset - tarfile.BLOCKSIZE, 0))
    try:
        found = tarfile.TarInfo.frombuf(shard.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise ValueError(f"no member begins at byte {offset}: {error}") from error
    if (found.name, found.size) != (name[: tarfile.LENGTH_NAME], length):
        raise ValueError(f"at byte {offset} is {found.name} of {found.size} bytes, wanted {length}")


def _numbered(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """Strings (N,) -> numbers (N,) int32 into their sorted names."""
    coded = column.combine_chunks().dictionary_encode()
    names = np.array(coded.dictionary.to_pylist(), object)
    order = np.argsort(names)
    rank = np.empty(len(names), np.int32)
    rank[order] = np.arange(len(names), dtype=np.int32)
    return rank[coded.indices.to_numpy()], names[order].tolist()


def _known(values: np.ndarray) -> torch.Tensor | None:
    return None if np.isnan(values).any() else torch.from_numpy(values.astype(np.float32))
