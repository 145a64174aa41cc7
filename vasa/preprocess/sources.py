"""Which videos a data set holds: an entry for each, with its speaker, official split and sound file.

Knows how trees are laid out and nothing of what is in the files: a dangling link or a text named .mp4 is an
entry too, and gets its row in the manifest. Entries are sorted by id, and an id depends on the file's own
path only, so that another file in the tree changes no other's id.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from vasa.preprocess.config import SourceConfig

VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".flv", ".ts", ".wmv"}
SOUND_SUFFIXES = (".wav", ".flac", ".m4a", ".aac", ".mp3", ".ogg", ".opus")
MAX_ID = 80
"""Characters of an id; the manifest and shards add a segment's number. Longer ones are cut, with a hash."""

_PLAIN = re.compile(r"[A-Za-z0-9_]+")
_SPEAKER = re.compile(r"id\d{5}")


@dataclass(slots=True)
class Input:
    """One video of a data set.

    id: unique, of letters, digits, "_" and "-". root, path: the data set's folder and the file's path in it,
    as the file system has it. speaker, split: as the data set says ("dev", "test" or ""). sound_in_aac:
    whether a sound file of its own would lie under aac/, as VoxCeleb2's do, instead of beside the video.
    """

    id: str
    root: str
    path: str
    speaker: str
    split: str = ""
    sound_in_aac: bool = False

    @property
    def video(self) -> Path:
        return Path(self.root, self.path)

    @property
    def sound(self) -> Path | None:
        """The sound file that belongs to the video, where there is one; else the video's own track counts."""
        places = [self.video.with_suffix(suffix) for suffix in SOUND_SUFFIXES]
        if self.sound_in_aac:
            *above, folder, speaker, session, name = self.video.parts
            assert folder == "mp4", "as _voxceleb2 found it"
            aac = Path(*above, "aac", speaker, session, name)
            places = [aac.with_suffix(suffix) for suffix in (".m4a", ".wav", ".aac")]
        return next((place for place in places if place.is_file()), None)

    @property
    def file(self) -> str:
        """``path`` as text that any table can hold."""
        return as_text(self.path)


def find_inputs(config: SourceConfig) -> list[Input]:
    """All videos of a data set, sorted by id.

    Raises: FileNotFoundError where ``config.root`` is no folder; ValueError where it holds no video.
    """
    root = Path(config.root)
    if not root.is_dir():
        raise FileNotFoundError(f"data.root={root} is no folder; give the one that holds the videos.")
    describe = _LAYOUTS[config.layout]
    described = (describe(config, os.path.abspath(root), path) for path in _videos(root))  # noqa: PTH100
    inputs = sorted(described, key=lambda item: (item.id, item.path))
    if not inputs:
        raise ValueError(
            f"data.root={root} holds no video; wanted files ending in {', '.join(sorted(VIDEO_SUFFIXES))}."
        )
    for one, other in pairwise(inputs):
        if one.id == other.id:
            raise ValueError(
                f"data.root={root}: {one.file} and {other.file} are both {one.id}; keep one of them, or give "
                "a folder that holds one."
            )
    return inputs


def _videos(root: Path) -> Iterator[str]:
    """Relative paths ("/" between parts) of all that is named as a video and is no folder. Linked folders are
    entered, each once, so that a link to a folder above ends. Raises: OSError where a folder cannot be read:
    else its videos would be missing without a word."""

    def complain(error: OSError) -> None:
        raise error

    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, onerror=complain, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        start = os.path.relpath(folder, root)
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES and not name.startswith("."):  # noqa: PTH122
                yield name if start == "." else PurePosixPath(Path(start, name).as_posix()).as_posix()


def _voxceleb2(config: SourceConfig, root: str, path: str) -> Input:
    """dev/mp4/id00012/21Uxsk56VDQ/00001.mp4, its sound in dev/aac/id00012/21Uxsk56VDQ/00001.m4a; so test/.

    Also below any of its folders, whose names count, or with the sound in the videos. A file elsewhere is a
    speaker of its own.
    """
    parts, below = PurePosixPath(root, path).parts, len(PurePosixPath(root).parts)
    nearest = min(below, len(parts) - 3)  # the data set's own folder may be a speaker's, and hardly one above
    places = [n for n, part in enumerate(parts) if _SPEAKER.fullmatch(part) and n >= nearest]
    if not places:
        return _folder(config, root, path)
    (place, *_), is_whole = places, len(parts) == places[0] + 3
    split = next((part for part in reversed(parts[place - 2 : place]) if part in ("dev", "test")), "")
    sounds = is_whole and parts[place - 1] == "mp4"
    speaker = parts[place]
    named = is_whole and re.fullmatch(r"[\w-]{11}", parts[place + 1], re.ASCII)
    if named and re.fullmatch(r"\d{5}\.mp4", parts[place + 2], re.ASCII):
        return Input("-".join(parts[place:])[: -len(".mp4")], root, path, speaker, split, sounds)
    return Input(input_id(path), root, path, speaker, split, sounds)


def _folder(config: SourceConfig, root: str, path: str) -> Input:
    """Any tree. A sound file of the same name beside a video is that video's sound."""
    pure = PurePosixPath(path)
    depth = min(config.speaker_depth, len(pure.parts) - 1)
    speaker = "-".join(pure.parts[:depth]) if depth else str(pure.with_suffix(""))
    return Input(input_id(path), root, path, as_text(speaker))


def _long(config: SourceConfig, root: str, path: str) -> Input:
    """As any tree; but where no folder says who speaks, WDA_AdamSchiff_0 and _1 are one speaker (HDTF)."""
    item = _folder(config, root, path)
    if not config.speaker_depth:
        item.speaker = re.sub(r"_\d+$", "", item.speaker)
    return item


def as_text(name: str) -> str:
    """A name of the file system on one line of text; bytes that are no UTF-8 are written out."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


_LAYOUTS: dict[str, Callable[[SourceConfig, str, str], Input]] = {
    "voxceleb2": _voxceleb2,
    "folder": _folder,
    "long": _long,
}


def input_id(path: str) -> str:
    """A path as a name that any file system and any shard can hold.

    What is not plain is replaced, and then a hash of the whole path keeps the name unique: so does every name
    but those of ASCII words in folders of such, with the suffix .mp4.
    """
    stem, suffix = os.path.splitext(path)  # noqa: PTH122
    parts = stem.split("/")
    name = "-".join(re.sub(r"[^A-Za-z0-9_]+", "_", part) for part in parts)
    if suffix == ".mp4" and len(name) <= MAX_ID and all(_PLAIN.fullmatch(part) for part in parts):
        return name
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
    return f"{name[: MAX_ID - len(digest) - 1]}-{digest}"
