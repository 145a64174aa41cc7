"""Clips of keypoint motion as LivePortrait and JoyVASA store them: motion templates with their sound.

Two forms. A folder of templates (.pkl), each beside the sound of the same name: LivePortrait writes
``clip.pkl`` beside ``clip.mp4``. Or a list of JoyVASA's (``train.json``), whose rows name a sound and the
pickle that holds the templates of all sounds by name. Nothing that a pickle names is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vasa.audio import read_audio, resample
from vasa.face.keypoints.animation import KeypointMotion
from vasa.face.keypoints.space import to_raw
from vasa.face.keypoints.template import ENDING, motion_of_template, read_template
from vasa.records import SAMPLES_PER_FRAME, Clip
from vasa.safe_pickle import load_arrays

SOUNDS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".mp4", ".mov", ".mkv", ".webm", ".avi")
"""Endings that the sound of a template is looked for under, in this order."""


class TemplateClips:
    """Templates in a fixed order. ``clip(index)`` has no frames, ``motion(clip)`` is raw keypoint motion
    (T, 69).
    """

    def __init__(self, path: Path) -> None:
        """path: a folder, or a list of JoyVASA's. Raises: FileNotFoundError; ValueError where it holds
        nothing, or is no such list.
        """
        self._path = path
        self._entries = _listed(path) if path.suffix == ".json" else _beside(path)
        self._templates = {name: template for name, _, template in self._entries}
        self._pickle = cache(load_arrays)
        if not self._entries:
            raise ValueError(f"templates={path} holds none; wanted motion templates ({ENDING}) with sound.")

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def fingerprint(self) -> str:
        """Of the clips' names and what their files hold, so that another set under the same path is told
        apart.
        """
        found = hashlib.sha256("\n".join(name for name, _, _ in self._entries).encode())
        for path in dict.fromkeys(path for _, *paths in self._entries for path in paths):
            if path.is_file():
                with path.open("rb") as file:
                    found.update(hashlib.file_digest(file, "sha256").digest())
        return found.hexdigest()

    def clip(self, index: int) -> Clip:
        """The sound as long as both it and the motion are. Raises: FileNotFoundError, ValueError."""
        name, sound, template = self._entries[index]
        waveform, rate_hz = read_audio(sound)
        samples = resample(np.asarray(waveform), rate_hz)
        length = min(len(self._motion(name, template)), len(samples) // SAMPLES_PER_FRAME)
        if length == 0:
            raise ValueError(f"{sound} has no whole frame of sound (40 ms); leave {name} out.")
        return Clip(clip_id=name, audio=samples[: length * SAMPLES_PER_FRAME].astype(np.float32))

    def motion(self, clip: Clip) -> Tensor:
        """Raw keypoint motion of a clip's frames."""
        return to_raw(self._motion(clip.clip_id, self._templates[clip.clip_id]))[: clip.num_frames]

    def _motion(self, name: str, template: Path) -> KeypointMotion:
        if self._path.suffix != ".json":
            return read_template(template)
        held = self._pickle(template)
        if not isinstance(held, dict) or name not in held:
            raise ValueError(f"{template} has no motion of {name!r}, which {self._path} lists.")
        return motion_of_template(held[name], f"{name!r} in {template}")


_Entry = tuple[str, Path, Path]
"""Name of a clip, its sound, the pickle with its motion."""


def _beside(folder: Path) -> list[_Entry]:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"templates={folder} is no folder; give one of motion templates ({ENDING}), or JoyVASA's "
            "train.json."
        )
    entries, silent = [], []
    for path in sorted(folder.rglob(f"*{ENDING}")):
        sound = next((s for s in map(path.with_suffix, SOUNDS) if s.is_file()), None)
        if sound is None:
            silent.append(path.name)
        else:
            entries.append((str(path.relative_to(folder).with_suffix("")), sound, path))
    if silent:
        raise FileNotFoundError(
            f"{len(silent)} templates in {folder} have no sound beside them, {silent[0]} the first; put it "
            f"there under the same name ({', '.join(SOUNDS)}), or take them out."
        )
    return entries


def _listed(path: Path) -> list[_Entry]:
    if not path.is_file():
        raise FileNotFoundError(f"templates={path} does not exist; wanted a list as JoyVASA's train.json.")
    wrong = f"{path} is no list of JoyVASA's; wanted rows with audio_name and motion_name"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        place: Callable[[Any], Path] = lambda name: path.parent / Path(str(name))  # noqa: E731
        entries = [(str(r["audio_name"]), place(r["audio_name"]), place(r["motion_name"])) for r in rows]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{wrong} ({type(error).__name__}: {error}).") from error
    if len({name for name, _, _ in entries}) < len(entries):
        raise ValueError(f"{path} lists a sound twice; wanted each once.")
    return entries
