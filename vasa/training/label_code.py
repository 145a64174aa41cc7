"""The face's motion code of exact labels: what its encoders would say of a frame whose pose and controls are
known.

Procedural clips know their pose and controls, so rendering and encoding each of their frames can be spared: a
linear map from controls to z_dyn, fitted on a few hundred rendered frames, writes them in the face's own
code. Fifty times faster than rendering, and without the encoders' noise. Real videos have no labels and go
through the encoders.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vasa.data.config import SPLIT_SEEDS
from vasa.data.synthetic.animation import random_animation
from vasa.data.synthetic.heads import make_identities
from vasa.data.synthetic.renderer import render
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.records import Animation

FRAMES_PER_HEAD = 16
RIDGE = 1e-3


class LabelCode:
    """Animation (T frames) -> raw motion (T, E) in a face's code."""

    def __init__(self, face: FaceAutoencoder, weight: Tensor) -> None:
        self.face, self.weight = face, weight

    @staticmethod
    @torch.no_grad()
    def fit(face: FaceAutoencoder, num_heads: int, device: torch.device) -> LabelCode:
        """Fits the map on ``num_heads`` training identities in 16 random animations each, deterministic."""
        codes, labels = [], []
        start = SPLIT_SEEDS["train"].stop - num_heads
        for head in range(num_heads):
            animation = random_animation([head * FRAMES_PER_HEAD + n for n in range(FRAMES_PER_HEAD)])
            people = make_identities([start + head])[[0] * FRAMES_PER_HEAD]
            images = render(people, animation, face.size, "draft").image.to(device) * 2 - 1
            codes.append(face.dynamics_encoder(images, animation.pose.to(device)).cpu())
            labels.append(animation.controls)
        x = torch.cat([torch.cat(labels), torch.ones(num_heads * FRAMES_PER_HEAD, 1)], 1).double()
        gram = x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
        return LabelCode(face.cpu(), torch.linalg.solve(gram, x.T @ torch.cat(codes).double()).float())

    @torch.no_grad()
    def __call__(self, animation: Animation) -> Tensor:
        controls = animation.controls
        z_dyn = torch.cat([controls, torch.ones_like(controls[:, :1])], 1) @ self.weight
        return self.face.set_controls(torch.cat([animation.pose, z_dyn], 1), controls)
