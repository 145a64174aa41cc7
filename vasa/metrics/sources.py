"""Which videos are measured, and what belongs to each: its sound, its reference, its portrait, its job file.

Files belong together by name: ``ours/a.mp4`` is heard with ``audio/a.wav``, compared with
``reference/a.mp4`` and with ``portraits/a.png``. A job file ``a.job.json`` beside the video, as
inference/jobs.py writes it, says what was asked for and may name the others. Nothing here knows a metric.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vasa.audio import read_audio, resample
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.records import AUDIO_HZ, VIDEO_FPS
from vasa.video import VideoReader

VIDEO_KINDS = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v")
AUDIO_KINDS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".aac", ".opus")
PICTURE_KINDS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
JOB_ENDING = ".job.json"
JOB_LIST = "jobs.jsonl"
"""In the folder of rows, where infer.py made them from a list."""
TRUE_ROW = "true_controls"
"""The row of true renders of what the row ``controls`` was asked for."""
REAL_ROW = "real"
"""The row of true videos: shown first, and what sets are compared with."""


@dataclass(frozen=True, slots=True)
class ClipFiles:
    """One video and the files that belong to it; None where there is none (sound: the video's own track)."""

    video: Path
    audio: Path | None = None
    reference: Path | None = None
    portrait: Path | None = None
    job: Path | None = None

    @property
    def name(self) -> str:
        return self.video.stem

    @property
    def group(self) -> str:
        """The job whose sample it is; its own name where no job file says so."""
        return str(self.asked().get("group") or self.name)

    def content_hash(self) -> str:
        """SHA-256 over the contents of all its files and over which of them there are."""
        digest = hashlib.sha256()
        for field in fields(self):
            path: Path | None = getattr(self, field.name)
            digest.update(f"{field.name}:".encode())
            if path is not None:
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def asked(self) -> dict[str, Any]:
        """The job file's content; empty where there is none. Raises: ValueError for a damaged one."""
        if self.job is None:
            return {}
        try:
            content = json.loads(self.job.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.job} is damaged ({error}); make the job again.") from error
        if not isinstance(content, dict):
            raise ValueError(f"{self.job} holds no object; make the job again.")
        return content


def find_rows(
    videos: Path, audio: Path | None = None, reference: Path | None = None, portraits: Path | None = None
) -> dict[str, list[ClipFiles]]:
    """Rows of the table -> their videos. A folder of videos is one row named after it; a folder of folders
    is a row for each, ``real`` first.

    Raises: FileNotFoundError for a missing folder; ValueError where there is no video.
    """
    for option, folder in (
        ("videos", videos), ("audio", audio), ("reference", reference), ("portraits", portraits)
    ):  # fmt: skip
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"{option}={folder} is no folder; give the path of one.")
    folders = [videos] if _of_kind(videos, VIDEO_KINDS) else sorted(p for p in videos.iterdir() if p.is_dir())
    rows = {folder.name: _clips(folder, audio, reference, portraits) for folder in folders}
    rows = {name: clips for name, clips in rows.items() if clips}
    if not rows:
        raise ValueError(
            f"videos={videos} holds no video ({', '.join(VIDEO_KINDS)}), nor do its folders; give a folder "
            "of videos or a folder of such folders."
        )
    return dict(sorted(rows.items(), key=lambda row: row[0] != REAL_ROW))


def references(folder: Path | None) -> list[ClipFiles]:
    """All videos of the reference folder, as a set; none without a folder."""
    return [] if folder is None else [ClipFiles(path) for path in _of_kind(folder, VIDEO_KINDS)]


def _of_kind(folder: Path, kinds: tuple[str, ...]) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in kinds and p.is_file())


def _clips(
    folder: Path, audio: Path | None, reference: Path | None, portraits: Path | None
) -> list[ClipFiles]:
    by_stem = [
        {path.stem: path for path in _of_kind(place, kinds)} if place else {}
        for place, kinds in (
            (audio, AUDIO_KINDS + VIDEO_KINDS), (reference, VIDEO_KINDS), (portraits, PICTURE_KINDS)
        )
    ]  # fmt: skip
    clips = []
    for video in _of_kind(folder, VIDEO_KINDS):
        sound, true, portrait = (found.get(video.stem) for found in by_stem)
        job = video.with_name(video.stem + JOB_ENDING)
        clip = ClipFiles(video, sound, true, portrait, job if job.is_file() else None)
        clips.append(_named_by_job(clip))
    return clips


def _named_by_job(clip: ClipFiles) -> ClipFiles:
    """Files that the options did not give, where the job file names them (relative to itself)."""
    if clip.job is None:
        return clip
    asked, found = clip.asked(), {}
    for field in ("audio", "reference", "portrait"):
        given = getattr(clip, field)
        named = asked.get(field)
        if given is None and isinstance(named, str) and (clip.job.parent / named).is_file():
            given = clip.job.parent / named
        found[field] = given
    return ClipFiles(clip.video, found["audio"], found["reference"], found["portrait"], clip.job)


def read_clip(files: ClipFiles) -> EvalClip:
    """The clip at 25 fps and 16 kHz, all in memory: 1.2 GB a minute at 512 px.

    Raises: Unscored for a video or a sound that cannot be read: it counts as a failure of every metric.
    """
    try:
        reader = VideoReader(files.video)
        frames = _stacked(reader, files.video)
        audio = _sound(files)
        reference = (
            None if files.reference is None else _stacked(VideoReader(files.reference), files.reference)
        )
        portrait = None
        if files.portrait is not None:
            with Image.open(files.portrait) as picture:
                portrait = np.asarray(picture.convert("RGB"))
    except (ValueError, OSError) as error:
        raise Unscored(f"cannot be read ({' '.join(str(error).split())})") from error
    rate = len(reader) / reader.duration_s if reader.duration_s > 0 else float(VIDEO_FPS)
    return EvalClip(
        name=files.name,
        frames=frames,
        audio=audio,
        reference=reference,
        portrait=portrait,
        asked=files.asked(),
        source_fps=rate,
    )


def _stacked(reader: VideoReader, path: Path) -> np.ndarray:
    frames = [frame.copy() for frame in reader.resampled()]
    if not frames:
        raise ValueError(f"video {path} holds no frames")
    return np.stack(frames)


def _sound(files: ClipFiles) -> np.ndarray | None:
    """Sound of the given file, else of the video; None where the video has none."""
    if files.audio is not None:
        return resample(*read_audio(files.audio), AUDIO_HZ)
    try:
        return resample(*read_audio(files.video), AUDIO_HZ)
    except ValueError:
        return None
