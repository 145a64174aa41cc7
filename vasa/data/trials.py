"""What a face is tried on and what came of it: the records between making frames and measuring them.

Truth comes from the renderer and from the test split alone; who fills in the made frames is inference, who
measures them is metrics. Frames are uint8 (N, 3, S, S) RGB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vasa.data.config import SPLIT_SEEDS, ClipsConfig, SpokenConfig, TrialsConfig
from vasa.data.synthetic.animation import random_animation
from vasa.data.synthetic.clips import SyntheticClips
from vasa.data.synthetic.heads import Identities, make_identities
from vasa.data.synthetic.renderer import render
from vasa.records import CONTROL_INDEX, EMOTIONS, Animation, Clip

CHUNK = 8
PORTRAIT_SHARE = 0.25
"""How much of a wild frame's pose and expression a source portrait has."""


@dataclass(slots=True)
class ReenactmentTrial:
    """N people (seeds in `people`), to be driven by frames of themselves and of the next.

    source: their portraits. animation: an own wild frame each. true_self, true_cross: renders of them under
    that, and under the next person's. true_swap: their own pose with the next person's expression.
    """

    people: Tensor
    source: Tensor
    animation: Animation
    true_self: Tensor
    true_cross: Tensor
    true_swap: Tensor


@dataclass(slots=True)
class Reenactment:
    """What a face made of the sources, driven by the frames of true_self: the same three kinds of frames."""

    trial: ReenactmentTrial
    made_self: Tensor
    made_cross: Tensor
    made_swap: Tensor


@dataclass(slots=True)
class SpokenClip:
    """Unseen speech on an unseen portrait.

    made: (T, 3, S, S). track: the head's generated rotation (T, 3), radians. true: renders of the clip's own
    animation, of some clips. seconds: CPU time that making took.
    """

    clip: Clip
    made: Tensor
    track: Tensor
    true: Tensor | None
    seconds: float


@dataclass(slots=True)
class AskedClip:
    """A clip for which gaze (2,), distance () and emotion (8,) were asked for; some of its frames.

    framing: the distance that the asked one is relative to, the portrait's own; 1 for true clips.
    """

    gaze: Tensor
    distance: Tensor
    emotion: Tensor
    made: Tensor
    framing: float = 1.0


@dataclass(slots=True)
class Recording:
    """A real recording (N,) at AUDIO_HZ that ends in a second of silence, spoken by a rendered portrait."""

    name: str
    audio: np.ndarray
    made: Tensor


@dataclass(slots=True)
class RealClip:
    """A real video, self-reenacted from its first frame.

    source: (3, S, S). true, made, and warped with nothing learned: (F, 3, S, S). boxes: the face in each true
    frame (F, 4).
    """

    name: str
    source: Tensor
    true: Tensor
    made: Tensor
    boxes: Tensor
    warped: Tensor | None


@dataclass(slots=True)
class Photograph:
    """A real photograph or painting.

    source: (3, H, H); box: the face in it (4,). made: speaking frames (T, 3, H, H). jaw: how far the mouth
    that belongs to the speech opens (T,). turned: (Y, 3, H, H) under commanded yaw (Y,), radians from its
    own.
    """

    name: str
    source: Tensor
    box: Tensor
    jaw: Tensor
    made: Tensor
    commanded_yaw: Tensor
    turned: Tensor


@dataclass(slots=True)
class Outcomes:
    """Everything a checkpoint was tried on. skipped: what could not be tried, and why."""

    reenactment: Reenactment | None = None
    spoken: list[SpokenClip] = field(default_factory=list)
    asked: list[AskedClip] = field(default_factory=list)
    asked_true: list[AskedClip] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)
    real_clips: list[RealClip] = field(default_factory=list)
    photographs: list[Photograph] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def to_uint8(frames: Tensor) -> Tensor:
    """Float frames in [-1, 1] -> uint8."""
    return ((frames.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def to_float(frames: Tensor) -> Tensor:
    """uint8 frames -> float in [-1, 1]."""
    return frames.float() / 127.5 - 1


@torch.inference_mode()
def true_frames(people: Identities, animation: Animation, config: TrialsConfig) -> Tensor:
    """Renders of N people, each under its own frame of an animation: uint8 (N, 3, S, S)."""
    parts = []
    for start in range(0, len(people), CHUNK):
        some = slice(start, start + CHUNK)
        out = render(people[some], animation[some], config.size, config.quality)
        parts.append(to_uint8(out.image * 2 - 1))
    return torch.cat(parts)


def reenactment_trial(config: TrialsConfig) -> ReenactmentTrial:
    """People of the test split, rendered."""
    first = SPLIT_SEEDS["test"].start + 10_000 * (config.seed + 1)
    seeds = list(range(first, first + config.pairs))
    people = make_identities(seeds)
    animation = random_animation([seed * 7 + 1 for seed in seeds])
    portrait = mildly(random_animation([seed * 7 + 2 for seed in seeds]))
    following = Animation(animation.pose.roll(-1, 0), animation.controls.roll(-1, 0))
    swapped = Animation(animation.pose, following.controls)
    source, true_self, true_cross, true_swap = (
        true_frames(people, frames, config) for frames in (portrait, animation, following, swapped)
    )
    return ReenactmentTrial(torch.tensor(seeds), source, animation, true_self, true_cross, true_swap)


def mildly(animation: Animation) -> Animation:
    """A quieter copy of wild frames, mouths closed and eyes open: how portraits look."""
    pose, controls = animation.pose * PORTRAIT_SHARE, animation.controls * PORTRAIT_SHARE
    for name in ("jaw", "blink_left", "blink_right", "lip_press", "lip_pucker"):
        controls[:, CONTROL_INDEX[name]] = 0.0
    return Animation(pose, controls)


def spoken_clips(config: TrialsConfig) -> SyntheticClips:
    """The test clips that are spoken. Where espeak is missing, formants speak alone."""
    clips = ClipsConfig(
        num_clips=config.clips,
        seed=config.seed,
        seconds=config.clip_seconds,
        size=config.size,
        quality=config.quality,
        spoken=SpokenConfig.possible(),
    )
    return SyntheticClips("test", clips)


def speaking(clip: Clip) -> bool:
    """Whether anybody speaks in a clip: a few hold nothing but noise, and mouths that stay closed."""
    assert clip.truth.animation is not None
    return float(clip.truth.animation.controls[:, CONTROL_INDEX["jaw"]].std()) > 0.02


def asked_values(config: TrialsConfig) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(gaze (2,), distance (), emotion (8,)) to ask for, one a clip, over the ranges people talk in."""
    generator = torch.Generator().manual_seed(config.seed * 9973 + 17)
    values = []
    for index in range(config.asked_clips):
        u = torch.rand(4, generator=generator) * 2 - 1
        emotion = torch.zeros(len(EMOTIONS))
        kind = 1 + index % (len(EMOTIONS) - 1)
        emotion[kind] = 0.65 + 0.35 * float(u[3])
        emotion[0] = 1 - emotion[kind]
        gaze = torch.stack([u[0] * math.radians(14), u[1] * math.radians(9)])
        values.append((gaze, (u[2] * math.log(1.2)).exp(), emotion))
    return values


def portrait_of(person: int, config: TrialsConfig) -> Tensor:
    """A source portrait (3, S, S) of one person."""
    return true_frames(make_identities([person]), portrait_animation(person), config)[0]


def portrait_animation(person: int) -> Animation:
    """How this person looks in ``portrait_of``."""
    return mildly(random_animation([person * 7 + 2]))
