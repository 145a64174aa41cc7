"""Where a video comes from, written beside it and into it: who made it, from what, and which pictures and
sound that is true of.

The claim stands twice: in the file's own texts (tag ``description``, which a remux keeps) and, with names,
settings and times, in ``<video>.provenance.json``. Both hold hashes of the decoded pictures and of the coded
sound; the sidecar also that of the whole file. Nothing is signed: it tells a copy from an altered video, and
proves nothing against somebody who rewrites both. The file's own texts hold hashes of the inputs and never
their names: a published video tells nobody what the user's pictures are called.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vasa.checkpoint import atomic_path, plain, versions
from vasa.inference.config import InferRun
from vasa.inference.jobs import CLIP_FILES, Job, video_columns
from vasa.options import options
from vasa.video import SYNTHETIC_NOTE, Content

ENDING = ".provenance.json"
TAG = "description"
CARD = "INTENDED_USE.md"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's word for media that a trained model generated; others look for it."""
OF_MODEL = ("face_sha256", "motion_sha256", "person_sha256", "landmarks")
"""What is known of a checkpoint that a video depends on."""

CARD_TEXT = f"""# Intended use

Every video in this folder is synthetic: a model made it from a portrait and a sound. {SYNTHETIC_NOTE}

* Animate yourself, and people who have agreed to it and to the words. Consent to a photograph is no consent
  to a video; that of a child is its parents' to give, that of a dead person their family's.
* Say that it is generated wherever you show it. Each file says so too: in its own texts and in the
  `{ENDING}` beside it, with the hashes of what it was made from. Leave both where they are;
  `scripts/verify.py video=FILE` reads and checks them.
* Not for deceiving anybody, impersonation, harassment, proof of identity, or news.
* What the model was trained on, and what it cannot do, is in the README.md of its checkpoint folder.
"""


@dataclass(slots=True)
class Claim:
    """What is known of a video before it is made.

    model: name and hashes of the checkpoint, and which landmarks frame faces. inputs: option -> {name,
    sha256} of each file that goes in, or of what was made in its place. options: those that differ from their
    defaults, files by name alone. asked: what a row of a list asks beyond options. content: of the finished
    video, once it is known.
    """

    model: dict[str, Any]
    seed: int
    inputs: dict[str, dict[str, Any]]
    options: dict[str, Any]
    asked: dict[str, Any] = field(default_factory=dict)
    content: Content | None = None

    @staticmethod
    def of(
        config: InferRun,
        job: Job,
        folder: Path,
        checkpoint: Mapping[str, Any],
        picture: np.ndarray | None = None,
        waveform: np.ndarray | None = None,
    ) -> Claim:
        """The claim of one run. folder: of the job's own files. picture, waveform: what was made where no
        image and no audio is given; None: not known, as before it is made.
        """
        hashes = {name: checkpoint[name] for name in OF_MODEL if name in checkpoint}
        model = {"name": Path(str(checkpoint.get("folder", "unnamed"))).name, **hashes}
        inputs = {
            name: {"name": path.name, "sha256": file_hash(path)}
            for name, path in input_files(config, job, folder)
        }
        for name, given, made in (("image", config.image, picture), ("audio", config.audio, waveform)):
            if given is None and made is not None:
                digest = hashlib.sha256(np.ascontiguousarray(made).tobytes()).hexdigest()
                is_own = name == "image" and "person_sha256" in model
                kind = "the portrait in the checkpoint" if is_own else "synthetic"
                inputs[name] = {"made": kind, "sha256": digest}
        asked = {name: Path(v).name if name in CLIP_FILES else v for name, v in job.asked.items()}
        return Claim(model, config.seed, inputs, changed_options(config), asked)

    def tags(self, content: Content) -> dict[str, str]:
        """Texts for the file itself, once its pictures and its sound are known."""
        self.content = content
        text = {
            **self._head(),
            "model": self.model,
            "seed": self.seed,
            "inputs_sha256": {name: known["sha256"] for name, known in self.inputs.items()},
            "options": {name: v for name, v in self.options.items() if not _is_file(name)},
            **self._bound(),
        }
        return {TAG: json.dumps(text, ensure_ascii=False, separators=(",", ":"))}

    def sidecar(self, video: Path) -> dict[str, Any]:
        """What stands beside the finished video."""
        return {
            **self._head(),
            "video": {"name": video.name, "sha256": file_hash(video), **self._bound()},
            "model": self.model,
            "seed": self.seed,
            "inputs": self.inputs,
            "request": self.request(),
        }

    def request(self) -> dict[str, Any]:
        """What the video depends on: when this is the same, so is the video, and need not be made again."""
        hashes = {name: known["sha256"] for name, known in self.inputs.items() if "name" in known}
        return {"options": self.options, "asked": self.asked, "inputs": hashes, "model": self.model}

    def _head(self) -> dict[str, Any]:
        return {
            "note": SYNTHETIC_NOTE,
            "ai_generated": True,
            "digital_source_type": SOURCE_TYPE,
            "made_with": f"vasa {versions_once()['vasa']}",
        }

    def _bound(self) -> dict[str, Any]:
        assert self.content is not None, "the video is written before it is described"
        content = self.content
        return {"pictures_sha256": content.pictures_sha256, "sound_sha256": content.sound_sha256}


