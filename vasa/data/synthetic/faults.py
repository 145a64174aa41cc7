"""What is wrong with bad videos, given to synthetic clips one at a time and in doses that are known exactly.

Faults of motion, and of who is seen, change the animation or the person and are rendered anew, so that a face
with stiff lips is a face with stiff lips and not a warped picture. The others change sound or pixels. A fault
at its neutral dose changes nothing; the same arguments give the same clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vasa.data.config import SPLIT_SEEDS, SPLITS
from vasa.data.synthetic.clips import TRUTH_FIELDS, SyntheticClips, render_person
from vasa.data.synthetic.degradation import blurred
from vasa.data.synthetic.heads import Identities
from vasa.data.synthetic.parameters import CATEGORIES, PARAMETER_INDEX, draw_parameters
from vasa.data.synthetic.visemes import VISEME_NAMES
from vasa.records import CONTROL_INDEX, SAMPLES_PER_FRAME, Animation, Clip, Truth

DRIFT_STEPS = 24
"""Steps in which a drifting person changes: each needs new textures. Of four frames each in 4 s."""
STAYS = ("light_", "cloth_", "collar", "glasses_")
"""Beginnings of parameters that make no person: these do not drift, nor do CATEGORIES: they have no middle.
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """text: what the fault does. unit: of its dose. neutral: the dose that changes nothing."""

    text: str
    unit: str
    neutral: float = 0.0

    def severity(self, dose: float) -> float:
        """How far a dose is from the neutral one: by the logarithm of its ratio where doses are factors."""
        if not self.neutral:
            return abs(dose)
        return abs(math.log(dose / self.neutral)) if dose > 0 else math.inf


FAULTS = {
    "lag": Fault("the sound comes late (below 0: early), silence fills the end", "frames"),
    "jitter": Fault("every frame's yaw, pitch and roll are off by independent noise", "degrees"),
    "blur": Fault("frames are blurred by a Gaussian", "px"),
    "stiff_lips": Fault("jaw and lips move by so much less with the speech", "share lost"),
    "frozen_gaze": Fault("eyes and lids move by so much less about their median", "share lost"),
    "identity_drift": Fault("the person turns into another one from start to end", "share at the end"),
    "dropped_frames": Fault("frames are replaced by the one before", "share of frames"),
    "mouth_noise": Fault("noise lies on the mouth's box, anew in every frame", "standard deviation"),
    "motion_scale": Fault("the head moves by a factor more or less about its mean", "factor", neutral=1.0),
}


class FaultyClips:
    """Clips with one fault: ``FaultyClips(clips)(index, "blur", 2.0)``; without: ``faultless(index)``."""

    def __init__(self, clips: SyntheticClips) -> None:
        self.clips = clips
        self._kept: tuple[int, Clip] | None = None

    def faultless(self, index: int) -> Clip:
        """The clip as it is, with frames; the last one is kept, because several faults begin with it."""
        if self._kept is None or self._kept[0] != index:
            self._kept = (index, self.clips[index])
        return self._kept[1]

    def __call__(self, index: int, fault: str, dose: float) -> Clip:
        """Its truth is that of what it shows: the animation with the fault. Raises: ValueError."""
        if fault not in FAULTS:
            raise ValueError(f"fault is {fault!r}; wanted one of {', '.join(FAULTS)}.")
        place = (SPLITS.index(self.clips.split), index, list(FAULTS).index(fault))
        rng = np.random.default_rng((self.clips.config.seed, *place))
        if fault == "lag":
            clip = self.faultless(index)
            return replace(clip, audio=delayed(clip.audio, round(dose) * SAMPLES_PER_FRAME))
        if fault in OF_PIXELS:
            clip = self.faultless(index)
            return replace(clip, frames=OF_PIXELS[fault](clip, dose, rng))
        clip = self.clips.animation_only(index)
        animation = clip.truth.animation
        assert animation is not None
        if fault in OF_MOTION:
            frames, truth = self.clips.render(clip.identity, OF_MOTION[fault](animation, dose, rng))
        else:
            frames, truth = self._drifting(clip.identity, animation, dose, rng)
        return replace(clip, frames=frames, truth=truth)

    def _drifting(
        self, identity: int, animation: Animation, dose: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, Truth]:
        """Frames of a person whose parameters go towards another's of the same split, and their truth."""
        config, allowed = self.clips.config, SPLIT_SEEDS[self.clips.split]
        other = allowed[int(rng.integers(len(allowed)))]
        steps = torch.arange(len(animation)) * DRIFT_STEPS // len(animation)
        parts = []
        for step in steps.unique().tolist():
            values = drifted(identity, other, dose * step / (DRIFT_STEPS - 1), config.mode)
            person = Identities(values[None], torch.tensor([identity]), config.mode)
            parts.append(render_person(person, animation[steps == step], config.size, config.quality))
        joined = {name: torch.cat([getattr(truth, name) for _, truth in parts]) for name in TRUTH_FIELDS}
        return np.concatenate([frames for frames, _ in parts]), Truth(animation=animation, **joined)


