"""What a personalising folder is about, what it is bound to, and how long learning may go on."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vasa.checkpoint import CheckpointError, atomic_path, content_hash, plain
from vasa.face.volumetric.person import PERSON_FILE
from vasa.training.personalise_config import PersonaliseRun
from vasa.training.state import differences

PLAN_FILE = "personalise.json"
DECIDES = ("person", "losses", "held_out", "max_seconds", "drop", "optimizer", "detector")
"""Options that a folder, once begun, is bound to."""


class Clock:
    """Seconds since it was made: on the wall, and of this process's CPUs."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def __call__(self) -> tuple[float, float]:
        return time.monotonic() - self._wall, time.process_time() - self._cpu


@dataclass(slots=True)
class Plan:
    """What a folder is about, as ``personalise.json`` keeps it. steps: of
    learning, once they are known. wall_s, cpu_s: spent so far."""

    video: str
    video_sha256: str
    face_sha256: str
    options: dict[str, Any]
    steps: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @staticmethod
    def of(run: PersonaliseRun) -> Plan:
        """The plan of a new or a begun folder. Raises: FileNotFoundError; ValueError where the folder is of
        something else.
        """
        if not run.video.is_file():
            raise FileNotFoundError(
                f"video {str(run.video)!r} does not exist; give the path of a video file."
            )
        if (run.checkpoint / PERSON_FILE).exists():
            raise ValueError(
                f"checkpoint {str(run.checkpoint)!r} is already a person's; name the one it was made from, "
                "such as checkpoints/demo."
            )
        with run.video.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        options = {name: plain(getattr(run, name)) for name in (*DECIDES, "steps")}
        options["batch_size"], options["seed"] = run.loop.batch_size, run.loop.seed
        new = Plan(run.video.name, digest, content_hash(run.checkpoint / "face.safetensors"), options)
        path = run.out / PLAN_FILE
        if not path.is_file():
            others = sorted(file.name for file in run.out.iterdir()) if run.out.is_dir() else []
            if others or (run.out.exists() and not run.out.is_dir()):
                raise ValueError(
                    f"out={run.out} is not empty ({', '.join(others[:3]) or 'a file'}); name a new folder."
                )
            return new
        begun = Plan.read(path)
        if begun.video_sha256 != digest:
            raise ValueError(
                f"out={run.out} is of another video, {begun.video!r}; name another folder for "
                f"{run.video.name!r}."
            )
        changed = differences(begun.options, options)
        if begun.face_sha256 != new.face_sha256:
            changed.append(f"checkpoint is another one, {run.checkpoint}")
        if changed:
            raise ValueError(
                f"out={run.out} was begun with other options ({'; '.join(changed)}); give the same, or "
                "another folder."
            )
        return begun

    @staticmethod
    def read(path: Path) -> Plan:
        """Raises: CheckpointError where the file is damaged."""
        try:
            return Plan(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise CheckpointError(
                f"{path} is damaged ({error}); remove its folder and begin again."
            ) from error

    def write(self, run: PersonaliseRun) -> None:
        with atomic_path(run.out / PLAN_FILE) as temporary:
            temporary.write_text(json.dumps(plain(self), indent=2) + "\n", encoding="utf-8")
