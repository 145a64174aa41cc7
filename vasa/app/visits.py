"""Visits: each has one folder of its own, which goes when the visit ends; and what of it may be fetched.

Uploads arrive in a folder of gradio's, by the hash of their content. A visit copies what it uses into its own
folder under a plain name, and the upload goes with the last visit that used it. No other path is opened.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

LONGEST_NAME = 60
ADDRESS = re.compile(r"\d{1,9}/[\w-]{1,120}(\.[\w-]{1,20}){0,3}")
"""A file in one of a visit's folders: no dots in front, no way up."""

LIVE_PORTRAIT = "live-portrait"
"""The place where it is chosen who talks live."""


def plain_name(name: str) -> str:
    """A file name that is only a name: letters, digits, ``_``, ``-`` and one ending, of bounded length."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    stem, dot, ending = base.rpartition(".")
    if not stem:
        stem, dot, ending = base.strip("."), "", ""
    ending = re.sub(r"[^A-Za-z0-9]", "", ending)[:8]
    stem = re.sub(r"[^\w-]+", "_", stem).strip("_-")[:LONGEST_NAME] or "file"
    return f"{stem}.{ending.lower()}" if dot and ending else stem


@dataclass(slots=True, eq=False)
class Visit:
    """What one visitor has here. token: the secret part of its addresses. stopped: set to end what it makes.
    used: uploads of this visit. own: of the page itself, which stay. live_portrait: who talks live. chosen,
    faults: what was chosen last, and what is wrong with it, by the place on the page.
    """

    key: str
    folder: Path
    uploads: Path
    token: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    stopped: threading.Event = field(default_factory=threading.Event)
    ended: bool = False
    seen_s: float = field(default_factory=time.monotonic)
    used: set[Path] = field(default_factory=set)
    own: frozenset[Path] = frozenset()
    live_portrait: Path | None = None
    chosen: dict[str, str | None] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def take(self, upload: str | Path, bytes_at_most: float) -> Path:
        """A copy, in this visit's folder, of a file that gradio put into its folder of uploads.

        Raises: ValueError for any other path, and for a file that is too large; FileNotFoundError.
        """
        path = Path(upload).resolve()
        if not path.is_relative_to(self.uploads.resolve()):
            raise ValueError("That is no uploaded file; upload it on the page.")
        if not path.is_file():
            raise FileNotFoundError("The uploaded file is gone; upload it again.")
        if path.stat().st_size > bytes_at_most:
            raise ValueError(
                f"{plain_name(path.name)} has {path.stat().st_size / 1e6:.1f} MB; wanted at most "
                f"{bytes_at_most / 1e6:g} MB."
            )
        if path not in self.own:
            self.used.add(path)
        taken = self.new_folder() / plain_name(path.name)
        shutil.copyfile(path, taken)
        return taken

    def new_folder(self) -> Path:
        """An empty folder in the visit's own, so that names never meet."""
        if self.ended:
            raise ValueError("This visit has ended; load the page again.")
        self._count += 1
        folder = self.folder / str(self._count)
        folder.mkdir(parents=True)
        return folder

    def address(self, file: Path) -> str:
        """Where the browser fetches a file of this visit."""
        return f"/visit/{self.token}/{file.relative_to(self.folder).as_posix()}"

    def plain(self, text: str) -> str:
        """A sentence without the folders of this machine."""
        for folder in (self.folder, self.folder.resolve(), self.uploads):
            text = re.sub(re.escape(str(folder)) + r"/(?:[0-9a-f]+/)?", "", text)
        return text


class Visits:
    """All visits of a running page, in one temporary folder. Close it, and nothing is left."""

    def __init__(self, most: int, idle_s: float, root: Path | None = None) -> None:
        self.root = root or Path(tempfile.mkdtemp(prefix="vasa-page-"))
        self.uploads = self.root / "uploads"
        self.uploads.mkdir(parents=True, exist_ok=True)
        self._most, self._idle_s, self._lock = most, idle_s, threading.RLock()
        self._visits: dict[str, Visit] = {}
        self._own: frozenset[Path] = frozenset()

    def keep_uploads(self) -> None:
        """What lies among the uploads now is the page's own and stays: its portraits."""
        self._own = frozenset(path.resolve() for path in self.uploads.rglob("*") if path.is_file())

    def __len__(self) -> int:
        return len(self._visits)

    def of(self, key: str) -> Visit:
        """The visit of a browser's session, begun where there is none. Idle ones end for it."""
        with self._lock:
            visit = self._visits.get(key)
            if visit is None:
                self._make_room()
                visit = Visit(key, self.root / secrets.token_hex(8), self.uploads, own=self._own)
                visit.folder.mkdir()
                self._visits[key] = visit
            visit.seen_s = time.monotonic()
            return visit

    def by_token(self, token: str) -> Visit | None:
        """The visit that an address belongs to."""
        with self._lock:
            found = [
                v for v in self._visits.values() if secrets.compare_digest(v.token.encode(), token.encode())
            ]
        for visit in found:
            visit.seen_s = time.monotonic()
        return found[0] if found else None

    def file(self, token: str, name: str) -> Path | None:
        """A file of a visit by its address; None where there is none, or it lies elsewhere."""
        visit = self.by_token(token)
        if visit is None or not ADDRESS.fullmatch(name):
            return None
        path = (visit.folder / name).resolve()
        return path if path.is_relative_to(visit.folder.resolve()) and path.is_file() else None

    def end(self, key: str) -> None:
        """Stops what a visit makes, and removes all its files and the uploads that nobody else uses."""
        with self._lock:
            visit = self._visits.pop(key, None)
            if visit is None:
                return
            visit.ended = True
            visit.stopped.set()
            others = set().union(*(other.used for other in self._visits.values()))
            for upload in visit.used - others:
                shutil.rmtree(upload.parent, ignore_errors=True)
        shutil.rmtree(visit.folder, ignore_errors=True)

    def close(self) -> None:
        """Ends all visits and removes the folder of all."""
        for key in list(self._visits):
            self.end(key)
        shutil.rmtree(self.root, ignore_errors=True)

    def _make_room(self) -> None:
        now = time.monotonic()
        by_age = sorted(self._visits.values(), key=lambda visit: visit.seen_s)
        surplus = len(by_age) + 1 - self._most
        for number, visit in enumerate(by_age):
            if number < surplus or now - visit.seen_s > self._idle_s:
                self.end(visit.key)