# Faults of motion: Animation, dose, noise -> Animation


def jittered(animation: Animation, dose: float, rng: np.random.Generator) -> Animation:
    """Head angles with Gaussian noise, its standard deviation ``dose`` degrees."""
    pose = animation.pose.clone()
    noise = torch.from_numpy(rng.standard_normal((len(pose), 3)))
    pose[:, :3] += (noise * math.radians(dose)).to(pose)
    return Animation(pose, animation.controls)


def stiffened(animation: Animation, dose: float, rng: np.random.Generator) -> Animation:
    """The controls that speech moves, scaled by 1 - dose: a mouth that articulates less, and last not."""
    controls = animation.controls.clone()
    controls[:, _columns(VISEME_NAMES)] *= 1 - dose
    return Animation(animation.pose, controls)


def gaze_frozen(animation: Animation, dose: float, rng: np.random.Generator) -> Animation:
    """Gaze and lids scaled by 1 - dose about their medians, so that mood and main direction stay."""
    columns = _columns(("gaze_yaw", "gaze_pitch", "blink_left", "blink_right"))
    controls = animation.controls.clone()
    rest = controls[:, columns].median(0).values
    controls[:, columns] = torch.lerp(controls[:, columns], rest.expand(len(controls), -1), dose)
    return Animation(animation.pose, controls)


def motion_scaled(animation: Animation, dose: float, rng: np.random.Generator) -> Animation:
    """Angles, place and nearness of the head, their departures from the clip's mean times ``dose``."""
    mean = animation.pose.mean(0, keepdim=True)
    return Animation(animation.pose + (dose - 1) * (animation.pose - mean), animation.controls)


def _columns(names: tuple[str, ...]) -> list[int]:
    return [CONTROL_INDEX[name] for name in names]


OF_MOTION: dict[str, Callable[[Animation, float, np.random.Generator], Animation]] = {
    "jitter": jittered,
    "stiff_lips": stiffened,
    "frozen_gaze": gaze_frozen,
    "motion_scale": motion_scaled,
}


def drifted(identity: int, other: int, share: float, mode: str) -> Tensor:
    """Parameters (P,) of one person, moved by ``share`` towards those of another (seeds)."""
    own, target = draw_parameters([identity, other], mode)
    stays = torch.tensor([n.startswith(STAYS) or n in CATEGORIES for n in PARAMETER_INDEX])
    return torch.where(stays, own, torch.lerp(own, target, share))


# Faults of pixels: clip with frames and truth, dose, noise -> frames


def softened(clip: Clip, dose: float, rng: np.random.Generator) -> np.ndarray:
    """Frames blurred with a Gaussian of ``dose`` px."""
    assert clip.frames is not None
    images = torch.from_numpy(clip.frames).permute(0, 3, 1, 2).float()
    soft = torch.cat([blurred(part, dose) for part in images.split(16)])
    return soft.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def dropped(clip: Clip, dose: float, rng: np.random.Generator) -> np.ndarray:
    """A share ``dose`` of frames, never the first, shows what was shown before; more doses drop more of the
    same.
    """
    assert clip.frames is not None
    num = len(clip.frames)
    shown = np.arange(num)
    shown[1 + rng.permutation(num - 1)[: round(dose * (num - 1))]] = 0
    return clip.frames[np.maximum.accumulate(shown)]


def mouth_noised(clip: Clip, dose: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise, ``dose`` times 255 its standard deviation, on the pixels of the mouth's box."""
    assert clip.frames is not None and clip.truth.mouth_box is not None
    size = clip.frames.shape[1]
    centre = (torch.arange(size) * 2 + 1) / size - 1
    left, top, right, bottom = clip.truth.mouth_box[:, :, None].unbind(1)  # each (T, 1)
    across, down = (centre >= left) & (centre <= right), (centre >= top) & (centre <= bottom)
    inside = (down[:, :, None] & across[:, None]).numpy()  # (T, H, W)
    frames = clip.frames.copy()
    noise = rng.standard_normal((int(inside.sum()), 3)) * (255 * dose)
    frames[inside] = (frames[inside] + noise).round().clip(0, 255).astype(np.uint8)
    return frames


OF_PIXELS: dict[str, Callable[[Clip, float, np.random.Generator], np.ndarray]] = {
    "blur": softened,
    "dropped_frames": dropped,
    "mouth_noise": mouth_noised,
}


def delayed(audio: np.ndarray, samples: int) -> np.ndarray:
    """Sound (N,) that comes ``samples`` later (below 0: earlier); its length stays, zeros fill the end."""
    moved, samples = np.zeros_like(audio), max(-len(audio), min(samples, len(audio)))
    if samples >= 0:
        moved[samples:] = audio[: len(audio) - samples]
    else:
        moved[:samples] = audio[-samples:]
    return moved
