"""What a portrait and a frame cost under a face config, counted on tensors without data.

A frame is what runs for every frame of a video: the driver's warp generator, the warp, the decoder. A source
is what runs once for a portrait. FLOPs, traffic and peak are defined in meter.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vasa.benchmark.meter import Cost, cost_of, fake_tensors
from vasa.face.config import FaceConfig
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.nn.blocks import fold


@dataclass(frozen=True, slots=True)
class FaceCost:
    """Of one config; parameters: of the whole autoencoder."""

    parameters: int
    source: Cost
    frame: Cost


def ready_face(config: FaceConfig) -> FaceAutoencoder:
    """Random weights as a published checkpoint would be used: folded, in eval mode, without gradients."""
    face = FaceAutoencoder(config)
    fold(face)
    return face.eval().requires_grad_(False)


def count(config: FaceConfig) -> FaceCost:
    """Operations of one portrait and of one frame in fp32, whatever their size, without computing them."""
    with fake_tensors(), torch.no_grad():
        face = ready_face(config)
        image = torch.zeros(1, 3, config.size, config.size)
        motion = torch.zeros(1, face.layout.width)
        source = cost_of(lambda: face.encode(image), face)
        appearance = face.encode(image)
        frame = cost_of(lambda: face.render(appearance, motion), face)
        return FaceCost(sum(weight.numel() for weight in face.parameters()), source, frame)
