"""LivePortrait's motion templates (.pkl): read as motion that drives, and written from motion that was made.

A template is a pickle of a dict; reading builds numbers and arrays and nothing else (vasa/safe_pickle.py).
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vasa.checkpoint import CheckpointError, atomic_path
from vasa.face.keypoints.animation import KeypointMotion
from vasa.face.keypoints.space import from_raw, to_raw
from vasa.records import VIDEO_FPS
from vasa.safe_pickle import load_arrays

ENDING = ".pkl"
PUBLISHED_KEYPOINTS = "LivePortrait's motion templates"
"""Stands for the hash of the encoders that made a motion, where only templates of it are known."""
SHAPES = {"scale": (1, 1), "R": (1, 3, 3), "exp": (1, 21, 3), "t": (1, 3)}
OLD_SPELLING = {"R": "R_d"}
RATIOS = {"eyes": ("c_eyes_lst", "c_d_eyes_lst"), "lips": ("c_lip_lst", "c_d_lip_lst")}
RATIO_SHAPES = {"eyes": (1, 2), "lips": (1, 1)}
LOWEST_FPS, HIGHEST_FPS = 1, 240


def read_template(path: Path) -> KeypointMotion:
    """Every frame of a template at 25 fps: its own, or the one that was last when it has another rate.

    Raises: FileNotFoundError; PickleFileError; ValueError where it is no template.
    """
    return motion_of_template(load_arrays(path), str(path))


def motion_of_template(content: Any, named: str) -> KeypointMotion:
    """As ``read_template``, of what a template holds. named: where it is from, for messages."""
    frames = content.get("motion") if isinstance(content, Mapping) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(one, Mapping) for one in frames):
        raise ValueError(f"{named} is no motion template: it has no list 'motion' of frames.")
    parts = {name: _stacked(named, frames, name, shape) for name, shape in SHAPES.items()}
    motion = KeypointMotion(parts["R"], parts["exp"], parts["scale"], parts["t"])
    for field, names in RATIOS.items():
        listed = next((content[name] for name in names if content.get(name)), None)
        if isinstance(listed, list) and len(listed) == len(frames):
            setattr(motion, field, _rows(named, listed, names[0], RATIO_SHAPES[field]))
    fps = content.get("output_fps", VIDEO_FPS)
    if not isinstance(fps, int | float) or not LOWEST_FPS <= fps <= HIGHEST_FPS:
        raise ValueError(f"{named}: output_fps is {fps!r}; wanted {LOWEST_FPS} to {HIGHEST_FPS}.")
    return _at_our_rate(motion, float(fps))


def _stacked(named: str, frames: list[Any], name: str, shape: tuple[int, ...]) -> Tensor:
    return _rows(named, [one.get(name, one.get(OLD_SPELLING.get(name, name))) for one in frames], name, shape)


def _rows(named: str, values: list[Any], name: str, shape: tuple[int, ...]) -> Tensor:
    """Arrays of a frame each as one (T, ...)."""
    found = []
    for number, value in enumerate(values):
        if not isinstance(value, np.ndarray) or value.size != int(np.prod(shape)):
            raise ValueError(f"{named} is no motion template: frame {number} has no {name} of shape {shape}.")
        if not np.isfinite(value).all():
            raise ValueError(f"{named}: {name} of frame {number} is not finite; wanted numbers.")
        found.append(value.reshape(shape))
    return torch.from_numpy(np.concatenate(found)).float()


def _at_our_rate(motion: KeypointMotion, fps: float) -> KeypointMotion:
    if fps == VIDEO_FPS:
        return motion
    count = max(1, round(len(motion) * VIDEO_FPS / fps))
    places = (torch.arange(count) * fps / VIDEO_FPS).clamp(max=len(motion) - 1)
    low = places.floor().long()
    share = (places - low)[:, None]
    raw, high = to_raw(motion), (low + 1).clamp(max=len(motion) - 1)
    between = from_raw(torch.lerp(raw[low], raw[high], share))
    for field in RATIOS:
        ratios = getattr(motion, field)
        if ratios is not None:
            setattr(between, field, torch.lerp(ratios[low], ratios[high], share))
    return between


def write_template(path: Path, raw: Tensor) -> None:
    """Raw keypoint motion (T, 69) as a template of LivePortrait, 25 fps."""
    motion = from_raw(raw.detach().float().cpu())
    named = {"scale": motion.scale, "R": motion.turned, "exp": motion.expression, "t": motion.t}
    frames = [
        {name: values[number : number + 1].numpy().reshape(SHAPES[name]) for name, values in named.items()}
        for number in range(len(motion))
    ]
    content = {"n_frames": len(frames), "output_fps": VIDEO_FPS, "motion": frames}
    with atomic_path(path) as temporary:
        temporary.write_bytes(pickle.dumps(content, protocol=4))


def check_same_keypoints(learned_from: str, path: Path, encoders: str) -> None:
    """Raises: CheckpointError where a motion model learned from keypoints of another network. Published ones
    do not say from which, nor do motion templates: they are LivePortrait's.
    """
    if learned_from not in ("", PUBLISHED_KEYPOINTS, encoders):
        raise CheckpointError(
            f"{path} learned from keypoints of {learned_from[:12]}, this face space's are {encoders[:12]}; "
            "bundle a motion model with the space whose motion it was trained on."
        )