@functools.cache
def versions_once() -> dict[str, str]:
    """``versions``, asked once a process: it starts git."""
    return versions()


def sidecar_of(video: Path) -> Path:
    """Where a video's provenance lies."""
    return video.with_name(video.stem + ENDING)


def write_card(folder: Path) -> None:
    """The card of intended use, once a folder; what lies there already stays."""
    card = folder / CARD
    if not card.exists():
        with atomic_path(card) as temporary:
            temporary.write_text(CARD_TEXT, encoding="utf-8")


def read_sidecar(path: Path) -> dict[str, Any] | None:
    """A sidecar's content; None where there is none or it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("video"), dict) else None


def is_finished(video: Path, claim: Claim) -> bool:
    """Whether the video is there, whole, and what this claim asks for."""
    known = read_sidecar(sidecar_of(video))
    # through JSON, as the other one went: what it writes alike is alike
    asked = json.loads(json.dumps(claim.request()))
    return (
        known is not None
        and known.get("request") == asked
        and video.is_file()
        and known["video"].get("sha256") == file_hash(video)
    )


def file_hash(path: Path) -> str:
    """SHA-256 of a file, remembered while it does not change."""
    found = path.stat()
    return _file_hash(path.absolute(), found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=4096)
def _file_hash(path: Path, changed_ns: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def input_files(config: InferRun, job: Job, folder: Path) -> list[tuple[str, Path]]:
    """Every file that goes into one video, by the option that names it."""
    named = [
        (name, _at(config, name))
        for name, option in video_columns().items()
        if option.is_path and name != "output"
    ]
    named += [(name, folder / getattr(job, name)) for name in CLIP_FILES if getattr(job, name) is not None]
    return [(name, path) for name, path in named if path is not None and path.is_file()]


def named_only(value: Any) -> Any:
    """Plain data of a config in which every file is its name: no folder of anybody's machine."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Mapping):
        return {name: named_only(inner) for name, inner in value.items()}
    return plain(value)


def settings(config: InferRun) -> dict[str, Any]:
    """All options by dotted name, files by name alone."""
    return {option.name: named_only(_at(config, option.name)) for option in options(InferRun)}


def changed_options(config: InferRun) -> dict[str, Any]:
    """Options of the result that differ from their defaults, so that a new option leaves old videos as they
    are: those of the video, and of the networks in sections. Other options of a run say where and how it is
    made, not what it shows (beyond a grey level).
    """
    now, before = settings(config), settings(InferRun())
    return {
        name: value
        for name, value in now.items()
        if value != before[name] and (name in video_columns() or "." in name) and not _is_input(name)
    }


def _is_file(name: str) -> bool:
    return any(option.name == name and option.is_path for option in options(InferRun))


def _is_input(name: str) -> bool:
    """Whether an option names a file of the user's own, which stands with its hash under inputs."""
    return name in video_columns() and _is_file(name)


def _at(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config
