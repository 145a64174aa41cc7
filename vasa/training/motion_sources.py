"""Where the motion of stage 2's clips is from: frames seen by a face space's encoder, the exact animation of
procedural heads, as it is or in a face's code, or motion templates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vasa.data.clip_store import ClipStore
from vasa.data.synthetic.clips import SyntheticClips
from vasa.face.keypoints.space import MOTION_WIDTH
from vasa.face.keypoints.template import PUBLISHED_KEYPOINTS
from vasa.face.spaces import encoders_hash, face_file, load_space
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.records import NUM_CONTROLS, POSE_NAMES, Animation, Clip
from vasa.training.label_code import LabelCode
from vasa.training.motion_config import EncodeMotionRun
from vasa.training.runtime import choose_device
from vasa.training.template_clips import TemplateClips

EXACT = "exact animation"
"""Stands for a face checkpoint's hash in caches of exact animation."""


@dataclass(slots=True)
class MotionSource:
    """clip(index) -> one of ``num_clips`` clips; motion(clip) -> its raw motion (T, 6 + dynamics_dim).
    hash: of the encoders that made it, or what stands for them.
    """

    hash: str
    dynamics_dim: int
    num_clips: int
    clip: Callable[[int], Clip]
    motion: Callable[[Clip], Tensor]


def motion_source(run: EncodeMotionRun) -> MotionSource:
    """Raises: FileNotFoundError, CheckpointError, ValueError."""
    if run.templates is not None:
        stored = TemplateClips(run.templates)
        made_by = PUBLISHED_KEYPOINTS if run.face is None else encoders_hash(face_file(run.face))
        return MotionSource(made_by, MOTION_WIDTH - len(POSE_NAMES), len(stored), stored.clip, stored.motion)
    clips, num_clips = SyntheticClips(run.split, run.clips), run.clips.num_clips
    if run.face is None:
        return MotionSource(EXACT, NUM_CONTROLS, num_clips, clips.animation_only, exact_motion)
    path, device = face_file(run.face), choose_device(run.device)
    face, made_by = load_space(path, device), encoders_hash(path)
    width = face.layout.width - face.layout.dynamics.start
    if run.label_heads:
        if not isinstance(face, FaceAutoencoder):
            raise ValueError(
                f"label_heads={run.label_heads} wants labels that {path} was trained on, and keypoints have "
                "none; give label_heads=0, which renders the clips and encodes their frames."
            )
        code = LabelCode.fit(face, run.label_heads, device)
        coded = lambda clip: code(animation_of(clip))  # noqa: E731
        return MotionSource(made_by, width, num_clips, clips.animation_only, coded)
    seen = lambda clip: encode_frames(clip, face.motion, run.batch_frames, device)  # noqa: E731
    if run.store is None:
        rendered = SyntheticClips(run.split, run.clips, size=face.size)
        return MotionSource(made_by, width, num_clips, rendered.__getitem__, seen)
    store = ClipStore(run.store, run.split)
    if not len(store):
        raise ValueError(f"store={run.store} has no clip in the {run.split} split; wanted some.")
    return MotionSource(made_by, width, len(store), store.read, seen)


def animation_of(clip: Clip) -> Animation:
    """A clip's true animation. Raises: ValueError where it has none."""
    if clip.truth.animation is None:
        raise ValueError(
            f"clip {clip.clip_id} has no true animation; encode its frames with a face checkpoint."
        )
    return clip.truth.animation


def exact_motion(clip: Clip) -> Tensor:
    """Pose and controls (T, 17) of a clip, as they are."""
    animation = animation_of(clip)
    return torch.cat([animation.pose, animation.controls], 1)


@torch.no_grad()
def encode_frames(
    clip: Clip, motion: Callable[[Tensor], Tensor], batch_frames: int, device: torch.device
) -> Tensor:
    """Raw motion (T, E) on the CPU of a clip's frames; motion: (B, 3, S, S) in [-1, 1] -> (B, E)."""
    assert clip.frames is not None
    parts = []
    for part in torch.from_numpy(clip.frames).split(batch_frames):
        images = part.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        parts.append(motion(images).float().cpu())
    return torch.cat(parts)
