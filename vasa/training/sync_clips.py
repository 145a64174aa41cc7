"""Mouths that talk, with their sound: what the sync judge learns from, rendered once into a folder.

Each clip is another procedural person of the judges' own, saying what a clip of a split says. Its frames are
cut exactly as the metric cuts them (metrics/face_tracks.py), from true landmarks.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vasa.checkpoint import atomic_path, plain
from vasa.data.config import ClipsConfig, SpokenConfig
from vasa.data.synthetic.augment import augment
from vasa.data.synthetic.clips import SyntheticClips, render_person
from vasa.data.synthetic.heads import make_identities
from vasa.metrics.face_tracks import FaceTrack, track_crops
from vasa.pretrained.config import SyncNetConfig
from vasa.pretrained.crops import face_boxes
from vasa.pretrained.mfcc import to_int16
from vasa.pretrained.syncnet import look
from vasa.records import SAMPLES_PER_FRAME, VIDEO_FPS, Animation
from vasa.training.judge_config import SyncClipsConfig

_log = logging.getLogger(__name__)

SPARE_FRAMES = 20
"""A clip speaks this many frames longer than it is; where it begins is drawn."""


@dataclass(slots=True)
class SyncClips:
    """N clips of T frames: frames uint8 (N, T, 3, P, P), BGR, mouths; sound int16 (N, R, T * 640), R
    recordings of the same speech, the clean one first.
    """

    frames: Tensor
    sound: Tensor


def sync_clips(config: SyncClipsConfig, view: SyncNetConfig) -> SyncClips:
    """All clips of a config around what a network views, rendered if they are not in its folder: a pure
    function of it, about 25 ms a frame.

    A killed rendering goes on where it was.
    """
    if view.view_side * config.room / 2 + abs(view.view_down) > 0.5:
        raise ValueError(
            f"sync clips: a room of {config.room} around the view reaches outside the face crop."
        )
    folder = folder_of(config, view)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:05d}.npz" for index in range(config.num_clips)]
    todo = [index for index, path in enumerate(paths) if not path.is_file()]
    begun = time.monotonic()
    for done, index in enumerate(todo, 1):
        frames, sound = render_clip(config, view, index)
        with atomic_path(paths[index]) as temporary:
            np.savez_compressed(temporary, frames=frames, sound=sound)
        if done % 20 == 0 or done == len(todo):
            left = (time.monotonic() - begun) / done * (len(todo) - done)
            _log.info("%s: %d of %d clips rendered, %.0f s left", folder, done, len(todo), left)
    read = [_read(path) for path in paths]
    return SyncClips(torch.stack([one for one, _ in read]), torch.stack([one for _, one in read]))


def folder_of(config: SyncClipsConfig, view: SyncNetConfig) -> Path:
    """Other options are another folder, so none is ever read for another's."""
    options = {k: v for k, v in plain(config).items() if k not in ("cache", "num_clips")}
    options |= {k: getattr(view, k) for k in ("image_size", "view_side", "view_down")}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    return config.cache / f"{config.split}_{digest[:10]}"


def _read(path: Path) -> tuple[Tensor, Tensor]:
    with np.load(path) as arrays:
        return torch.from_numpy(arrays["frames"]), torch.from_numpy(arrays["sound"])


@torch.inference_mode()
def render_clip(config: SyncClipsConfig, view: SyncNetConfig, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, 3, P, P) uint8 BGR and sound (R, T * 640) int16 of one clip."""
    rng = np.random.default_rng((config.seed, index, 9))
    spoken = SpokenConfig(espeak_share=config.espeak_share, silent_share=0.0)
    seconds = (config.frames + SPARE_FRAMES) / VIDEO_FPS
    wanted = ClipsConfig(num_clips=index + 1, seed=config.seed, seconds=seconds, spoken=spoken)
    clip = SyntheticClips(config.split, wanted).animation_only(index)
    assert clip.truth.animation is not None
    start = int(rng.integers(SPARE_FRAMES + 1))
    mode = "randomised" if rng.random() < config.randomised_share else "portrait"
    crops = _face_crops(config, index, mode, clip.truth.animation[start : start + config.frames])
    heard = [clip.audio] + [augment(clip.audio, rng) for _ in range(config.recordings)]
    cut = slice(start * SAMPLES_PER_FRAME, (start + config.frames) * SAMPLES_PER_FRAME)
    return _mouths(crops, view, config.room), np.stack([to_int16(audio[cut]) for audio in heard])


def _face_crops(config: SyncClipsConfig, index: int, mode: str, animation: Animation) -> np.ndarray:
    """Crops (T, 224, 224, 3) as the metric's pipeline would cut them."""
    person = make_identities([config.seed + index], mode)
    frames, truth = render_person(person, animation, config.size, config.quality)
    assert truth.landmarks is not None
    boxes = (face_boxes(truth.landmarks).double().numpy() + 1) * (config.size / 2)
    return track_crops(frames, FaceTrack(0, boxes))


def _mouths(crops: np.ndarray, view: SyncNetConfig, room: float) -> np.ndarray:
    """What the network views of crops (T, 224, 224, 3), and the room around: (T, 3, P, P) uint8, BGR."""
    wider = replace(view, view_side=view.view_side * room, image_size=round(view.image_size * room))
    return look(crops, wider)[0].transpose(0, 1).round().clamp(0, 255).to(torch.uint8).numpy()
