"""Folders of clips as preprocessing writes them, of pictures that say which clip and frame they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vasa.data.config import EncodeConfig
from vasa.data.manifest import MANIFEST, ManifestRow, join_tables
from vasa.data.shards import FragmentWriter, Sample, join_fragments, make_sample, remove_fragments
from vasa.records import SAMPLES_PER_FRAME

FRAMES, SIZE = 24, 96
STEP = 8
"""Levels of grey between frames: more than an encoder errs by."""


def pictures(number: int, num_frames: int = FRAMES, size: int = SIZE) -> np.ndarray:
    """Frames of clip ``number``: grey says which frame, a ramp to the right which side is which, and how far
    down a bar reaches from the top left which clip.
    """
    frames = np.empty((num_frames, size, size, 3), np.uint8)
    frames[:] = (20 + STEP * np.arange(num_frames) % 200)[:, None, None, None]
    frames[:, size // 2 :] = np.linspace(0, 255, size).astype(np.uint8)[None, None, :, None]
    frames[:, : size // 2, : size // 4] = 20 + 30 * number
    return frames


def shown(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images (B, S, S, 3) or grey -> clip and frame of each, whichever way they are mirrored."""
    grey = images.reshape(*images.shape[:3], -1).mean(-1)
    size = grey.shape[1]
    left, right = (grey[:, size // 8, x] for x in (size // 8, size - size // 8))
    ramp = grey[:, 3 * size // 4]
    mirrored = ramp[:, 0] > ramp[:, -1]
    bar, frame = np.where(mirrored, right, left), np.where(mirrored, left, right)
    return np.round((bar - 20) / 30).astype(int), np.round((frame - 20) / STEP).astype(int)


def points(number: int, num_frames: int = FRAMES) -> np.ndarray:
    """Landmarks of clip ``number`` (T, 68, 2): all at one place across, which says the clip; down, which says
    the frame; but for one corner of an eye, which is farther left.
    """
    found = np.empty((num_frames, 68, 2), np.float32)
    found[..., 0] = (number + 1) / 16
    found[..., 1] = (np.arange(num_frames) / 32)[:, None]
    found[:, 36, 0] -= 0.5
    return found


def clip(
    number: int,
    speaker: str,
    masks: bool = True,
    num_frames: int = FRAMES,
    landmarks: bool = True,
    **columns,
) -> Sample:
    """Clip ``number``: its sound is the number in hundredths, its pose's yaw the frame's."""
    frames = pictures(number, num_frames)
    given = {
        "split": "train",
        "file": f"{speaker}/v.mp4",
        "start_s": 6.0 * number,
        "seconds": num_frames / 25,
        "side_px": 100.0 * (number + 1),
    }
    row = ManifestRow(id=f"{speaker}-v-{number:03d}", kind="clip", speaker=speaker, **{**given, **columns})
    sound = np.full(num_frames * SAMPLES_PER_FRAME, number / 100, np.float32)
    pose = np.zeros((num_frames, 6), np.float32)
    pose[:, 0] = np.arange(num_frames)
    signals = {"pose": pose, "identity": np.arange(4) / 4}
    if landmarks:
        signals["landmarks"] = points(number, num_frames)
    return make_sample(row, frames, sound, signals, EncodeConfig(), frames[..., 0] if masks else None)


def write_folder(root: Path, clips: Iterable[Sample], rejected: Iterable[ManifestRow] = ()) -> None:
    """An input a clip, two inputs a shard."""
    work, fragments = root / "work", []
    for number, sample in enumerate(clips):
        fragments.append(work / f"{number:03d}.tar")
        with FragmentWriter(fragments[-1]) as fragment:
            fragment.note(ManifestRow(id=f"{number}", kind="input", speaker=sample.row.speaker))
            fragment.add(sample)
    fragments.append(work / "rejected.tar")
    with FragmentWriter(fragments[-1]) as fragment:
        for row in rejected:
            fragment.note(row)
    shards = [root / "shards" / f"{number:06d}.tar" for number in range(-(-len(fragments) // 2))]
    for number, shard in enumerate(shards):
        join_fragments(fragments[2 * number : 2 * number + 2], shard)
    join_tables(root / MANIFEST, [shard.with_suffix(".parquet") for shard in shards], {"made": "up"})
    remove_fragments(work)
