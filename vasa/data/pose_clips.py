"""Sound and head pose of talking clips, without frames: what CAPP learns from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vasa.data.config import ClipsConfig, PoseClipsConfig, SpokenConfig
from vasa.data.synthetic.augment import augment
from vasa.data.synthetic.clips import SyntheticClips
from vasa.records import CONTROL_INDEX


@dataclass(slots=True)
class PoseClip:
    """audio (N,) float32, as recorded; pose (T, 6), true; jaw (T,), which moves what an estimator sees."""

    audio: np.ndarray
    pose: Tensor
    jaw: Tensor


def pose_clips(config: PoseClipsConfig) -> Iterator[PoseClip]:
    """Animates the clips of a config one after the other: a pure function of it, about 0.1 s each."""
    spoken = SpokenConfig(espeak_share=config.espeak_share, silent_share=0.0)
    clips = SyntheticClips(
        config.split,
        ClipsConfig(num_clips=config.num_clips, seed=config.seed, seconds=config.seconds, spoken=spoken),
    )
    for index in range(len(clips)):
        clip = clips.animation_only(index)
        assert clip.truth.animation is not None
        rng = np.random.default_rng((config.seed, index, 90))
        audio = augment(clip.audio, rng) if rng.random() < config.recorded_share else clip.audio
        animation = clip.truth.animation
        yield PoseClip(audio, animation.pose, animation.controls[:, CONTROL_INDEX["jaw"]])
