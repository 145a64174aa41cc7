"""Stage 1's training step: encode each image once, decode once, and turn what came out into named losses.

Nothing here needs a label: frames of one video swap their codes, and what comes out is compared with frames,
with itself, and by frozen networks. Where records have the renderer's truth, label_terms.py adds to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from vasa.data.frame_pairs import FacePairs
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.geometry import project
from vasa.losses.adversarial import feature_matching, generator_hinge
from vasa.losses.config import FaceLossConfig
from vasa.losses.disentanglement import contrastive_cycle, decorrelation
from vasa.losses.reconstruction import detail_weight, gradient_l1, weighted_l1
from vasa.training.change import ChangeTeacher
from vasa.training.driver_augment import colour_jitter, grid_warp, nudged, to_float
from vasa.training.label_terms import CONTROL_SCALE, control_error, encoder_terms, label_terms
from vasa.training.teachers import Teachers
from vasa.training.transfer_terms import Scene, TransferTerms, few_of

EYES, MOUTH = (slice(36, 42), slice(42, 48)), slice(48, 68)
"""Of the iBUG 68."""
EYE_MARGIN, MOUTH_MARGIN = 0.35, 0.25
"""Of the eyes' distance, around the landmarks: how far boxes of detail reach where no truth gives them."""


class FaceStep:
    """loss(batch, step) of the generator's phase.

    size_at: pixels of the pictures at a step (resolution schedule); by default the model's size.
    discriminator: of the other phase (face_adversary.py); its weights take no gradient here. fakes: the
    pictures of this step's parts, in order, for that phase.
    """

    def __init__(
        self,
        model: FaceAutoencoder,
        losses: FaceLossConfig,
        size_at: Callable[[int], int] | None = None,
        teachers: Teachers | None = None,
        discriminator: nn.Module | None = None,
        change: ChangeTeacher | None = None,
    ) -> None:
        self.model, self.losses = model, losses
        self.size_at = size_at or (lambda step: model.size)
        self.teachers = teachers or Teachers()
        self.discriminator, self.change = discriminator, change
        self.fakes: list[Tensor] = []
        self.transfers = TransferTerms(model, losses, self._read_again, self.teachers.identity)

    def __call__(self, batch: FacePairs, step: int) -> dict[str, Tensor]:
        """Scalars: ``total``, and of each active term its raw value (``raw_x``) and its weighted share
        (``x``).
        """
        if step < self.losses.encoder_steps:
            return self._sum(encoder_terms(self.model, self.losses, batch))
        if step < self.losses.change_steps:
            return self._change(batch)
        scene = self._scene(batch, step)
        count = scene.count
        used, dynamics = self._mixed_pose(scene, batch), self._mixed_dynamics(scene, batch)
        appearance = self.model.encode_with(scene.source, scene.source, used[:count], dynamics[:count])
        rendering = self.model.decode(
            appearance,
            used[count : 2 * count],
            dynamics[count : 2 * count],
            geometry_gradient=self.losses.geometry_gradient,
        )
        terms = label_terms(self.model, self.losses, batch, scene.pose, scene.dynamics, appearance, rendering)
        terms |= self._picture_terms(rendering.image, scene, batch)
        terms |= self._code_terms(rendering.image, used, scene)
        if step >= self.losses.adversarial_start:
            terms |= self._adversarial_terms(rendering.image, scene)
        if self.losses.has_transfers and step % self.losses.transfer_every == 0:
            terms |= self.transfers(appearance, replace(scene, dynamics=dynamics), used)
        return self._sum(terms)

    def _sum(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        weighted = {name: value * getattr(self.losses, name) for name, value in terms.items()}
        logged = {f"raw_{name}": value for name, value in terms.items()}
        return {"total": torch.stack(list(weighted.values())).sum(), **weighted, **logged}

    def _change(self, batch: FacePairs) -> dict[str, Tensor]:
        """E_dyn and the painter alone, on pairs of neighbouring frames."""
        assert self.change is not None
        source, target = to_float(batch.source), to_float(batch.target)
        colour, shapes, nudge = (
            torch.cat([x[:, 0], x[:, 1]]) for x in (batch.jitter, batch.warp, batch.nudge)
        )
        pose, codes = self._codes(torch.cat([source, target]), colour, shapes, nudge)
        terms = {"redraw": self.change.redraw(source, target, pose.detach(), codes)}
        if self.losses.change > 0:
            terms["change"] = self.change(codes, source, target, pose.detach())
        if self.losses.controls > 0:
            terms["controls"] = control_error(self.model, codes, batch)
        if self.losses.decorrelation > 0 and len(source) > 1:
            terms["decorrelation"] = decorrelation(codes, pose)
        return self._sum(terms)

    def _scene(self, batch: FacePairs, step: int) -> Scene:
        source, target, driver = (to_float(images) for images in (batch.source, batch.target, batch.driver))
        other = to_float(batch.other)
        images = [source, driver]
        colour = [batch.jitter[:, 0], batch.jitter[:, 1]]
        shapes, nudges = [batch.warp[:, 0], batch.warp[:, 1]], [batch.nudge[:, 0], batch.nudge[:, 1]]
        if self.losses.has_transfers and step % self.losses.transfer_every == 0:
            few = slice(0, few_of(len(source), self.losses))
            images.append(other[few])
            colour.append(batch.jitter[few, 0])
            shapes.append(batch.warp[few, 0])
            nudges.append(batch.nudge[few, 0])
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.losses.hold_codes):
            pose, dynamics = self._codes(
                torch.cat(images), torch.cat(colour), torch.cat(shapes), torch.cat(nudges)
            )
        count, size = len(source), self.size_at(step)
        return Scene(
            resized(source, size),
            resized(target, size),
            resized(other, size),
            pose,
            dynamics,
            self._points(batch, 0, pose[:count]),
            self._points(batch, 1, pose[count : 2 * count]),
            self._points(batch, 2, pose[2 * count :]) if len(pose) > 2 * count else None,
            self.foreground(batch, size),
        )

    def _codes(self, images: Tensor, colour: Tensor, shapes: Tensor, nudge: Tensor) -> tuple[Tensor, Tensor]:
        """z_pose and z_dyn of frames, seen through the driver's augmentation. A frozen pose encoder, a
        teacher, sees them as they are.
        """
        seen = colour_jitter(images, colour)
        is_learning = any(p.requires_grad for p in self.model.pose_encoder.parameters())
        pose = self.model.pose_code(seen if is_learning else images)
        if self.losses.driver_warp > 0:
            seen = grid_warp(seen, shapes, self.losses.driver_warp)
        cut = pose.detach()
        if self.losses.crop_nudge > 0:
            cut = nudged(cut, nudge, self.losses.crop_nudge)
        return pose, self.model.dynamics_encoder(seen, cut)

    def _read_again(self, image: Tensor, pose: Tensor) -> Tensor:
        """z_dyn of what was made. Where codes are held, the gradient goes to the picture alone: else the
        encoder would learn to read what the decoder draws, and with it pose.
        """
        encoder = self.model.dynamics_encoder
        if not self.losses.hold_codes:
            return encoder(image, pose.detach())
        weights = {name: weight.detach() for name, weight in encoder.named_parameters()}
        return functional_call(encoder, weights, (image, pose.detach()))

    def _points(self, batch: FacePairs, which: int, pose: Tensor) -> Tensor:
        """Landmarks (B, 68, 2) of the first B sources (0), targets (1) or others (2): true ones where labels
        are used, measured ones where there are any, else a mean face's under the pose that is read, so that a
        crop may be some pixels off.
        """
        true = (batch.source_points, batch.target_points, None)[which]
        if true is not None and self.losses.needs_labels:
            return true
        if batch.measured_points is not None:
            return batch.measured_points[: len(pose), which]
        mean = self.model.identity_encoder.mean_landmarks
        return project(mean.expand(len(pose), -1, -1), pose.detach().float())

    def foreground(self, batch: FacePairs, size: int) -> Tensor | None:
        """Weight of each pixel of the target (B, 1, size, size): 1 on the person."""
        if batch.mask is None:
            return None
        person = resized(batch.mask[:, None].float() / 255, size)
        return person + (1 - person) * self.losses.background

    def _mixed_pose(self, scene: Scene, batch: FacePairs) -> Tensor:
        """The true pose for a share of the samples (source and target of a sample alike), the encoders'
        for the rest.
        """
        num_true = round(self.losses.true_pose_share * scene.count)
        if not num_true or batch.source_pose is None or batch.target_pose is None:
            return scene.pose
        pose = scene.pose.clone()
        pose[:num_true] = batch.source_pose[:num_true]
        pose[scene.count : scene.count + num_true] = batch.target_pose[:num_true]
        return pose

    def _mixed_dynamics(self, scene: Scene, batch: FacePairs) -> Tensor:
        """Codes that read as the true controls for a share of the samples, the encoder's for the rest.

        Off the labelled directions the target's are then the source's: what the encoder says there of the
        target tells of its brows, too, and codes that are generated or edited have nothing of it.
        """
        num_true = round(self.losses.true_controls_share * scene.count)
        if not num_true or batch.source_controls is None or batch.target_controls is None:
            return scene.dynamics
        dynamics, source = scene.dynamics.clone(), scene.dynamics[:num_true]
        for first, controls in ((0, batch.source_controls), (scene.count, batch.target_controls)):
            codes = self.model.dynamics_encoder.set_controls(source, controls[:num_true])
            dynamics[first : first + num_true] = codes.to(dynamics.dtype)
        return dynamics

    def _picture_terms(self, image: Tensor, scene: Scene, batch: FacePairs) -> dict[str, Tensor]:
        """The output against the true target frame."""
        losses, target, points = self.losses, scene.target, scene.target_points
        eyes, mouth = batch.eye_boxes, batch.mouth_box
        if eyes is None or mouth is None or not losses.needs_labels:
            eyes, mouth = feature_boxes(points)
        weight = detail_weight(eyes, mouth, target.shape[-1], losses.detail_weight)
        if scene.foreground is not None:
            weight = weight * scene.foreground
        terms: dict[str, Tensor] = {}
        if losses.l1 > 0:
            terms["l1"] = weighted_l1(image, target, weight)
        if losses.gradient > 0:
            shown = 1 if scene.foreground is None else scene.foreground
            terms["gradient"] = gradient_l1(image * shown, target * shown, weight)
        teachers = self.teachers
        if losses.perceptual > 0 and teachers.perceptual is not None:
            terms["perceptual"] = teachers.perceptual(image, target, scene.foreground)
        if losses.face > 0 and teachers.face is not None:
            terms["face"] = teachers.face(image, target, points, scene.foreground)
        if losses.gaze > 0 and teachers.gaze is not None:
            terms["gaze"] = teachers.gaze(image, target, points)
        if losses.expression > 0 and teachers.expression is not None:
            with torch.no_grad():
                wanted = teachers.expression(target, points)
            said = teachers.expression(image, points)
            terms["expression"] = ((said - wanted) / said.new_tensor(CONTROL_SCALE)).abs().mean()
        return terms

    def _code_terms(self, image: Tensor, pose: Tensor, scene: Scene) -> dict[str, Tensor]:
        """Terms on the motion codes: what the output says again, and what z_dyn must not say."""
        terms: dict[str, Tensor] = {}
        count, dynamics = scene.count, scene.dynamics
        driver = dynamics[count : 2 * count]
        if self.losses.cycle > 0:
            again = self._read_again(image, pose[count : 2 * count])
            terms["cycle"] = contrastive_cycle(again, driver.detach(), self._strangers(scene))
        if self.losses.decorrelation > 0 and count > 1 and not self.losses.hold_codes:
            terms["decorrelation"] = decorrelation(dynamics[: 2 * count], scene.pose[: 2 * count])
        return terms

    @torch.no_grad()
    def _strangers(self, scene: Scene) -> Tensor:
        """z_dyn (B, E) of the others. They travel in the records, because a roll over the batch would make a
        sample's loss depend on how a batch is divided.
        """
        return self.model.motion_codes(scene.other)[1]

    def _adversarial_terms(self, image: Tensor, scene: Scene) -> dict[str, Tensor]:
        if self.discriminator is None or self.losses.adversarial <= 0:
            return {}
        made, true = (
            seen_by_discriminator(image, scene.foreground),
            seen_by_discriminator(scene.target, scene.foreground),
        )
        self.fakes.append(made.detach())
        verdict = self.discriminator.eval()(made)  # its spectral norm moves on in its own phase
        terms = {"adversarial": generator_hinge(verdict)}
        if self.losses.feature_matching > 0:
            with torch.no_grad():
                real = self.discriminator(true)
            terms["feature_matching"] = feature_matching(real, verdict)
        return terms


def seen_by_discriminator(image: Tensor, foreground: Tensor | None) -> Tensor:
    """What both phases show to the discriminator: the person, on grey where the record has a mask."""
    return image if foreground is None else image * foreground


def feature_boxes(points: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes around the features of landmarks (B, 68, 2): eyes (B, 2, 4) and mouth (B, 4), each (u0, v0, u1,
    v1).
    """
    apart = (points[:, EYES[0]].mean(1) - points[:, EYES[1]].mean(1)).norm(dim=-1)[:, None]

    def box(part: slice, margin: float) -> Tensor:
        low, high = points[:, part].amin(1), points[:, part].amax(1)
        return torch.cat([low - margin * apart, high + margin * apart], -1)

    return torch.stack([box(eye, EYE_MARGIN) for eye in EYES], 1), box(MOUTH, MOUTH_MARGIN)


def resized(images: Tensor, size: int) -> Tensor:
    """Square images (B, C, S, S) at size x size, averaged over what falls together."""
    return images if images.shape[-1] == size else F.adaptive_avg_pool2d(images, size)


def freeze(module: nn.Module) -> nn.Module:
    """Eval mode, no gradient to the weights: what a teacher must be."""
    return module.eval().requires_grad_(False)
