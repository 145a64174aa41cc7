"""The seam between the stages: clips as raw motion, audio features and conditions, in safetensors shards.

A cache is a folder of ``shard_00000.safetensors`` ... and an ``index.json`` that is written last: a folder
without one is unfinished, and encoding it again carries on after the last whole shard. Everything in it was
made by one face checkpoint, whose content hash is in every file; a reader or writer that expects another one
refuses. The cache knows no network.

A shard joins its clips along time: ``motion`` (N, E) float32, ``features`` (V, N, A) float16 (V variants of
the sound), ``gaze`` (n, 2), ``distance`` (n, 1), ``emotion`` (n, 8) float32 with NaN rows where a clip has
none, and, where kept, ``audio`` (V, N x 640) int16. Which clip is where stands in the header.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vasa.checkpoint import atomic_path
from vasa.records import EMOTIONS, SAMPLES_PER_FRAME, MotionLayout

CACHE_VERSION = 1
INDEX = "index.json"
CONTROL_WIDTHS = {"gaze": 2, "distance": 1, "emotion": len(EMOTIONS)}
_log = logging.getLogger(__name__)


class CacheError(ValueError):
    """A cache is unfinished, damaged, or was made by other checkpoints or settings than wanted."""


@dataclass(kw_only=True, slots=True)
class CacheHeader:
    """What all clips of a cache have in common.

    face_hash: content hash of the face checkpoint. dynamics_dim: width of z_dyn (E = 6 + dynamics_dim).
    audio_dim: A. num_variants: V. audio: the speech encoder's config as plain data. source: which clips these
    are (data set, split, seed, length), so that a resumed encoding can tell whether it is the same job; their
    number is not part of it: a cache can grow.
    """

    face_hash: str
    dynamics_dim: int
    audio_dim: int
    num_variants: int
    audio: dict[str, Any]
    source: dict[str, Any]
    version: int = CACHE_VERSION

    @property
    def layout(self) -> MotionLayout:
        return MotionLayout.volumetric(self.dynamics_dim)


@dataclass(slots=True)
class EncodedClip:
    """One clip of the cache: raw motion (T, E), features (V, T, A), conditions (None where unknown), sound
    (V, N) or None.
    """

    clip_id: str
    motion: Tensor
    features: Tensor
    gaze: Tensor | None = None
    distance: Tensor | None = None
    emotion: Tensor | None = None
    audio: Tensor | None = None


class LatentCacheWriter:
    """Writes a cache shard by shard, each under a temporary name and renamed; ``finish`` makes it readable.

    Raises: CacheError when the folder already holds a cache of another face checkpoint or of other settings.
    """

    def __init__(self, folder: str | Path, header: CacheHeader) -> None:
        self.folder, self.header = Path(folder), header
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.glob("shard_*.safetensors")):
            _refuse_other(path, _shard_header(path)["cache"], header)

    def has(self, shard: int, num_clips: int) -> bool:
        """Whether this shard is already there, with so many clips."""
        path = self._path(shard)
        return path.is_file() and len(_shard_header(path)["clips"]) == num_clips

    def write(self, shard: int, clips: Sequence[EncodedClip]) -> None:
        """Writes one shard. Raises: ValueError naming the clip whose shapes do not fit or whose values are
        not finite.
        """
        for clip in clips:
            self._check(clip)
        tensors = {
            "motion": torch.cat([clip.motion.float() for clip in clips]),
            "features": torch.cat([clip.features.half() for clip in clips], 1),
        }
        for name, width in CONTROL_WIDTHS.items():
            values = [getattr(clip, name) for clip in clips]
            rows = [
                torch.full((width,), torch.nan) if v is None else v.float().reshape(width) for v in values
            ]
            tensors[name] = torch.stack(rows)
        if clips[0].audio is not None:
            sound = torch.cat([clip.audio for clip in clips if clip.audio is not None], 1)
            tensors["audio"] = (sound.clamp(-1, 1) * 32767).round().to(torch.int16)
        table = [{"id": clip.clip_id, "num_frames": len(clip.motion)} for clip in clips]
        metadata = {"cache": json.dumps(asdict(self.header)), "clips": json.dumps(table)}
        with atomic_path(self._path(shard)) as temporary:
            save_file({name: t.contiguous() for name, t in tensors.items()}, temporary, metadata)

    def finish(self, num_shards: int) -> None:
        """Computes the statistics of all shards, once, and writes the index."""
        missing = [shard for shard in range(num_shards) if not self._path(shard).is_file()]
        if missing:
            raise CacheError(f"cache {self.folder} lacks shards {missing}; write them before finishing.")
        paths = [self._path(shard) for shard in range(num_shards)]
        index = {
            "cache": asdict(self.header),
            "shards": [{"file": path.name, "clips": _shard_header(path)["clips"]} for path in paths],
            "statistics": {name: values.tolist() for name, values in _statistics(paths).items()},
        }
        with atomic_path(self.folder / INDEX) as temporary:
            temporary.write_text(json.dumps(index), encoding="utf-8")

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard_{shard:05d}.safetensors"

    def _check(self, clip: EncodedClip) -> None:
        header, num_frames = self.header, len(clip.motion)
        wanted = {
            "motion": (clip.motion, (num_frames, header.layout.width)),
            "features": (clip.features, (header.num_variants, num_frames, header.audio_dim)),
        }
        if clip.audio is not None:
            wanted["audio"] = (clip.audio, (header.num_variants, num_frames * SAMPLES_PER_FRAME))
        for name, (values, shape) in wanted.items():
            if tuple(values.shape) != shape or num_frames == 0:
                raise ValueError(
                    f"{name} of clip {clip.clip_id} is {tuple(values.shape)}; wanted {shape}, not empty."
                )
            if not bool(torch.isfinite(values).all()):
                raise ValueError(
                    f"{name} of clip {clip.clip_id} holds NaN or infinite values; leave the clip out."
                )


class LatentCache:
    """Reads a finished cache; shards stay memory-mapped, so what is not read costs no memory.

    face_hash: when given, a cache of another face checkpoint is refused. header: what all clips share; clips:
    (shard, first frame, number of frames, row within the shard, clip_id) per clip; statistics: of raw motion,
    features and distance. Raises: CacheError.
    """

    def __init__(self, folder: str | Path, face_hash: str | None = None) -> None:
        self.folder = Path(folder)
        path = self.folder / INDEX
        if not path.is_file():
            state = "is unfinished" if any(self.folder.glob("shard_*.safetensors")) else "does not exist"
            raise CacheError(
                f"latent cache {self.folder} {state}: run scripts/encode_motion.py for it "
                "(it carries on where it stopped)."
            )
        index = json.loads(path.read_text(encoding="utf-8"))
        version = index["cache"].get("version")
        if version != CACHE_VERSION:
            raise CacheError(
                f"cache {self.folder} has version {version}; this vasa reads {CACHE_VERSION}: encode again."
            )
        self.header = CacheHeader(**index["cache"])
        if face_hash is not None and self.header.face_hash != face_hash:
            raise CacheError(_other_face(self.folder, self.header.face_hash, face_hash))
        self.statistics = {name: torch.tensor(values) for name, values in index["statistics"].items()}
        self.clips = _clip_table(index["shards"])
        self._files = [self.folder / shard["file"] for shard in index["shards"]]
        self._mapped: dict[int, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def num_frames(self) -> int:
        return sum(clip.num_frames for clip in self.clips)

    def motion(self, clip: int, start: int = 0, stop: int | None = None) -> Tensor:
        """Raw motion (t, E) of frames start .. stop of a clip."""
        entry, first, last = self._span(clip, start, stop)
        return self._shard(entry.shard)["motion"][first:last]

    def features(self, clip: int, variant: int = 0, start: int = 0, stop: int | None = None) -> Tensor:
        """Audio features (t, A), float16, of one variant of a clip's sound."""
        entry, first, last = self._span(clip, start, stop)
        return self._shard(entry.shard)["features"][variant, first:last]

    def audio(self, clip: int, variant: int = 0) -> Tensor:
        """Waveform (N,) float32 of one variant. Raises: CacheError when the cache was made without sound."""
        entry, first, last = self._span(clip, 0, None)
        shard = self._shard(entry.shard)
        if "audio" not in shard:
            raise CacheError(f"latent cache {self.folder} holds no sound: encode it with keep_audio=true.")
        return shard["audio"][variant, first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME].float() / 32767

    def control(self, clip: int, name: str) -> Tensor | None:
        """Clip-level condition gaze (2,), distance (1,) or emotion (8,); None where the clip has none."""
        entry = self.clips[clip]
        value = self._shard(entry.shard)[name][entry.row]
        return None if bool(value.isnan().any()) else value

    def _span(self, clip: int, start: int, stop: int | None) -> tuple[ClipEntry, int, int]:
        entry = self.clips[clip]
        stop = entry.num_frames if stop is None else stop
        if not 0 <= start < stop <= entry.num_frames:
            raise ValueError(f"frames {start}:{stop} of clip {entry.clip_id}; it has {entry.num_frames}.")
        return entry, entry.first + start, entry.first + stop

    def _shard(self, shard: int) -> dict[str, Tensor]:
        """The tensors of a shard; they map the file, so only what is read of them takes memory."""
        if shard not in self._mapped:
            path = self._files[shard]
            _refuse_other(path, _shard_header(path)["cache"], self.header)
            with safe_open(path, framework="pt") as file:
                self._mapped[shard] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return self._mapped[shard]


