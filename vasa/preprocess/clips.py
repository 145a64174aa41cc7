"""Raw videos into the frames that stage 1 learns from: one stable crop of each video, 25 per second.

Each video becomes ``clips/<its path>.safetensors`` with ``frames`` uint8 (T, S, S, 3), ``ticks`` int32 (T,):
when each is shown, in frames at 25 per second, ascending; and, unless masks=false, ``mask`` uint8 (T, S, S):
255 on the person. A picture that is shown longer, as the rest of a damaged video is, is kept once. Each
video, kept or not, gets a row in manifest.csv. Rows are noted in ``rows/`` as they come, a file for each
process, so the same command carries on after a kill; the manifest is written last.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import av
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from vasa.checkpoint import atomic_path
from vasa.data.manifest import KEPT, MANIFEST, ClipRow, speaker_of, split_of, write_manifest
from vasa.preprocess.config import PreprocessRun
from vasa.preprocess.crop import cut
from vasa.preprocess.framing import ClipFramer, look_places
from vasa.pretrained.matte import Matte, build_matte
from vasa.video import VideoReader, resample_indices
from vasa.workers import share_work

SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"}
SETTINGS = ("size", "max_frames", "spacing", "masks", "min_seconds", "max_drift")
"""Options that decide how clips look, and so stay the same in one folder."""
FRAMES_AT_ONCE = 16
"""That are matted together: 50 MB of floats at 512 px."""
LONGEST_S = 24 * 3600
"""A damaged header may name any length; nobody talks for a day."""
SECONDS_BETWEEN_REMARKS = 10
_log = logging.getLogger(__name__)


class RejectedClipError(Exception):
    """A video that cannot be used. status: one word for the manifest; the message is its reason."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def preprocess(run: PreprocessRun) -> list[ClipRow]:
    """Makes all clips of ``run.root`` that are missing, then the manifest; returns its rows.

    Raises: FileNotFoundError, ValueError where there is no video or the folder was made with other options.
    """
    files = find_videos(run.root)
    if not files:
        raise ValueError(
            f"root={run.root} holds no video; wanted files ending in {', '.join(sorted(SUFFIXES))}."
        )
    _hold_settings(run)
    share_work(_make_part, run.workers, run)
    _make_part(run, 0, 1)
    noted = _noted(run.out)
    rows = [noted[_name(run, path)] for path in files]
    rows = [replace(row, split=split_of(row.speaker, run.validation_share)) for row in rows]
    write_manifest(run.out / MANIFEST, rows)
    kept = [row for row in rows if row.status == KEPT]
    gigabytes = sum((3 * row.frames + row.masks) * row.size**2 for row in kept) / 1e9
    counts = ", ".join(
        f"{number} {status}" for status, number in Counter(r.status for r in rows).most_common()
    )
    _log.info("%d videos: %s; %.2f GB. %s says why.", len(rows), counts, gigabytes, run.out / MANIFEST)
    return rows


def find_videos(root: Path) -> list[Path]:
    """All files below ``root`` that are named as videos, in order. Raises: FileNotFoundError."""
    if not root.is_dir():
        raise FileNotFoundError(f"root={root} is no folder; give the one that holds the videos.")
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _name(run: PreprocessRun, path: Path) -> str:
    return path.relative_to(run.root).as_posix()


def _hold_settings(run: PreprocessRun) -> None:
    """Writes down what decides how clips look; refuses a folder that was made otherwise."""
    path = run.out / "settings.json"
    settings = {key: getattr(run, key) for key in SETTINGS}
    for name, file in (("detector.scrfd", run.detector.scrfd), ("matte.modnet", run.matte.modnet)):
        settings[name] = file.name if file else None
    if path.is_file():
        old = {"masks": False, **json.loads(path.read_text(encoding="utf-8"))}  # older folders have none
        changed = [key for key in settings if settings[key] != old.get(key)]
        if changed:
            raise ValueError(
                f"out={run.out} was made with another {', '.join(changed)}; name another folder or keep to "
                f"{', '.join(f'{key}={old.get(key)}' for key in changed)}."
            )
        return
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=1), encoding="utf-8")


