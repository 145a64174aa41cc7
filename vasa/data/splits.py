"""Who is trained on, validated on and tested on: by speaker, so that nobody is in two splits.

A speaker's split is a function of the name and a seed, the same on every machine, whoever else is there; but
whom the data set itself puts into its test stays there. Splits and the list of evaluation clips are also
written as text, a name a line, for other programs.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa

from vasa.checkpoint import atomic_path
from vasa.data.config import SPLITS, SplitConfig
from vasa.data.manifest import MANIFEST, kept_clips

EVALUATION = "evaluation"
_log = logging.getLogger(__name__)


def assign_splits(speakers: Iterable[tuple[str, str]], config: SplitConfig) -> dict[str, str]:
    """(speaker, official split or "") of every input -> split of every speaker.

    Official "test" holds for all inputs of a speaker. Where a data set has a test of its own, test_share
    should stay 0: its other speakers are for training and validation.
    """
    is_tested: dict[str, bool] = {}
    for speaker, official in speakers:
        is_tested[speaker] = is_tested.get(speaker, False) or official == "test"
    return {name: "test" if tested else _drawn(name, config) for name, tested in sorted(is_tested.items())}


def _drawn(speaker: str, config: SplitConfig) -> str:
    number = _fraction(config.seed, speaker)
    if number < config.validation_share:
        return "validation"
    return "test" if number >= 1 - config.test_share else "train"


def _fraction(seed: int, name: str) -> float:
    """A number from 0 to 1 that looks random: a hash of the seed and the name."""
    text = f"{seed}:{name}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") / 2**64


def evaluation_clips(clips: pa.Table, config: SplitConfig) -> list[str]:
    """Ids of the clips that a table of numbers is made on, sorted: `test_clips` of each of `test_speakers`.

    clips: columns id, speaker and seconds of the test split. Speakers with enough clips of the right length
    come before those with fewer; among them, and among their clips, a seeded hash chooses, so that more
    clips change little. Where there are fewer the list is shorter, and the log says so.
    """
    found: dict[str, list[str]] = {}
    for clip in clips.to_pylist():
        if config.min_seconds <= clip["seconds"] <= config.max_seconds:
            found.setdefault(clip["speaker"], []).append(clip["id"])

    def by_hash(name: str) -> tuple[float, str]:
        return _fraction(config.seed, name), name

    def rank(speaker: str) -> tuple[int, float, str]:
        return -min(len(found[speaker]), config.test_clips), *by_hash(speaker)

    speakers = sorted(found, key=rank)[: config.test_speakers]
    drawn = [sorted(found[speaker], key=by_hash)[: config.test_clips] for speaker in speakers]
    ids = sorted(clip for clips_of in drawn for clip in clips_of)
    if len(ids) < config.test_speakers * config.test_clips:
        _log.warning(
            "The evaluation list has %d clips of %d speakers; wanted %d of each of %d: the test split has no "
            "more of %g to %g s.",
            len(ids), len(speakers), config.test_clips, config.test_speakers, config.min_seconds,
            config.max_seconds,
        )  # fmt: skip
    return ids


def write_splits(root: Path, splits: Mapping[str, str], config: SplitConfig) -> None:
    """Writes ``splits/<split>.txt``, speakers of ``assign_splits``, and ``splits/evaluation.txt``, clip ids,
    beside a finished manifest.
    """
    for split in SPLITS:
        names = sorted(name for name, where in splits.items() if where == split)
        write_list(root / "splits" / f"{split}.txt", names)
    tested = kept_clips(root / MANIFEST, ["id", "speaker", "seconds"], "test")
    drawn = evaluation_clips(tested, config) if "test" in splits.values() else []
    write_list(root / "splits" / f"{EVALUATION}.txt", drawn)


def write_list(path: Path, names: Iterable[str]) -> None:
    """Writes names, one a line. What is no text in a name becomes ``\\xNN``, as in the manifest."""
    with atomic_path(path) as temporary:
        text = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
        temporary.write_bytes(text.decode("utf-8", "backslashreplace").encode())


def read_list(path: Path) -> list[str]:
    """Names of a text file, one a line. Raises: FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; scripts/preprocess.py writes it when all is done.")
    return path.read_text(encoding="utf-8").splitlines()