@dataclass(slots=True)
class ClipEntry:
    """Where a clip lies: shard, row among the shard's clips, first frame within it, number of frames."""

    clip_id: str
    shard: int
    row: int
    first: int
    num_frames: int = field(default=0)


def _clip_table(shards: Sequence[Mapping[str, Any]]) -> list[ClipEntry]:
    entries = []
    for number, shard in enumerate(shards):
        first = 0
        for row, clip in enumerate(shard["clips"]):
            entries.append(ClipEntry(clip["id"], number, row, first, clip["num_frames"]))
            first += clip["num_frames"]
    return entries


def _shard_header(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return {name: json.loads(metadata[name]) for name in ("cache", "clips")}
    except (FileNotFoundError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise CacheError(
            f"{path} is damaged or is no shard of a latent cache ({error}); delete it and encode again."
        ) from error


def _refuse_other(path: Path, found: Mapping[str, Any], wanted: CacheHeader) -> None:
    if found.get("face_hash") != wanted.face_hash:
        raise CacheError(_other_face(path, str(found.get("face_hash")), wanted.face_hash))
    differs = [name for name, value in asdict(wanted).items() if found.get(name) != value]
    if differs:
        raise CacheError(
            f"{path} was written with other settings ({', '.join(f'{n}: {found.get(n)}' for n in differs)}); "
            "delete its folder or give the cache another name."
        )


def _other_face(path: Path, found: str, wanted: str) -> str:
    return (
        f"{path} was encoded by face checkpoint {found[:12]}, not by {wanted[:12]}: motion of one face space "
        "means nothing in another; encode again with this checkpoint, or name the one it was made with."
    )


def _statistics(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Mean and standard deviation of motion (E,), features (A,) and distance (1,) over all frames (distance:
    clips).
    """
    sums: dict[str, list[Tensor]] = {}
    for path in paths:
        with safe_open(path, framework="pt") as file:
            parts = {"motion": file.get_tensor("motion").double()}
            parts["features"] = file.get_tensor("features").double().flatten(0, 1)
            distance = file.get_tensor("distance").double()
            parts["distance"] = distance[~distance.isnan().any(1)]
        for name, values in parts.items():
            count = torch.tensor(float(len(values)), dtype=torch.float64)
            terms = [count, values.sum(0), values.square().sum(0)]
            sums[name] = [a + b for a, b in zip(sums[name], terms, strict=True)] if name in sums else terms
    statistics = {}
    for name, (count, total, squares) in sums.items():
        mean = total / count.clamp(min=1)
        deviation = (squares / count.clamp(min=1) - mean.square()).clamp(min=0).sqrt()
        if name == "distance" and count == 0:
            mean = mean + 1.0  # no clip states its distance: the crop rule's framing
        statistics[f"{name}_mean"], statistics[f"{name}_std"] = mean.float(), deviation.float()
    return statistics
