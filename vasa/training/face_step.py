"""Stage 1's training step: encode each image once, decode once, and turn what came out into named losses.

The renderer's truth is used where it exists: labels of the encoders, exact flow and visibility, and true
cross-reenactments as targets (half of the samples are driven by another person whose animation the target
shares). Real videos have none of these; then their weights are 0 and l_consist, l_cross_id and the cycle
carry the disentangling, as in the paper.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.data.frame_pairs import FacePairs
from vasa.face.volumetric.autoencoder import Appearance, FaceAutoencoder, Rendering
from vasa.losses.config import FaceLossConfig
from vasa.losses.disentanglement import consistency, contrastive_cycle, cross_identity
from vasa.losses.reconstruction import detail_weight, flow_huber, gradient_l1, mask_cross_entropy, weighted_l1
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.identity import IdentityNet
from vasa.records import CONTROL_NAMES

POSE_SCALE = (0.10, 0.10, 0.10, 0.05, 0.05, 0.05)
"""What counts as one unit of error of each pose entry in the label loss: about 6 degrees, 5 % of a half
width or of scale.
"""
CONTROL_SCALE = (0.15, 0.12) + (0.3,) * (len(CONTROL_NAMES) - 2)
LANDMARK_SCALE = 0.1
MIRRORED_POSE = (-1.0, 1.0, -1.0, -1.0, 1.0, 1.0)
"""What becomes of yaw, pitch, roll, x, y and log scale in a mirror."""


def to_float(images: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> float (B, 3, H, W) in [-1, 1]: the one place where stage 1 converts."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def colour_jitter(images: Tensor, jitter: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] under gains, offsets (3 each) and log gamma of jitter (B, 7):
    MegaPortraits' severe jitter.
    """
    gain = torch.exp(jitter[:, :3])[..., None, None]
    offset = jitter[:, 3:6, None, None] * 0.5
    gamma = torch.exp(jitter[:, 6:7])[..., None, None]
    unit = ((images + 1) / 2).clamp(1e-4, 1) ** gamma
    return (unit * 2 - 1).mul(gain).add(offset).clamp(-1, 1)


def _pose_error(pose: Tensor, true_pose: Tensor) -> Tensor:
    error = (pose - true_pose) / pose.new_tensor(POSE_SCALE)
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.2)


