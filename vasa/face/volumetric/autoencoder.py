"""The volumetric face space: VASA-1's stage 1 on MegaPortraits' networks, with the portrait's own pixels
carried by option.

    portrait -> E_app -> volume as seen -> rigid + learned warp -> G3D -> canonical appearance volume
    frame    -> E_pose, E_dyn -> z_pose, z_dyn
    canonical volume -> learned + rigid warp under (z_pose, z_dyn) -> P, G2D -> frame

Order of the warps as in the authors' code (papers' notation): source: rigid inverse first, then w_em(z_s,
e_s); driver: w_em(z_d, e_s) in the canonical frame first, then rigid. z_id is always the source's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.checkpoint import load_into, load_weights
from vasa.face.config import FaceConfig
from vasa.face.volumetric.decoder import Decoded, Decoder
from vasa.face.volumetric.encoders import AppearanceEncoder, DynamicsEncoder, IdentityEncoder, PoseEncoder
from vasa.face.volumetric.expression import displacement
from vasa.face.volumetric.mouth import paint_mouth
from vasa.face.volumetric.painter import ExpressionPainter
from vasa.face.volumetric.pixels import MAP_NAMES, Base, base_warp
from vasa.face.volumetric.shape import face_shape, fit_to_points, settle_lip_line
from vasa.face.volumetric.warping import (
    VolumeRefiner,
    WarpCondition,
    WarpGenerator,
    canonical_from_seen,
    identity_grid,
    seen_from_canonical,
)
from vasa.nn.blocks import fold
from vasa.nn.warp import enlarge_twice, sample_image, sample_volume, upsample_flow
from vasa.records import CONTROL_INDEX, MotionLayout


@dataclass(slots=True)
class Appearance:
    """Everything about B portraits that no frame changes: what ``encode`` computes once.

    volume (B, C, D, h, h) canonical; identity (B, c, 4, 4) z_id; landmarks (B, 68, 3) neutral, head frame;
    pose (B, 6) and dynamics (B, E) of the portrait itself; features of E_app, finest first; small
    (B, 3, S, S) its pixels at network size, pixels those that frames are made of: (B, 3, H, H), or
    enlarged to (B, 3, 2 H, 2 H) where frames are finer than the network. photograph (B,): 1 for what a
    detector found, 0 for rendered faces (see PHOTO_RESIDUAL). side: H of the frames.
    """

    volume: Tensor
    identity: Tensor
    landmarks: Tensor
    pose: Tensor
    dynamics: Tensor
    features: list[Tensor]
    small: Tensor
    pixels: Tensor
    photograph: Tensor
    side: int

    def __getitem__(self, index: int | slice | Tensor) -> Appearance:
        def picked(value: Any) -> Any:  # a tensor, a list of them, or what all of the batch share
            if isinstance(value, int):
                return value
            return [x[index] for x in value] if isinstance(value, list) else value[index]

        return Appearance(**{f.name: picked(getattr(self, f.name)) for f in fields(self)})

    @staticmethod
    def cat(parts: Sequence[Appearance]) -> Appearance:
        """Several batches of portraits of one size as one."""

        def joined(values: list[Any]) -> Any:
            if isinstance(values[0], int):
                return values[0]
            if isinstance(values[0], list):
                return [torch.cat(level) for level in zip(*values, strict=True)]
            return torch.cat(values)

        return Appearance(
            **{f.name: joined([getattr(part, f.name) for part in parts]) for f in fields(Appearance)}
        )

    def expand(self, batch: int) -> Appearance:
        """One portrait for a batch of frames, without copying."""
        if self.pose.shape[0] == batch:
            return self
        return self[torch.zeros(batch, dtype=torch.long, device=self.pose.device)] if batch > 1 else self


@dataclass(slots=True)
class Rendering:
    """A decoded batch: image (B, 3, H, H) in [-1, 1]; the rest is None without source pixels.

    warped: the source carried by the geometric plus residual flow, at network size. alpha (B, 1, S, S): where
        pixels are synthesised.
    """

    image: Tensor
    warped: Tensor | None = None
    alpha: Tensor | None = None
    flow: Tensor | None = None
    base: Base | None = None


def _resize(image: Tensor, size: int) -> Tensor:
    """Square images to size x size, antialiased when shrinking."""
    if image.shape[-1] == size:
        return image
    with torch.autocast(image.device.type, enabled=False):
        return F.interpolate(image.float(), (size, size), mode="bilinear", antialias=image.shape[-1] > size)


PHOTO_RESIDUAL, PHOTO_SYNTHESIS, PHOTO_PAINT = 0.45, 0.22, 0.6
"""Shares, on portraits that a detector found, of the residual flow, of what is synthesised on the front of
the face outside the mouth (lids, eyes, lips), and of the painted mouth interior that is left as it is.

