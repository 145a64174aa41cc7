"""Expressions of talking clips with their emotion, without frames or sound:

What the emotion judge learns from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vasa.data.config import ClipsConfig, EmotionClipsConfig, SpokenConfig
from vasa.data.synthetic.clips import SyntheticClips

FRAMES = 16
"""Kept of each clip, evenly spread."""


@dataclass(slots=True)
class EmotionClips:
    """N clips: controls (N, 16, 11) of some frames, emotion (N, 8) weights."""

    controls: Tensor
    emotion: Tensor

    def stretch(self, clips: Tensor, num_frames: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mean controls (B, 11) over random frames of clips (B,), and their emotion (B, 8)."""
        frames = torch.rand((len(clips), FRAMES), generator=generator).argsort(1)[:, :num_frames]
        return self.controls[clips[:, None], frames].mean(1), self.emotion[clips]


def emotion_clips(config: EmotionClipsConfig) -> EmotionClips:
    """Animates the clips of a config: a pure function of it, about 12 ms each."""
    spoken = SpokenConfig(espeak_share=0.0)
    clips = SyntheticClips(
        "train",
        ClipsConfig(num_clips=config.num_clips, seed=config.seed, seconds=config.seconds, spoken=spoken),
    )
    controls, emotion = [], []
    for index in range(len(clips)):
        clip = clips.animation_only(index)
        assert clip.truth.animation is not None and clip.emotion is not None
        some = torch.linspace(0, len(clip.truth.animation) - 1, FRAMES).round().long()
        controls.append(clip.truth.animation.controls[some])
        emotion.append(clip.emotion)
    return EmotionClips(torch.stack(controls), torch.stack(emotion))
