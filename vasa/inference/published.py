"""LivePortrait's and JoyVASA's published files -> one checkpoint folder that infer.py takes.

Each file is read once, as data: what it names is never run. What infer.py loads afterwards are safetensors.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vasa.checkpoint import CheckpointError, atomic_path, versions
from vasa.face.keypoints.networks import KIND, PUBLISHED, KeypointNetworks
from vasa.inference.bundle_files import (
    BUNDLE_FILE,
    BUNDLE_FORMAT,
    CARD_FILE,
    FACE_FILE,
    MOTION_FILE,
    STUDENT_FILE,
)
from vasa.inference.config import PublishedRun
from vasa.inference.system_trial import try_system
from vasa.motion.joyvasa_files import load_published
from vasa.pretrained.registry import NETWORKS, FrozenNetwork
from vasa.pretrained.store import copy_download, place_of, published_folder
from vasa.pretrained.systems import OPTIONAL, parts_of
from vasa.pretrained.third_party import read_torch_file

TIMEOUT_S = 60
_log = logging.getLogger(__name__)


def published(run: PublishedRun) -> str:
    """Lists, verifies, fetches or bundles a system's files, or tries what was bundled; gives what to show.

    Raises: FileNotFoundError listing all that is missing and where to put it; CheckpointError;
    ConnectionError.
    """
    parts = parts_of(run.system, run.species)
    if run.action == "try":
        return try_system(run)
    folder = run.folder or published_folder()
    if run.action == "fetch":
        for part in parts.values():
            _fetch(part, folder / part.file)
    if run.action in ("list", "fetch"):
        return table(parts, folder) + optional_rows(run.species)
    _check_all_there(parts, folder)
    say = verified if run.action == "verify" else _told
    lines, wrong = [], []
    for part in parts.values():
        try:
            lines.append(f"{part.name}: {folder / part.file}: {say(part, folder / part.file)}")
        except CheckpointError as error:
            wrong.append(str(error))
    if wrong:
        raise CheckpointError("\n".join([*wrong, *lines]))
    if run.action == "bundle":
        lines.append(f"Bundled into {bundle_published(run, parts, folder)}.")
    return "\n".join(lines) + "\n"


def table(parts: Mapping[str, FrozenNetwork], folder: Path) -> str:
    """Markdown: of every file its licence, where it is published and looked for, whether it is there."""
    lines = ["| file | licence | published at | looked for in | present |", "|---" * 5 + "|"]
    for part in parts.values():
        path = folder / part.file
        present = "yes" if path.is_file() else "no"
        lines.append(f"| {part.file} | {part.licence} | {part.url} | {path} | {present} |")
    return "\n".join(lines) + "\n"


def optional_rows(species: str) -> str:
    """Rows of the same table for what a system does without: where infer.py looks for it."""
    lines = []
    for name in OPTIONAL[species]:
        part, path = NETWORKS[name], place_of(NETWORKS[name])
        present = "yes" if path is not None and path.is_file() else "no, optional"
        lines.append(f"| {part.file} | {part.licence} | {part.url} | {path} | {present} |")
    return "".join(line + "\n" for line in lines)


def verified(part: FrozenNetwork, path: Path) -> str:
    """The hash of a file beside what is listed. Raises: CheckpointError where it is another."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not part.sha256:
        return f"SHA-256 {found[:16]}, none is listed to compare it with"
    if found != part.sha256:
        raise CheckpointError(
            f"{path} is not {part.name}: its SHA-256 is {found}, {part.sha256} is listed "
            f"({part.hash_source}); get it again from {part.source}."
        )
    return f"as listed ({part.hash_source})"


def _told(part: FrozenNetwork, path: Path) -> str:
    """As ``verified``, but another file than the listed one is only told: one was published anew before, and
    whatever a file holds is read as data.
    """
    try:
        return verified(part, path)
    except CheckpointError as error:
        _log.warning("%s", error)
        return "not the listed one"


def _check_all_there(parts: Mapping[str, FrozenNetwork], folder: Path) -> None:
    missing = [part for part in parts.values() if not (folder / part.file).is_file()]
    if missing:
        sources = dict.fromkeys(part.source for part in missing)
        raise FileNotFoundError(
            f"{len(missing)} of {len(parts)} files are missing in {folder}: "
            f"{', '.join(part.file for part in missing)}; download them from {' and '.join(sources)} and "
            "put them there under these names (action=fetch does so where there is internet), or name "
            "another folder=."
        )


def _fetch(part: FrozenNetwork, path: Path) -> None:
    """Downloads a file to its place, unless it is there. Raises: ConnectionError, CheckpointError."""
    if path.is_file():
        return
    _log.info("%s -> %s", part.url, path)
    with atomic_path(path) as temporary:
        try:
            with urllib.request.urlopen(part.url, timeout=TIMEOUT_S) as source, temporary.open("wb") as file:
                copy_download(source, file, part.file)
                told = source.headers.get("Content-Length")
            if told is not None and int(told) != temporary.stat().st_size:
                raise ConnectionError(f"it ended after {temporary.stat().st_size} of {told} bytes")
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = getattr(error, "reason", error)
            raise ConnectionError(
                f"{part.url} cannot be downloaded ({reason}); get it elsewhere and put it to {path}."
            ) from error
        _told(part, temporary)


def bundle_published(run: PublishedRun, parts: Mapping[str, FrozenNetwork], folder: Path) -> Path:
    """Writes ``run.output``: complete or untouched. Raises: CheckpointError of a file that does not fit."""
    networks = KeypointNetworks.empty(run.species, run.narrow)
    for name in PUBLISHED:
        path = folder / parts[name].file
        content = read_torch_file(path, parts[name].name)
        if not isinstance(content, Mapping):
            raise CheckpointError(f"{path} holds a {type(content).__name__}; wanted a state dict.")
        networks.load_published(name, content, f"{parts[name].name} from {path}")
    run.output.mkdir(parents=True, exist_ok=True)
    meta = {"system": run.system, "sources": {name: part.source for name, part in parts.items()}}
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=run.output) as temporary:
        made = Path(temporary)
        facts: dict[str, Any] = {"format": BUNDLE_FORMAT, "space": KIND, "system": run.system}
        facts |= {"species": run.species, "face_sha256": networks.save(made / FACE_FILE, meta)}
        files = [FACE_FILE]
        if run.system == "joyvasa":
            motion = load_published(
                folder / parts["speech_to_motion"].file, folder / parts["template"].file, run.position
            )
            facts["motion_sha256"] = motion.save(made / MOTION_FILE, meta)
            files.append(MOTION_FILE)
        facts["versions"] = versions()
        (made / BUNDLE_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (made / CARD_FILE).write_text(_card(run, parts), encoding="utf-8")
        for file in (*files, CARD_FILE, BUNDLE_FILE):
            (made / file).replace(run.output / file)
    for file in {MOTION_FILE, STUDENT_FILE}.difference(files):  # of what was bundled there before
        (run.output / file).unlink(missing_ok=True)
    return run.output


def _card(run: PublishedRun, parts: Mapping[str, FrozenNetwork]) -> str:
    what = "LivePortrait's face space" + (" and JoyVASA's motion model" if run.system == "joyvasa" else "")
    lines = [
        f"# {what}, for {run.species}s",
        "",
        "Made by `scripts/weights.py` from published files; this project trained none of them.",
        "",
        "| file | published at | licence |",
        "|---|---|---|",
        *(f"| {part.file} | {part.source} | {part.licence} |" for part in parts.values()),
        "",
        "Do not animate a person without their consent, and do not pass the result off as a recording.",
        "",
    ]
    return "\n".join(lines)
