"""Raw values <-> normalised values. The only place that converts; the diffusion model sees normalised values
alone.

Statistics come from the training cache, live in buffers and so travel inside the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vasa.records import EMOTIONS, Conditions, MotionLayout

MIN_RELATIVE_STD = 0.05
"""A dimension that hardly moves is scaled by at least this share of its group's root mean square deviation:
dividing by its own would make the model spend itself on encoder noise.
"""
GAZE_STD_RAD = 0.25
"""Gaze is only scaled, never centred, so that straight ahead stays 0."""


class Normalizer(nn.Module):
    """Per-dimension mean and standard deviation of raw motion (E), audio features (A) and distance.

    Translation, rotation, log scale and dynamics are separate groups for the floor MIN_RELATIVE_STD.
    """

    motion_mean: Tensor
    motion_std: Tensor
    audio_mean: Tensor
    audio_std: Tensor
    distance_mean: Tensor
    distance_std: Tensor

    def __init__(self, layout: MotionLayout, audio_dim: int) -> None:
        super().__init__()
        self.layout = layout
        for name, width in (("motion", layout.width), ("audio", audio_dim), ("distance", 1)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_std", torch.ones(width))

    def set_statistics(self, statistics: Mapping[str, Tensor]) -> None:
        """Takes motion_mean, motion_std (E,), features_mean, features_std (A,), distance_mean, distance_std
        (1,).
        """
        for name, source in (("motion", "motion"), ("audio", "features"), ("distance", "distance")):
            mean, std = statistics[f"{source}_mean"], statistics[f"{source}_std"]
            buffer = getattr(self, f"{name}_mean")
            if mean.shape != buffer.shape or std.shape != buffer.shape:
                raise ValueError(
                    f"statistics of {source} are {tuple(mean.shape)}; wanted {tuple(buffer.shape)}."
                )
            if not bool(torch.isfinite(mean).all() and torch.isfinite(std).all()):
                raise ValueError(f"statistics of {source} are not finite: encode the clips again.")
            buffer.copy_(mean)
            groups = self._motion_groups() if name == "motion" else [slice(0, len(std))]
            getattr(self, f"{name}_std").copy_(_floored(std, groups))

    def _motion_groups(self) -> list[slice]:
        layout = self.layout
        return [layout.rotation, layout.translation, layout.scale, layout.dynamics]

    def normalise(self, raw: Tensor) -> Tensor:
        """Raw motion (..., E) to normalised motion."""
        return (raw - self.motion_mean) / self.motion_std

    def denormalise(self, motion: Tensor) -> Tensor:
        """Normalised motion (..., E) to raw motion."""
        return motion * self.motion_std + self.motion_mean

    def normalise_audio(self, features: Tensor) -> Tensor:
        """Audio features (..., A), of any float type, to normalised ones."""
        return (features.to(self.audio_mean.dtype) - self.audio_mean) / self.audio_std

    def normalise_conditions(self, conditions: Conditions) -> Conditions:
        """Gaze in units of GAZE_STD_RAD, distance about its mean over the training data. Of emotion, neutral
        takes what the other weights leave of 1, so that all zeros says neutral as records.Conditions has it.
        """
        gaze, distance, emotion = conditions.gaze, conditions.distance, conditions.emotion
        return Conditions(
            gaze=None if gaze is None else gaze / GAZE_STD_RAD,
            distance=None if distance is None else (distance - self.distance_mean) / self.distance_std,
            emotion=None if emotion is None else _completed(emotion),
        )

    def default_conditions(self, batch: int = 1, neutral: bool = False) -> Conditions:
        """Where the user says nothing: gaze straight ahead, mean distance and no emotion, as VASA-1; or a
        neutral one.
        """
        device = self.distance_mean.device
        return Conditions(
            gaze=torch.zeros(batch, 2, device=device),
            distance=self.distance_mean.expand(batch, 1).clone(),
            emotion=torch.zeros(batch, len(EMOTIONS), device=device) if neutral else None,
        )


def _completed(emotion: Tensor) -> Tensor:
    """Emotion weights (B, 8) whose first, neutral, is 1 less the others."""
    others = emotion[:, 1:]
    return torch.cat([(1 - others.sum(1, keepdim=True)).clamp(min=0), others], 1)


def _floored(std: Tensor, groups: list[slice]) -> Tensor:
    """Standard deviations (E,), each at least MIN_RELATIVE_STD of its group's root mean square; all zero
    becomes one.
    """
    floored = std.clone()
    for group in groups:
        rms = std[group].square().mean().sqrt()
        floored[group] = std[group].clamp(min=float(rms) * MIN_RELATIVE_STD) if rms > 1e-8 else 1.0
    return floored