def _noted(out: Path) -> dict[str, ClipRow]:
    """Rows of the videos that are done, by name. A line torn by a kill is passed over."""
    rows = {}
    for path in sorted((out / "rows").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = ClipRow(**json.loads(line)) if line else None
            except json.JSONDecodeError:
                continue
            if row is not None:
                rows[row.file] = row
    return rows


def _is_done(run: PreprocessRun, done: dict[str, ClipRow], path: Path) -> bool:
    row = done.get(_name(run, path))
    return row is not None and (row.status != KEPT or (run.out / row.clip).is_file())


def _make_part(run: PreprocessRun, part: int, parts: int) -> None:
    """Every ``parts``-th video that is not done yet."""
    done = _noted(run.out)
    todo = [path for path in find_videos(run.root)[part::parts] if not _is_done(run, done, path)]
    if not todo:
        return
    torch.set_num_threads(run.threads)
    framer = ClipFramer(run.detector, run.size)
    matte = build_matte(run.matte) if run.masks else None
    (run.out / "rows").mkdir(parents=True, exist_ok=True)
    begun = said = time.monotonic()
    with (run.out / "rows" / f"{part:04d}.jsonl").open("a", encoding="utf-8") as notes:
        for number, path in enumerate(todo, 1):
            row = make_clip(run, framer, path, matte)
            notes.write("\n" + json.dumps(asdict(row)))  # the newline first: what a kill tore stays apart
            notes.flush()
            now = time.monotonic()
            if now - said > SECONDS_BETWEEN_REMARKS:
                said, rate = now, number / (now - begun)
                _log.info(
                    "%d of %d videos%s, %.2f a second, %.0f s left",
                    number,
                    len(todo),
                    f" of this process, one of {parts}" if parts > 1 else "",
                    rate,
                    (len(todo) - number) / rate,
                )


def make_clip(run: PreprocessRun, framer: ClipFramer, path: Path, matte: Matte | None) -> ClipRow:
    """Cuts one video and writes its clip, with masks where there is a matte; the row says what became of it.

    Raises: OSError where the clip cannot be written; nothing that is the video's fault.
    """
    name = _name(run, path)
    row = ClipRow(file=name, speaker=speaker_of(name))
    try:
        tensors = _cut_clip(run, framer, path, row)
    except RejectedClipError as rejected:
        row.status, row.reason = rejected.status, str(rejected).replace(str(path), name)
        return row
    row.clip, row.frames, row.size = f"clips/{name}.safetensors", len(tensors["frames"]), run.size
    if matte is not None:
        tensors["mask"], row.masks = masks_of(tensors["frames"], matte), row.frames
    try:
        with atomic_path(run.out / row.clip) as temporary:
            save_file(tensors, temporary)
    except SafetensorError as error:  # what a full disk comes as
        raise OSError(f"{run.out / row.clip} cannot be written ({error}); make room, run again.") from error
    return row


def _cut_clip(run: PreprocessRun, framer: ClipFramer, path: Path, row: ClipRow) -> dict[str, torch.Tensor]:
    """The tensors of a clip; fills in what ``row`` says of the video. Reads twice: to look, then to cut."""
    with _unreadable():
        reader = VideoReader(path)
    if not 0 < reader.duration_s < LONGEST_S:
        raise RejectedClipError("unreadable", f"the file says that it lasts {reader.duration_s:g} s")
    row.seconds, row.fps = round(reader.duration_s, 3), round(len(reader) / reader.duration_s, 3)
    if row.seconds < run.min_seconds:
        raise RejectedClipError("too_short", f"{row.seconds:.2f} s; wanted at least {run.min_seconds}")
    stored, ticks = np.unique(resample_indices(reader.times_s, reader.duration_s), return_index=True)
    try:
        crop, row.drift = framer.place(_frames(reader, stored[look_places(len(stored))]))
    except ValueError as error:
        raise RejectedClipError("no_face", str(error)) from error
    row.side_px, row.drift = round(crop.side, 1), round(row.drift, 3)
    if row.drift > run.max_drift:
        raise RejectedClipError("moving", f"the face strays {row.drift} sides of its crop")
    chosen = _choose(len(stored), run.max_frames, run.spacing)
    frames = np.empty((len(chosen), run.size, run.size, 3), np.uint8)
    kept: list[int] = []
    for tick, frame in zip(ticks[chosen], _frames(reader, stored[chosen]), strict=True):
        row.height, row.width = frame.shape[:2]
        frames[len(kept)] = cut(frame, crop)
        if not kept or not np.array_equal(frames[len(kept)], frames[len(kept) - 1]):
            kept.append(int(tick))
    if len(kept) < 2:
        raise RejectedClipError("still", "all pictures are the same")
    return {
        "frames": torch.from_numpy(frames[: len(kept)]),
        "ticks": torch.tensor(kept, dtype=torch.int32),
    }


def masks_of(frames: torch.Tensor, matte: Matte) -> torch.Tensor:
    """Frames uint8 (T, S, S, 3) of one person -> uint8 (T, S, S): 255 on the person, 0 on what is behind.

    The matte is fitted to the middle frame, as at inference to the portrait.
    """

    def seen(rows: slice) -> torch.Tensor:
        return frames[rows].permute(0, 3, 1, 2).float() / 127.5 - 1

    middle = len(frames) // 2
    fitted = matte.fitted(seen(slice(middle, middle + 1)))
    parts = [fitted.alpha(seen(slice(n, n + FRAMES_AT_ONCE))) for n in range(0, len(frames), FRAMES_AT_ONCE)]
    return (torch.cat(parts)[:, 0] * 255).round().to(torch.uint8)


def _choose(num_frames: int, max_frames: int, spacing: str) -> np.ndarray:
    """Which frames are kept."""
    if num_frames <= max_frames:
        return np.arange(num_frames)
    if spacing == "consecutive":
        return np.arange(max_frames) + (num_frames - max_frames) // 2
    return np.linspace(0, num_frames - 1, max_frames).round().astype(int)


def _frames(reader: VideoReader, indices: np.ndarray) -> Iterator[np.ndarray]:
    with _unreadable():
        yield from reader.at(indices)


@contextmanager
def _unreadable() -> Iterator[None]:
    """What a file can do to its reader becomes a reason."""
    try:
        yield
    except (av.FFmpegError, ValueError, OSError, OverflowError) as error:
        raise RejectedClipError("unreadable", " ".join(str(error).split())) from error
