"""What a stage-1 run shows of itself: a sheet of pictures and a few numbers on held-out identities."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vasa.data.frame_pairs import FacePairs
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.geometry import project
from vasa.losses.reconstruction import detail_weight
from vasa.training.driver_augment import to_float
from vasa.training.face_step import feature_boxes, resized

ROWS = ("source", "target", "self", "cross", "pose only", "dynamics only", "base only", "mask")
"""Rows of the sheet, from top to bottom."""


def _renders(model: FaceAutoencoder, batch: FacePairs, size: int) -> dict[str, Tensor]:
    """Self, cross, pose-only and dynamics-only reenactments, and the base, at size px; motion is read from
    the frames as they are.

    Who drives in "cross": those who share the targets' animation, where records have them, else the others.
    """
    driver = batch.driver if bool(batch.is_cross.all()) else batch.other
    source, target, other = (to_float(x) for x in (batch.source, batch.target, driver))
    pose, dynamics = model.motion_codes(torch.cat([source, target, other]))
    (pose_s, pose_t, pose_o), (dyn_s, dyn_t, dyn_o) = pose.chunk(3), dynamics.chunk(3)
    source, target = (resized(x, size) for x in (source, target))
    appearance = model.encode_with(source, source, pose_s, dyn_s)
    own = model.decode(appearance, pose_t, dyn_t)
    found = {
        "source": source,
        "target": target,
        "self": own.image,
        "cross": model.decode(appearance, pose_o, dyn_o).image,
        "pose only": model.decode(appearance, pose_t, dyn_s).image,
        "dynamics only": model.decode(appearance, pose_s, dyn_t).image,
    }
    if own.alpha is not None:
        found["base only"] = model.decode(appearance, pose_t, dyn_t, learned=False).image
        found["mask"] = own.alpha.expand(-1, 3, -1, -1) * 2 - 1
    return found


def sheet(model: FaceAutoencoder, batch: FacePairs, size: int | None = None) -> np.ndarray:
    """A picture (rows x S, B x S, 3) uint8 of ROWS by samples, S = size or the model's."""
    renders = _renders(model, batch, size or model.size)
    rows = [torch.cat(list(renders[name]), -1) for name in ROWS if name in renders]
    picture = torch.cat(rows, -2).clamp(-1, 1)
    return ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()


def health(
    model: FaceAutoencoder, batch: FacePairs, renders: dict[str, Tensor], person: Tensor
) -> dict[str, Tensor]:
    """Whether the parts of a face space are alive, in dB (B,) each, without labels: what is lost of a target
    frame (in the boxes of eyes and mouth) when it is drawn with the source's z_dyn instead of its own:
    code_use; and (all over the person) with the canonical volume and identity of another person: volume_use.
    Near 0: nothing reads the code, or the volume has collapsed into what all people share.

    person (B, 1, S, S): see ``_person``.
    """
    source, target = renders["source"], renders["target"]
    pose, dynamics = model.motion_codes(torch.cat([to_float(batch.source), to_float(batch.target)]))
    (pose_s, pose_t), (dyn_s, dyn_t) = pose.chunk(2), dynamics.chunk(2)
    appearance = model.encode_with(source, source, pose_s, dyn_s)
    appearance.volume, appearance.identity = appearance.volume.roll(1, 0), appearance.identity.roll(1, 0)
    strange = model.decode(appearance, pose_t, dyn_t).image
    mean = model.identity_encoder.mean_landmarks.expand(len(pose_t), -1, -1)
    eyes, mouth = feature_boxes(project(mean, pose_t.float()))
    detail = detail_weight(eyes, mouth, target.shape[-1], 1.0) - 1

    def lost(image: Tensor, where: Tensor) -> Tensor:
        return _psnr_in(renders["self"], target, where) - _psnr_in(image, target, where)

    return {
        "code_use": lost(renders["pose only"], detail),
        "volume_use": lost(strange, person),
    }


def _person(batch: FacePairs, size: int) -> Tensor:
    """Where pictures are judged (B, 1, size, size): on the person, or everywhere in records without masks."""
    if batch.mask is None:
        return torch.ones(len(batch.ids), 1, size, size, device=batch.target.device)
    return resized(batch.mask[:, None].float() / 255, size)


def _psnr_in(predicted: Tensor, target: Tensor, where: Tensor) -> Tensor:
    """PSNR (B,) in dB over the pixels of where (B, 1, H, W)."""
    error = (((predicted.float() - target.float()) / 2).square() * where).sum((1, 2, 3))
    return -10 * torch.log10((error / (3 * where.sum((1, 2, 3))).clamp(min=1)).clamp(min=1e-10))


def validation(model: FaceAutoencoder, batches: list[FacePairs], size: int | None = None) -> dict[str, float]:
    """PSNR (dB, of the person) of self, cross, base and of copying the source; gain: self over copying; what
    ``health`` says; and where records have truth, mean absolute errors of pose (degrees), controls and
    landmarks. size: px of the pictures, by default the model's.
    """
    found: dict[str, list[Tensor]] = {}
    for batch in batches:
        renders = _renders(model, batch, size or model.size)
        target, person = renders["target"], _person(batch, size or model.size)
        has_cross_truth = bool(batch.is_cross.all())
        for name in ("self", "cross", "base only", "source"):
            if name in renders and (name != "cross" or has_cross_truth):
                label = "copy" if name == "source" else name.split()[0]
                found.setdefault(f"psnr_{label}", []).append(_psnr_in(renders[name], target, person))
        own, copied = (_psnr_in(renders[name], target, person) for name in ("self", "source"))
        found.setdefault("gain", []).append(own - copied)
        for name, value in health(model, batch, renders, person).items():
            found.setdefault(name, []).append(value)
        if batch.target_pose is None or batch.target_controls is None or batch.landmarks is None:
            continue
        pose, dynamics = model.motion_codes(to_float(batch.target))
        angles = (pose - batch.target_pose)[:, :3].abs().rad2deg()
        for index, axis in enumerate(("yaw", "pitch", "roll")):
            found.setdefault(f"{axis}_deg", []).append(angles[:, index])
        reading = model.dynamics_encoder.controls(dynamics)
        found.setdefault("controls_mae", []).append((reading - batch.target_controls).abs().mean(1))
        true = batch.landmarks
        appearance = model.encode(to_float(batch.source))
        found.setdefault("landmarks_mae", []).append((appearance.landmarks - true).abs().mean((1, 2)))
    return {name: torch.cat(values).mean().item() for name, values in found.items()}
