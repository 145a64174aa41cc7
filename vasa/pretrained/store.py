"""Where files of frozen networks lie on this machine, whether they are what is listed, and how they come.

A file with a listed hash must have it. Any other is remembered by its hash at first use, in ``hashes.json``
of $VASA_CACHE (~/.cache/vasa): when the same file name holds other content later, that is an error.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from vasa.checkpoint import CheckpointError, atomic_path, load_weights
from vasa.pretrained.config import WeightsRun
from vasa.pretrained.registry import JUDGE_DIR, NETWORKS, FrozenNetwork
from vasa.pretrained.third_party import file_hash
from vasa.progress import Progress

TIMEOUT_S = 60
MEGABYTE = 1_000_000

_log = logging.getLogger(__name__)


def place_of(network: FrozenNetwork, judges: Path = JUDGE_DIR) -> Path | None:
    """Where the file is looked for: its publishers' usual cache. None: an option must name it."""
    if network.place == "judges":
        return judges / network.file
    if network.place == "torch":  # $TORCH_HOME/hub/checkpoints
        return Path(torch.hub.get_dir()) / "checkpoints" / network.file
    if network.place == "insightface":
        return Path("~/.insightface/models/buffalo_l").expanduser() / network.file
    if network.place == "published":
        return published_folder() / network.file
    if network.place == "hsemotion":
        return Path("~/.hsemotion").expanduser() / network.file
    if network.place == "huggingface":
        hub = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "hub"
        return hub / f"models--{network.source.split(' ')[0].split('/', 1)[1].replace('/', '--')}"
    return None


def published_folder() -> Path:
    """Where published systems' files are put and looked for: ``published`` in $VASA_CACHE (~/.cache/vasa)."""
    return Path(os.environ.get("VASA_CACHE", "~/.cache/vasa")).expanduser() / "published"


def check(path: Path) -> str:
    """Compares a file with what is listed or remembered of its name; says how that went, in a few words.

    Raises: CheckpointError when it is another file.
    """
    listed = next((n for n in NETWORKS.values() if n.file == path.name), None)
    if listed and listed.is_ours:
        load_weights(path)
        return "has its own hash"
    if path.is_dir():
        return "folder, not hashed"
    if listed and (listed.sha256 or listed.md5):
        _compare(path, listed)
        return f"as listed ({listed.hash_source})"
    return _remember(path)


def _compare(path: Path, listed: FrozenNetwork) -> None:
    """Raises: CheckpointError unless the file has the listed hash."""
    kind, wanted = ("SHA-256", listed.sha256) if listed.sha256 else ("MD5", listed.md5)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256" if listed.sha256 else "md5").hexdigest()
    if not found.startswith(wanted):
        raise CheckpointError(
            f"{path} is not {listed.name}: its {kind} begins with {found[: len(wanted)]}, "
            f"{wanted} is listed ({listed.hash_source}); get it again from {listed.source}."
        )


def hashes_file() -> Path:
    """Where hashes of files that none is listed for are remembered."""
    return Path(os.environ.get("VASA_CACHE", "~/.cache/vasa")).expanduser() / "hashes.json"


def remembered() -> dict[str, str]:
    """SHA-256 by file name. Raises: CheckpointError when they cannot be read."""
    path = hashes_file()
    if not path.is_file():
        return {}
    try:
        return {str(name): str(value) for name, value in json.loads(path.read_text("utf-8")).items()}
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged; delete it, and files are remembered anew.") from error


def _remember(path: Path) -> str:
    found, known = file_hash(path), remembered()
    before = known.get(path.name)
    if before is None:
        try:
            with atomic_path(hashes_file()) as temporary:
                temporary.write_text(json.dumps(known | {path.name: found}, indent=1), encoding="utf-8")
        except OSError as error:
            _log.warning("%s cannot be remembered in %s: %s.", path.name, hashes_file(), error.strerror)
            return "no hash listed, and none can be kept"
        _log.info("%s: no hash is listed; its SHA-256 %s is remembered from now on.", path.name, found)
        return "remembered from now on"
    if before != found:
        raise CheckpointError(
            f"{path} has changed: its SHA-256 is {found}, {before} was remembered; get it again, or delete "
            f"its line in {hashes_file()} if the change was meant."
        )
    return "as remembered"


