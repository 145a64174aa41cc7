"""Terms of stage 1 that need the renderer's truth: labels of the encoders, exact flow and visibility. Records
of real video have none of it, and label-free recipes switch these terms off.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.data.frame_pairs import FacePairs
from vasa.face.volumetric.appearance import Appearance, Rendering
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.losses.config import FaceLossConfig
from vasa.losses.reconstruction import detail_weight, flow_huber, mask_cross_entropy, weighted_l1
from vasa.records import CONTROL_NAMES
from vasa.training.driver_augment import colour_jitter, to_float

POSE_SCALE = (0.10, 0.10, 0.10, 0.05, 0.05, 0.05)
"""What counts as one unit of error of each pose entry in the label loss: about 6 degrees, 5 % of a half
width or of scale.
"""
CONTROL_SCALE = (0.15, 0.12) + (0.3,) * (len(CONTROL_NAMES) - 2)
LANDMARK_SCALE = 0.1
MIRRORED_POSE = (-1.0, 1.0, -1.0, -1.0, 1.0, 1.0)
"""What becomes of yaw, pitch, roll, x, y and log scale in a mirror."""


def _pose_error(pose: Tensor, true_pose: Tensor) -> Tensor:
    error = (pose - true_pose) / pose.new_tensor(POSE_SCALE)
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.2)


def control_error(model: FaceAutoencoder, dynamics: Tensor, batch: FacePairs) -> Tensor:
    """How far codes (2 B, E) of sources, then of targets, are from reading as the true controls."""
    return _control_error(model, dynamics, _truth(batch)[1])


def _control_error(model: FaceAutoencoder, dynamics: Tensor, true_controls: Tensor) -> Tensor:
    reading = model.dynamics_encoder.controls(dynamics)
    error = (reading - true_controls) / reading.new_tensor(CONTROL_SCALE)
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.2)


def _landmark_error(found: Tensor, true: Tensor) -> Tensor:
    return (found - true).abs().mean() / LANDMARK_SCALE


def _truth(batch: FacePairs) -> tuple[Tensor, Tensor]:
    """True poses (2 B, 6) and controls (2 B, 11) of sources, then of targets."""
    assert batch.source_pose is not None and batch.target_pose is not None
    assert batch.source_controls is not None and batch.target_controls is not None
    pose = torch.cat([batch.source_pose, batch.target_pose])
    return pose, torch.cat([batch.source_controls, batch.target_controls])


def encoder_terms(model: FaceAutoencoder, losses: FaceLossConfig, batch: FacePairs) -> dict[str, Tensor]:
    """Label losses alone; an encoder whose weight is 0 is not run, so that one can be trained alone. The
    pose encoder sees half of the pictures mirrored: it is the first to learn its people by heart.
    """
    frames = torch.cat([to_float(batch.source), to_float(batch.driver)])
    seen = colour_jitter(frames, torch.cat([batch.jitter[:, 0], batch.jitter[:, 1]]))
    true_pose, true_controls = _truth(batch)
    terms: dict[str, Tensor] = {}
    count, small = len(batch.source), model.config.encoder_input
    shrunk = F.interpolate(seen, (small, small), mode="bilinear", antialias=True)
    if losses.pose > 0:
        mirrored = (batch.jitter[..., 6].T.reshape(-1, 1) > 0).to(shrunk.device)
        given = torch.where(mirrored[..., None, None], shrunk.flip(-1), shrunk)
        wanted = torch.where(mirrored, true_pose * true_pose.new_tensor(MIRRORED_POSE), true_pose)
        terms["pose"] = _pose_error(model.pose_encoder(given), wanted)
    if losses.controls > 0:
        terms["controls"] = _control_error(model, model.dynamics_encoder(seen, true_pose), true_controls)
    if losses.landmarks > 0:
        assert batch.landmarks is not None
        found = model.identity_encoder(shrunk[:count], seen[:count], true_pose[:count])[1]
        terms["landmarks"] = _landmark_error(found, batch.landmarks)
    return terms


def label_terms(
    model: FaceAutoencoder,
    losses: FaceLossConfig,
    batch: FacePairs,
    pose: Tensor,
    dynamics: Tensor,
    appearance: Appearance,
    rendering: Rendering,
) -> dict[str, Tensor]:
    """The active terms. pose and dynamics: of sources and drivers, (2 B or more, E)."""
    terms: dict[str, Tensor] = {}
    both = 2 * len(batch.source)
    if losses.pose > 0:
        terms["pose"] = _pose_error(pose[:both], _truth(batch)[0])
    if losses.controls > 0:
        terms["controls"] = control_error(model, dynamics[:both], batch)
    if losses.landmarks > 0:
        assert batch.landmarks is not None
        terms["landmarks"] = _landmark_error(appearance.landmarks, batch.landmarks)
    if rendering.base is not None:
        terms |= _geometry_terms(losses, batch, rendering)
    return terms


def _geometry_terms(losses: FaceLossConfig, batch: FacePairs, rendering: Rendering) -> dict[str, Tensor]:
    """Terms on the carried pixels, the flow and the synthesis mask."""
    terms: dict[str, Tensor] = {}
    if max(losses.warped, losses.flow, losses.mask) <= 0:
        return terms
    assert rendering.flow is not None and rendering.warped is not None
    assert rendering.alpha is not None and rendering.base is not None
    assert batch.visible is not None and batch.flow is not None
    assert batch.eye_boxes is not None and batch.mouth_box is not None
    size, visible = rendering.warped.shape[-1], batch.visible
    if losses.warped > 0:
        weight = detail_weight(batch.eye_boxes, batch.mouth_box, size, losses.detail_weight)
        shown = F.interpolate(visible[:, None], (size, size), mode="nearest")
        terms["warped"] = weighted_l1(rendering.warped, to_float(batch.target), weight * shown)
    if losses.flow > 0:
        flow = F.avg_pool2d(rendering.flow.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        terms["flow"] = flow_huber(flow, batch.flow, visible, size)
    if losses.mask > 0:
        alpha = F.avg_pool2d(rendering.alpha.float(), 2)[:, 0]
        support = F.avg_pool2d(rendering.base.synthesis[:, None].float(), 2)[:, 0]
        terms["mask"] = mask_cross_entropy(alpha, visible, support)
    return terms