class FaceStep:
    """loss(batch, step) of the generator's phase. The teachers are frozen and may be absent."""

    def __init__(
        self,
        model: FaceAutoencoder,
        losses: FaceLossConfig,
        identity_teacher: IdentityNet | None = None,
        expression_teacher: ExpressionNet | None = None,
    ) -> None:
        self.model, self.losses = model, losses
        self.identity_teacher, self.expression_teacher = identity_teacher, expression_teacher

    def __call__(self, batch: FacePairs, step: int) -> dict[str, Tensor]:
        """Scalars: ``total``, and of each active term its raw value (``raw_x``) and its weighted share
        (``x``).
        """
        source, target, driver = (to_float(images) for images in (batch.source, batch.target, batch.driver))
        device = source.device
        seen = torch.cat(
            [colour_jitter(source, batch.jitter[:, 0]), colour_jitter(driver, batch.jitter[:, 1])]
        )
        true_pose = torch.cat([batch.source_pose, batch.target_pose]).to(device)
        true_controls = torch.cat([batch.source_controls, batch.target_controls]).to(device)
        count = source.shape[0]
        if step < self.losses.encoder_steps:
            return self._sum(self._encoder_terms(seen, true_pose, true_controls, batch))
        pose, dynamics = self.model.motion_codes(seen)
        terms = {
            "pose": _pose_error(pose, true_pose),
            "controls": self._control_error(dynamics, true_controls),
        }
        used = self._mixed_pose(pose, true_pose, count)
        appearance = self.model.encode_with(source, source, used[:count], dynamics[:count])
        terms["landmarks"] = (appearance.landmarks - batch.landmarks).abs().mean() / LANDMARK_SCALE
        rendering = self.model.decode(
            appearance, used[count:], dynamics[count:], geometry_gradient=self.losses.geometry_gradient
        )
        terms |= self._picture_terms(rendering, target, batch)
        terms |= self._code_terms(rendering.image, source, used[count:], dynamics[count:], batch)
        if self.losses.consistency > 0 and step % self.losses.consistency_every == 0:
            terms["consistency"] = self._consistency(appearance, target, used, dynamics, count)
        return self._sum(terms)

    def _sum(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        weighted = {name: value * getattr(self.losses, name) for name, value in terms.items()}
        logged = {f"raw_{name}": value for name, value in terms.items()}
        return {"total": torch.stack(list(weighted.values())).sum(), **weighted, **logged}

    def _encoder_terms(
        self, seen: Tensor, true_pose: Tensor, true_controls: Tensor, batch: FacePairs
    ) -> dict[str, Tensor]:
        """Label losses alone; an encoder whose weight is 0 is not run, so that one can be trained alone. The
        pose encoder sees half of the pictures mirrored: it is the first to learn its people by heart.
        """
        terms, landmarks = {}, batch.landmarks
        count = len(landmarks)
        small = self.model.config.encoder_input
        shrunk = F.interpolate(seen, (small, small), mode="bilinear", antialias=True)
        if self.losses.pose > 0:
            mirrored = (batch.jitter[..., 6].T.reshape(-1, 1) > 0).to(shrunk.device)
            given = torch.where(mirrored[..., None, None], shrunk.flip(-1), shrunk)
            wanted = torch.where(mirrored, true_pose * true_pose.new_tensor(MIRRORED_POSE), true_pose)
            terms["pose"] = _pose_error(self.model.pose_encoder(given), wanted)
        if self.losses.controls > 0:
            terms["controls"] = self._control_error(
                self.model.dynamics_encoder(seen, true_pose), true_controls
            )
        if self.losses.landmarks > 0:
            found = self.model.identity_encoder(shrunk[:count], seen[:count], true_pose[:count])[1]
            terms["landmarks"] = (found - landmarks).abs().mean() / LANDMARK_SCALE
        return terms

    def _control_error(self, dynamics: Tensor, true_controls: Tensor) -> Tensor:
        reading = self.model.dynamics_encoder.controls(dynamics)
        error = (reading - true_controls) / reading.new_tensor(CONTROL_SCALE)
        return F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.2)

    def _mixed_pose(self, pose: Tensor, true_pose: Tensor, count: int) -> Tensor:
        """The true pose for a share of the samples (source and target of a sample alike), the encoders'
        for the rest.
        """
        num_true = round(self.losses.true_pose_share * count)
        is_true = (torch.arange(2 * count, device=pose.device) % count < num_true)[:, None]
        return torch.where(is_true, true_pose, pose)

    def _picture_terms(self, rendering: Rendering, target: Tensor, batch: FacePairs) -> dict[str, Tensor]:
        losses, size = self.losses, target.shape[-1]
        weight = detail_weight(batch.eye_boxes, batch.mouth_box, size, losses.detail_weight)
        terms = {
            "l1": weighted_l1(rendering.image, target, weight),
            "gradient": gradient_l1(rendering.image, target, weight),
        }
        if (
            rendering.flow is None
            or rendering.warped is None
            or rendering.alpha is None
            or rendering.base is None
        ):
            return terms
        visible = batch.visible
        shown = F.interpolate(visible[:, None], (size, size), mode="nearest")
        terms["warped"] = weighted_l1(rendering.warped, target, weight * shown)
        flow = F.avg_pool2d(rendering.flow.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        terms["flow"] = flow_huber(flow, batch.flow, visible, size)
        alpha = F.avg_pool2d(rendering.alpha.float(), 2)[:, 0]
        support = F.avg_pool2d(rendering.base.synthesis[:, None].float(), 2)[:, 0]
        terms["mask"] = mask_cross_entropy(alpha, visible, support)
        return terms

    def _code_terms(
        self, image: Tensor, source: Tensor, pose: Tensor, dynamics: Tensor, batch: FacePairs
    ) -> dict[str, Tensor]:
        """Terms on what networks read in the output: the cycle on z_dyn, identity and expression teachers."""
        terms: dict[str, Tensor] = {}
        if self.losses.cycle > 0 and image.shape[0] > 1:
            again = self.model.dynamics_encoder(image, pose.detach())
            terms["cycle"] = contrastive_cycle(again, dynamics.detach(), dynamics.roll(1, 0).detach())
        if self.losses.cross_identity > 0 and self.identity_teacher is not None:
            with torch.no_grad():
                wanted = self.identity_teacher(source, batch.source_points)
            terms["cross_identity"] = cross_identity(
                wanted, self.identity_teacher(image, batch.target_points)
            )
        if self.losses.expression > 0 and self.expression_teacher is not None:
            with torch.no_grad():
                wanted = self.expression_teacher(to_float(batch.target), batch.target_points)
            said = self.expression_teacher(image, batch.target_points)
            terms["expression"] = ((said - wanted) / said.new_tensor(CONTROL_SCALE)).abs().mean()
        return terms

    def _consistency(
        self, appearance: Appearance, target: Tensor, pose: Tensor, dynamics: Tensor, count: int
    ) -> Tensor:
        """l_consist on a quarter of the batch. i: the target frame, j: the source frame; cross samples
        lend only their codes.
        """
        few = max(count // 4, 1)
        pose_i, dyn_i = pose[count : count + few], dynamics[count : count + few]
        source_j = appearance[slice(0, few)]
        image_i = target[:few]
        appearance_i = self.model.encode_with(image_i, image_i, pose_i, dyn_i)
        decode = partial(self.model.decode, geometry_gradient=self.losses.geometry_gradient)
        onto_j = decode(source_j, pose_i, source_j.dynamics).image
        onto_i = decode(appearance_i, pose_i, source_j.dynamics).image
        return consistency(onto_j, onto_i)


def freeze(module: nn.Module) -> nn.Module:
    """Eval mode, no gradient to the weights: what a teacher must be."""
    return module.eval().requires_grad_(False)