def fetch(name: str, judges: Path = JUDGE_DIR) -> Path:
    """Downloads a network that has a direct address to where it is looked for, unless it is there.

    Under a temporary name, compared with the listed hash, then renamed. Raises: ValueError when there is no
    address; CheckpointError for another file; ConnectionError without a network.
    """
    network = NETWORKS[name]
    path = place_of(network, judges)
    if path is None or not network.url:
        train = f"run `python scripts/train_judges.py only=[{name}]`"
        cure = train if network.is_ours else f"get it from {network.source}"
        raise ValueError(f"{name} has no direct address; {cure}.")
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    url, _, member = network.url.partition("#")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, atomic_path(path) as temporary:
        loaded = Path(folder) / "archive" if member else temporary
        _log.info("%s: %s -> %s", name, url, path)
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as source, loaded.open("wb") as file:
                copy_download(source, file, network.file)
        except (urllib.error.URLError, TimeoutError) as error:
            reason = getattr(error, "reason", error)
            raise ConnectionError(
                f"{url} cannot be reached ({reason}); download it elsewhere and put {network.file} to "
                f"{path.parent}."
            ) from error
        if member:
            _unpack(loaded, member, temporary)
        if network.sha256 or network.md5:
            _compare(temporary, network)
    check(path)
    return path


def copy_download(source: Any, file: BinaryIO, name: str) -> None:
    """What an opened address gives, into a file; meanwhile how many MB of it are there."""
    told = source.headers.get("Content-Length")
    done = 0
    with Progress(f"MB of {name}", None if told is None else -(-int(told) // MEGABYTE)) as shown:
        while block := source.read(MEGABYTE):
            file.write(block)
            done += len(block)
            shown(-(-done // MEGABYTE))


def _unpack(archive: Path, member: str, path: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as files:
            name = next(n for n in files.namelist() if n.rsplit("/", 1)[-1] == member)
            with files.open(name) as source, path.open("wb") as file:
                shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, StopIteration) as error:
        raise CheckpointError(
            f"the archive that was fetched holds no {member}; look at its address."
        ) from error


def weights(run: WeightsRun) -> str:
    """Lists, verifies or fetches; gives what to show. Raises: as fetch and check, for all that is wrong."""
    names = run.names or [n for n in NETWORKS if run.action != "fetch"]
    unknown = [name for name in names if name not in NETWORKS]
    if unknown or not names:
        direct = [n.name for n in NETWORKS.values() if n.url]
        wanted = f"some of {', '.join(direct if run.action == 'fetch' else NETWORKS)}"
        raise ValueError(f"names={unknown or run.names} for action={run.action}; wanted {wanted}.")
    if run.action == "list":
        return table(names, run.judges)
    lines, wrong = [], []
    for name in names:
        path = place_of(NETWORKS[name], run.judges)
        if run.action == "fetch":
            path = fetch(name, run.judges)
        if path is None or not path.exists():
            lines.append(f"{name}: not in its usual place")
            continue
        try:
            lines.append(f"{name}: {path}: {check(path)}")
        except CheckpointError as error:
            wrong.append(str(error))
    if wrong:
        raise CheckpointError(" ".join(wrong))
    return "\n".join(lines) + "\n"


def table(names: list[str], judges: Path = JUDGE_DIR) -> str:
    """Markdown: of each its role, licence, place, whether it is there, and what is known of its hash."""
    lines = [
        "| name | role | needed by | licence | commercial use | looked for in | present | hash |",
        "|---" * 8 + "|",
    ]
    known = remembered()
    for name in names:
        n = NETWORKS[name]
        path = place_of(n, judges)
        if n.is_ours:
            state = "inside the file"
        elif n.sha256 or n.md5:
            state = f"{'sha256' if n.sha256 else 'md5'} {(n.sha256 or n.md5)[:8]}, from {n.hash_source}"
        else:
            state = f"remembered, {known[n.file][:8]}" if n.file in known else "none listed"
        where = str(path) if path else "an option names it"
        present = ("yes" if path.exists() else "no") if path else ""
        allowed = "yes" if n.commercial else "no"
        cells = (n.name, n.role, n.needed_by, n.licence, allowed, where, present, state)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
