"""All judges together: what generated frames show, measured by networks that no loss has ever used.

Input is frames, output is numbers in the units of records.py; whose frames they are, a judge never knows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from vasa.pretrained.emotion import EmotionNet
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.identity import IdentityNet
from vasa.pretrained.landmarks import LandmarkNet
from vasa.pretrained.registry import path_of

CHUNK = 50
"""Frames looked at together."""


@dataclass(slots=True)
class Measurement:
    """What judges say of T frames.

    pose (T, 6), landmarks (T, 68, 2), controls (T, 11), identity (T, E) unit vectors.
    """

    pose: Tensor
    landmarks: Tensor
    controls: Tensor
    identity: Tensor


@dataclass(slots=True)
class Judges:
    """The four judges; landmarks by which the others cut their crops come from the pose judge itself."""

    pose: LandmarkNet
    expression: ExpressionNet
    emotion: EmotionNet
    identity: IdentityNet

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: torch.device | str = "cpu") -> Self:
        """Reads judge_*.safetensors of a folder. Raises: FileNotFoundError, CheckpointError."""
        return cls(
            LandmarkNet.from_pretrained(path_of("judge_pose", folder)).to(device),
            ExpressionNet.from_pretrained(path_of("judge_expression", folder)).to(device),
            EmotionNet.from_pretrained(path_of("judge_emotion", folder)).to(device),
            IdentityNet.from_pretrained(path_of("judge_identity", folder)).to(device),
        )

    @torch.inference_mode()
    def measure(self, frames: Tensor) -> Measurement:
        """Frames (T, 3, S, S) of any size, framed by the crop rule -> what they show, on the CPU.

        uint8, or float in [-1, 1].
        """
        size, device = self.pose.config.size, next(self.pose.parameters()).device
        parts = []
        for start in range(0, len(frames), CHUNK):
            images = frames[start : start + CHUNK].to(device)
            images = images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images.float()
            if images.shape[-1] != size:
                images = torch.nn.functional.interpolate(
                    images, size=(size, size), mode="bilinear", align_corners=False, antialias=True
                )
            seen = self.pose(images)
            parts.append(
                Measurement(
                    seen.pose,
                    seen.landmarks,
                    self.expression(images, seen.landmarks),
                    self.identity(images, seen.landmarks),
                )
            )
        names = [field.name for field in fields(Measurement)]
        return Measurement(**{n: torch.cat([getattr(part, n) for part in parts]).cpu() for n in names})

    @torch.inference_mode()
    def felt(self, seen: Measurement) -> Tensor:
        """The emotion (8,) that a stretch of frames shows: weights over EMOTIONS that sum to 1."""
        device = next(self.emotion.parameters()).device
        return self.emotion(seen.controls.mean(0, keepdim=True).to(device))[0].cpu()