What was learned was learned on procedural heads. Chosen on eight real clips (PSNR and sharpness in the face
box): a third of the synthesis gains 0.02 dB over a fifth and costs 2 % of the sharpness; leaving more of the
paint costs 0.01 dB and looks better.
"""
FULL_CORRECTION = 0.3
"""Correction (of a range of 2) from which on the fine detail of the pixels under it is given up."""
REST_LIMITS = {"blink_left": 0.9, "blink_right": 0.9, "jaw": 0.3}
"""Controls of a portrait that are believed above these values even when its expression counts as its rest."""


def _at_rest(controls: Tensor, share: float) -> Tensor:
    """Controls (B, 11) of a portrait, less the share that is taken for its rest."""
    left = controls * (1 - share)
    for name, limit in REST_LIMITS.items():
        index = CONTROL_INDEX[name]
        left[:, index] = torch.where(controls[:, index] > limit, controls[:, index], left[:, index])
    return left


class FaceAutoencoder(nn.Module):
    """Encoders, warps and decoder of the volumetric face space; a FaceSpace (face/space.py)."""

    def __init__(self, config: FaceConfig) -> None:
        super().__init__()
        self.config = config
        self.appearance_encoder = AppearanceEncoder(config)
        self.identity_encoder = IdentityEncoder(config)
        self.pose_encoder = PoseEncoder(config)
        self.dynamics_encoder = DynamicsEncoder(config)
        self.source_condition, self.driver_condition = WarpCondition(config), WarpCondition(config)
        self.source_warp = WarpGenerator(config)
        self.driver_warp = WarpGenerator(config, config.volume_channels if config.driver_adds else 0)
        self.refiner = VolumeRefiner(config)
        self.decoder = Decoder(config)
        self.painter = (
            ExpressionPainter(config) if config.source_pixels and not config.expression_warp else None
        )
        for side in self._volume_sides():
            grid = identity_grid(config.volume_depth, side)
            self.register_buffer(f"grid_{side}", grid[None], persistent=False)

    @classmethod
    def from_pretrained(cls, path: Path | str, device: torch.device | str = "cpu") -> FaceAutoencoder:
        """The EMA weights of a ``face.safetensors`` file, in eval mode, for use only (see nn.blocks.fold).

        Raises: what vasa.checkpoint raises for a missing, foreign or damaged file.
        """
        weights = load_weights(path)
        model = cls(FaceConfig(**weights.config["face"]))
        load_into(model, weights, "face")
        fold(model)
        return model.to(device).eval().requires_grad_(False)

    @property
    def layout(self) -> MotionLayout:
        return MotionLayout.volumetric(self.config.dynamics_dim)

    @property
    def size(self) -> int:
        return self.config.size

    def describe(self) -> dict:
        """The configuration as plain data, as ``from_pretrained`` reads it."""
        return {"face": asdict(self.config)}

    # ------------------------------------------------------------------ sizes

    def _volume_sides(self) -> list[int]:
        """Heights of volumes that the same weights can work on: the config's, and without source pixels its
        half and quarter, for images of half and a quarter of the config's size.
        """
        halvings = 1 if self.config.source_pixels else 3
        return [self.config.volume_size >> n for n in range(halvings) if self.config.size % (16 << n) == 0]

    def _grid(self, side: int) -> Tensor:
        """Voxel centres (1, D, h, h, 3) of a volume of that height.

        Raises: ValueError for a height that images of no supported size have.
        """
        if side not in self._volume_sides():
            scale = self.config.size // self.config.volume_size
            sizes = ", ".join(str(known * scale) for known in self._volume_sides())
            raise ValueError(
                f"face: images of {side * scale} px for a network of face.size={self.config.size}; wanted "
                f"{sizes} px{' (with source pixels there is no other)' if self.config.source_pixels else ''}."
            )
        return self.get_buffer(f"grid_{side}")

    # ------------------------------------------------------------------ motion

    def pose_code(self, images: Tensor) -> Tensor:
        """Frames (B, 3, S, S) -> z_pose (B, 6)."""
        return self.pose_encoder(_resize(images, self.config.encoder_input))

    def motion_codes(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, 3, S, S) -> z_pose (B, 6), z_dyn (B, E)."""
        pose = self.pose_code(images)
        return pose, self.dynamics_encoder(images, pose.detach())

    def motion(self, images: Tensor) -> Tensor:
        return torch.cat(self.motion_codes(_resize(images, self.size)), -1)

    def controls(self, motion: Tensor) -> Tensor:
        return self.dynamics_encoder.controls(motion[..., self.layout.dynamics])

    def set_controls(self, motion: Tensor, controls: Tensor) -> Tensor:
        z_dyn = self.dynamics_encoder.set_controls(motion[..., self.layout.dynamics], controls)
        return torch.cat([motion[..., self.layout.pose], z_dyn], -1)

    # ------------------------------------------------------------------ appearance

    def encode(self, image: Tensor, points: Tensor | None = None, resting: float = 0.0) -> Appearance:
        """Portraits (B, 3, H, H) in [-1, 1], H >= S -> Appearance; H is kept for rendering.

        points (B, 5, 2): where a face detector saw eyes, nose tip and mouth corners (image coordinates);
        corrects where the features of this face are, and marks it as a photograph (PHOTO_RESIDUAL). resting:
        the share of the portrait's expression that counts as how this face looks at rest, so that motion is
        added to it; what is plainly open or shut (REST_LIMITS) stays an expression.

        Raises: ValueError for another shape of image.
        """
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[-1] != image.shape[-2]:
            raise ValueError(
                f"image has shape {tuple(image.shape)}; wanted square RGB portraits (B, 3, H, H)."
            )
        small = _resize(image, self.size)
        pose, dynamics = self.motion_codes(small)
        if resting > 0 and self.config.expression_warp:
            said = self.dynamics_encoder.controls(dynamics)
            dynamics = self.dynamics_encoder.set_controls(dynamics, _at_rest(said, resting))
        appearance = self.encode_with(small, image, pose, dynamics)
        if points is not None and self.config.expression_warp:
            controls = self.dynamics_encoder.controls(dynamics)
            shape = face_shape(appearance.landmarks)
            corners = appearance.landmarks[:, [48, 54], :2].float()
            moved = displacement(corners, controls, shape, lower=False)
            landmarks = fit_to_points(appearance.landmarks.float(), pose.float(), points.float(), moved)
            if bool((controls[:, CONTROL_INDEX["jaw"]] < REST_LIMITS["jaw"]).all()):
                landmarks = settle_lip_line(landmarks, pose.float(), image)
            appearance.landmarks = landmarks
            appearance.photograph = torch.ones_like(appearance.photograph)
        if self.config.source_pixels and image.shape[-1] > self.size:
            appearance.pixels = enlarge_twice(image.float())
        return appearance

    def own_motion(self, appearance: Appearance) -> Tensor:
        return torch.cat([appearance.pose, appearance.dynamics], -1)

    def encode_with(self, small: Tensor, pixels: Tensor, pose: Tensor, dynamics: Tensor) -> Appearance:
        """As ``encode`` when the portraits' own motion codes are known already (training encodes each
        image once). small (B, 3, S, S): S may be half or a quarter of the config's size, without source
        pixels; then ``decode`` makes frames of that size.

        Raises: ValueError for another size.
        """
        scale = self.config.size // self.config.volume_size
        voxels = self._grid(small.shape[-1] // scale if small.shape[-1] % scale == 0 else 0)
        identity, landmarks = self.identity_encoder(
            _resize(small, self.config.encoder_input), small, pose.detach()
        )
        seen, features = self.appearance_encoder(small)
        condition = self.source_condition(dynamics, identity)
        offsets = self.source_warp(condition, seen.shape[-1])
        with torch.autocast(small.device.type, enabled=False):
            grid = seen_from_canonical(voxels, pose.float())
        canonical = sample_volume(seen, grid)
        canonical = sample_volume(canonical, voxels + offsets.permute(0, 2, 3, 4, 1))
        volume = self.refiner(canonical)
        return Appearance(
            volume,
            identity,
            landmarks,
            pose,
            dynamics,
            features,
            small,
            pixels,
            torch.zeros_like(pose[:, 0]),
            pixels.shape[-1],
        )

    # ------------------------------------------------------------------ rendering

    def decode(
        self,
        appearance: Appearance,
        pose: Tensor,
        dynamics: Tensor,
        learned: bool = True,
        geometry_gradient: bool = True,
    ) -> Rendering:
        """B appearances under z_pose (B, 6), z_dyn (B, E) -> Rendering at the appearance's pixel size.

        geometry_gradient=False cuts the gradient through the geometric warp, a fifth of a training step's
        time. learned=False (with source pixels only) leaves the geometric warp alone, with a painted mouth:
        the untrained floor.
        """
        with torch.set_grad_enabled(geometry_gradient and torch.is_grad_enabled()):
            base = self._base(appearance, pose, dynamics) if self.config.source_pixels else None
        if not learned:
            if base is None:
                raise ValueError(
                    "learned=False needs a face space with source pixels (face.source_pixels=true)."
                )
            return self._geometric(appearance, base)
        posed = self._posed_volume(appearance, pose, dynamics)
        if base is None:
            return Rendering(self.decoder(posed).colour)
        warped = sample_image(appearance.small, base.flow)
        redrawn = None
        if self.painter is None:
            warped = paint_mouth(warped, base)
        else:
            redrawn = self._redrawn(self.painter, appearance, base, pose, dynamics)
            warped = warped + redrawn
        decoded = self.decoder(
            posed,
            base.maps,
            appearance.features,
            warped,
            base.flow,
            torch.cat([appearance.dynamics, dynamics], -1),
        )
        return self._compose(appearance, base, decoded, redrawn)

    def _redrawn(
        self, painter: ExpressionPainter, appearance: Appearance, base: Base, pose: Tensor, dynamics: Tensor
    ) -> Tensor:
        """What eyes and mouth change by (B, 3, S, S), carried with the face."""
        painted = painter(appearance.small, appearance.pose, pose, appearance.dynamics, dynamics)
        maps = dict(zip(MAP_NAMES, base.maps.float().unbind(1), strict=True))
        return painter.changes(painted, maps["face_x"], maps["face_y"]) * maps["front"][:, None]

    def render(self, appearance: Appearance, motion: Tensor, learned: bool = True) -> Tensor:
        appearance = appearance.expand(motion.shape[0])
        layout = self.layout
        return self.decode(appearance, motion[:, layout.pose], motion[:, layout.dynamics], learned).image

    def _posed_volume(self, appearance: Appearance, pose: Tensor, dynamics: Tensor) -> Tensor:
        """Canonical volume -> the volume as seen under the target's codes (B, C, D, h, h); one gather,
        flows composed.
        """
        side = appearance.volume.shape[-1]
        fields = self.driver_warp(self.driver_condition(dynamics, appearance.identity), side)
        with torch.autocast(pose.device.type, enabled=False):
            canonical = canonical_from_seen(self._grid(side), pose.float())
            fields = sample_volume(fields, canonical, padding="border")
        shift, added = fields[:, :3], fields[:, 3:]
        posed = sample_volume(appearance.volume, canonical + shift.permute(0, 2, 3, 4, 1))
        return posed + added if self.config.driver_adds else posed

    def _base(self, appearance: Appearance, pose: Tensor, dynamics: Tensor) -> Base:
        def reading(code: Tensor) -> Tensor | None:
            return self.dynamics_encoder.controls(code) if self.config.expression_warp else None

        with torch.autocast(pose.device.type, enabled=False):
            return base_warp(
                appearance.pose.float(),
                reading(appearance.dynamics),
                pose.float(),
                reading(dynamics),
                face_shape(appearance.landmarks),
                self.size,
            )

    def _compose(
        self, appearance: Appearance, base: Base, decoded: Decoded, redrawn: Tensor | None
    ) -> Rendering:
        """Carried pixels plus corrections where the mask allows.

        Frames are finer than the network: there the corrections are enlarged, and the detail that only the
        carried pixels have stays as far as they are hardly corrected.
        """
        assert decoded.flow is not None and decoded.mask_logit is not None
        photograph = appearance.photograph[:, None, None, None]
        flow = base.flow + decoded.flow * (1 - (1 - PHOTO_RESIDUAL) * photograph)
        warped = sample_image(appearance.small.float(), flow)
        alpha = base.synthesis[:, None] * torch.sigmoid(decoded.mask_logit)
        maps = dict(zip(MAP_NAMES, base.maps.split(1, 1), strict=True))
        share = PHOTO_SYNTHESIS + (1 - PHOTO_PAINT - PHOTO_SYNTHESIS) * maps["mouth_inside"]
        alpha = alpha * (1 - (1 - share) * photograph * maps["front"])  # as it is where photograph is 0
        correction = alpha * decoded.colour
        if redrawn is not None:
            correction = correction + redrawn
        painted = paint_mouth(warped, base)
        if appearance.side == self.size:
            image = painted + correction
        else:
            fine = paint_mouth(self._carried(appearance, flow), base)
            strength = (correction.abs().amax(1, keepdim=True) / FULL_CORRECTION).clamp(0, 1)
            coarse = torch.cat([painted, correction, strength], 1)
            coarse = F.interpolate(coarse, fine.shape[-2:], mode="bilinear", align_corners=False)
            painted_up, correction_up, strength_up = coarse.split([3, 3, 1], 1)
            image = torch.lerp(fine, painted_up, strength_up) + correction_up
        return Rendering(image.clamp(-1, 1), warped, alpha, flow, base)

    def _geometric(self, appearance: Appearance, base: Base) -> Rendering:
        warped = self._carried(appearance, base.flow)
        return Rendering(paint_mouth(warped, base).clamp(-1, 1), warped, None, base.flow, base)

    def _carried(self, appearance: Appearance, flow: Tensor) -> Tensor:
        """The portrait's pixels (B, 3, H, H) carried by a flow of network size."""
        if appearance.side == self.size:
            return sample_image(appearance.small.float(), flow)
        flow = upsample_flow(flow, appearance.side, appearance.side)
        return sample_image(appearance.pixels.float(), flow, mode="bicubic")
