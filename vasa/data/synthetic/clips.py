"""Synthetic talking clips: speech, an animation that goes with it, and (where wanted) rendered frames with
exact truth.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vasa.data.config import SPLIT_SEEDS, SPLITS, ClipsConfig, SpokenConfig, check_split
from vasa.data.synthetic import dynamics
from vasa.data.synthetic.speech import Speech, silence, synthesise, voice_from_seed
from vasa.data.synthetic.visemes import VISEME_NAMES
from vasa.records import (
    CONTROL_HIGH,
    CONTROL_INDEX,
    CONTROL_LOW,
    EMOTIONS,
    NUM_CONTROLS,
    Animation,
    Clip,
    Truth,
)

if TYPE_CHECKING:
    from vasa.data.synthetic.heads import Identities

NEUTRAL_SHARE = 0.4
"""Share of clips with no expression but what speech does."""
TALKING_SECONDS = 4.0


class SyntheticClips:
    """Clips of a split: ``clips[index]`` with frames, ``clips.animation_only(index)`` the same without them
    and fast.

    A clip is a pure function of (seed, split, index) and of the configuration. Splits share neither
    identities nor voices.

    ``SyntheticClips("train", seed=1, size=128)`` takes fields of ClipsConfig by name, or all at once in
    ``config``.
    """

    def __init__(self, split: str = "train", config: ClipsConfig | None = None, **fields: Any) -> None:
        self.split = check_split(split)
        self.config = replace(config or ClipsConfig(), **fields)

    def __len__(self) -> int:
        return self.config.num_clips

    def __getitem__(self, index: int) -> Clip:
        clip = self.animation_only(index)
        assert clip.truth.animation is not None
        clip.frames, clip.truth = self.render(clip.identity, clip.truth.animation)
        return clip

    def render(self, identity: int, animation: Animation) -> tuple[np.ndarray, Truth]:
        """Frames of a person under an animation, as ``clips[index]`` has them, with their truth."""
        from vasa.data.synthetic.heads import make_identities

        person = make_identities([identity], mode=self.config.mode)
        return render_person(person, animation, self.config.size, self.config.quality)

    def animation_only(self, index: int, emotion: Tensor | None = None) -> Clip:
        """The clip without its frames: audio, true animation and conditions. emotion (8,): another mood than
        its own, all else equal.
        """
        if not 0 <= index < len(self):
            raise IndexError(
                f"clip {index} of {len(self)} in the {self.split} split; wanted 0 to {len(self) - 1}."
            )
        identity, voice = self._seeds(index)
        speech = self.speech(index)
        rng = self._generator(index, 3)
        weights = _emotion(rng)
        if emotion is not None:
            weights = emotion
        animation, looking = animate(speech, weights, rng)
        name = f"{self.split}-{self.config.seed}-{index:06d}-{speech.engine}"
        return Clip(
            clip_id=f"{name}-{speech.language}" if speech.language else name,
            audio=speech.audio,
            truth=Truth(animation=animation),
            gaze=torch.from_numpy(dynamics.main_direction(looking)).float(),
            distance=animation.pose[:, 5].neg().exp().mean(),
            emotion=weights,
            identity=identity,
            voice=voice,
        )

    def speech(self, index: int) -> Speech:
        """What is said in a clip, with its phonemes."""
        rng = self._generator(index, 2)
        if rng.random() < self.config.spoken.silent_share:
            return silence(self.config.seconds)
        voice = voice_from_seed(self._seeds(index)[1], self.split, self.config.spoken)
        return synthesise(int(rng.integers(2**31)), self.config.seconds, voice)

    def _seeds(self, index: int) -> tuple[int, int]:
        """Seeds of the clip's identity and voice, from the split's own range."""
        allowed = SPLIT_SEEDS[self.split]
        drawn = self._generator(index, 1).integers(len(allowed), size=2)
        return allowed[int(drawn[0])], allowed[int(drawn[1])]

    def _generator(self, index: int, stream: int) -> np.random.Generator:
        return np.random.default_rng((self.config.seed, SPLITS.index(self.split), index, stream))


def render_person(
    person: Identities, animation: Animation, size: int, quality: str = "full"
) -> tuple[np.ndarray, Truth]:
    """Frames uint8 (T, size, size, 3) of one person under an animation (T), with their truth."""
    from vasa.data.synthetic import renderer

    parts = []
    for start in range(0, len(animation), 8):
        part = animation[start : start + 8]
        parts.append(renderer.render(person[[0] * len(part)], part, size=size, quality=quality))
    frames = torch.cat([part.image for part in parts])
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in TRUTH_FIELDS}
    pixels = (frames * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return pixels, Truth(animation=animation, **joined)


TRUTH_FIELDS = ("landmarks", "landmarks_3d", "mask", "eye_boxes", "mouth_box")
"""What the renderer knows of each frame beside the animation."""


def animate(speech: Speech, emotion: Tensor, rng: np.random.Generator) -> tuple[Animation, np.ndarray]:
    """Animation (T frames) of somebody saying ``speech`` in a mood, emotion (8,) weights over EMOTIONS; and
    the gaze track.
    """
    style = dynamics.Style.draw(rng)
    pose = dynamics.head_pose(speech, style, rng)
    looking, far = dynamics.gaze(speech, style, pose, rng)
    closure, _ = dynamics.blinks(speech, style.blinks, far, rng)
    controls = np.zeros((speech.num_frames, NUM_CONTROLS))
    for column, name in enumerate(VISEME_NAMES):
        controls[:, CONTROL_INDEX[name]] = speech.visemes[:, column]
    controls[:, CONTROL_INDEX["gaze_yaw"]], controls[:, CONTROL_INDEX["gaze_pitch"]] = looking.T
    controls[:, CONTROL_INDEX["brow_raise"]] = dynamics.brows(speech, style, rng)
    controls[:, CONTROL_INDEX["smile"]] = 0.06 * dynamics.smooth_noise(speech.num_frames, 1.0, 0.2, rng)
    controls += _mood(speech, emotion, rng)
    for side in ("blink_left", "blink_right"):
        # Lids start from where the mood holds them and close all the way from there.
        rest = controls[:, CONTROL_INDEX[side]]
        controls[:, CONTROL_INDEX[side]] = rest + closure * (1 - rest)
    controls = np.clip(controls, CONTROL_LOW, CONTROL_HIGH)
    return Animation(torch.from_numpy(pose).float(), torch.from_numpy(controls).float()), looking


def _mood(speech: Speech, emotion: Tensor, rng: np.random.Generator) -> np.ndarray:
    """Control offsets (T, 11) of an expression, waxing and waning a little."""
    from vasa.data.synthetic.animation import mood_controls

    offset = mood_controls(emotion[None])[0].numpy()
    strength = 1 + 0.12 * dynamics.smooth_noise(speech.num_frames, 0.6, 0.1, rng)
    return strength[:, None] * offset


def _emotion(rng: np.random.Generator) -> Tensor:
    """Weights (8,) over EMOTIONS that sum to 1: often neutral, else one emotion of some strength, sometimes
    two.
    """
    weights = np.zeros(len(EMOTIONS))
    if rng.random() >= NEUTRAL_SHARE:
        chosen = rng.choice(np.arange(1, len(EMOTIONS)), size=2, replace=False)
        strength = rng.uniform(0.3, 1.0)
        share = rng.uniform(0.5, 0.9) if rng.random() < 0.2 else 1.0
        weights[chosen[0]], weights[chosen[1]] = strength * share, strength * (1 - share)
    weights[0] = 1 - weights.sum()
    return torch.from_numpy(weights).float()


@functools.lru_cache(maxsize=4)
def talking_clip(split: str, seed: int, index: int) -> Clip:
    """Somebody's animation (4 s) with formant speech, without frames: for pools of single frames, which give
    its poses or expressions to whomever they like.
    """
    spoken = SpokenConfig(espeak_share=0.0)
    config = ClipsConfig(num_clips=index + 1, seed=seed, seconds=TALKING_SECONDS, spoken=spoken)
    return SyntheticClips(split, config).animation_only(index)
