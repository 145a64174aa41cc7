"""What the geometric warp alone makes of a portrait: the baseline that evaluations hold learning against."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vasa.face.delegated import DelegatedFace
from vasa.face.volumetric.autoencoder import FaceAutoencoder


class UntrainedWarp(DelegatedFace):
    """A volumetric face space with source pixels whose frames the geometric warp makes alone: a baseline."""

    space: FaceAutoencoder

    def render(self, appearance: Any, motion: Tensor) -> Tensor:
        return self.space.render(appearance, motion, learned=False)
