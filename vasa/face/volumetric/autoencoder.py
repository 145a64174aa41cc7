"""The volumetric face space: VASA-1's stage 1 on MegaPortraits' networks, with the portrait's own pixels
carried by option.

    portrait -> E_app -> volume as seen -> rigid + learned warp -> G3D -> canonical appearance volume
    frame    -> E_pose, E_dyn -> z_pose, z_dyn
    canonical volume -> learned + rigid warp under (z_pose, z_dyn) -> P, G2D -> frame

Order of the warps as in the authors' code (papers' notation): source: rigid inverse first, then w_em(z_s,
e_s); driver: w_em(z_d, e_s) in the canonical frame first, then rigid. z_id is always the source's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.checkpoint import load_into, load_weights
from vasa.face.config import FaceConfig
from vasa.face.volumetric.appearance import Appearance, Rendering
from vasa.face.volumetric.composition import carried_alone, composed
from vasa.face.volumetric.decoder import Decoded, Decoder
from vasa.face.volumetric.encoders import AppearanceEncoder, DynamicsEncoder, IdentityEncoder, PoseEncoder
from vasa.face.volumetric.expression import displacement
from vasa.face.volumetric.mouth import paint_mouth
from vasa.face.volumetric.painter import ExpressionPainter
from vasa.face.volumetric.pixels import MAP_NAMES, Base, base_warp
from vasa.face.volumetric.quick_decoder import QuickDecoder
from vasa.face.volumetric.quick_warp import QuickWarp
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
from vasa.nn.warp import enlarge_twice, sample_image, sample_volume
from vasa.records import CONTROL_INDEX, MotionLayout


def _resize(image: Tensor, size: int) -> Tensor:
    """Square images to size x size, antialiased when shrinking."""
    if image.shape[-1] == size:
        return image
    with torch.autocast(image.device.type, enabled=False):
        return F.interpolate(image.float(), (size, size), mode="bilinear", antialias=image.shape[-1] > size)


REST_LIMITS = {"blink_left": 0.9, "blink_right": 0.9, "jaw": 0.3}
"""Controls of a portrait that are believed above these values even when its expression counts as its rest."""


def at_rest(controls: Tensor, share: float) -> Tensor:
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
        self.quick: Callable[..., Decoded] | None = None
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

    def encode(
        self, image: Tensor, points: Tensor | None = None, resting: float = 0.0, speaking: bool = False
    ) -> Appearance:
        """Portraits (B, 3, H, H) in [-1, 1], H >= S -> Appearance; H is kept for rendering.

        points (B, 5, 2): where a face detector saw eyes, nose tip and mouth corners (image coordinates);
        corrects where the features of this face are, and marks it as a photograph (PHOTO_RESIDUAL). resting:
        the share of the portrait's expression that counts as how this face looks at rest, so that motion is
        added to it; what is plainly open or shut (REST_LIMITS) stays an expression. speaking: no closed lip
        line is looked for: in a video it jumps between lips and teeth.

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
            dynamics = self.dynamics_encoder.set_controls(dynamics, at_rest(said, resting))
        appearance = self.encode_with(small, image, pose, dynamics)
        if points is not None and self.config.expression_warp:
            controls = self.dynamics_encoder.controls(dynamics)
            shape = face_shape(appearance.landmarks)
            corners = appearance.landmarks[:, [48, 54], :2].float()
            moved = displacement(corners, controls, shape, lower=False)
            landmarks = fit_to_points(appearance.landmarks.float(), pose.float(), points.float(), moved)
            closed = (controls[:, CONTROL_INDEX["jaw"]] < REST_LIMITS["jaw"]).all()
            if bool(closed) and not speaking:
                landmarks = settle_lip_line(landmarks, pose.float(), image)
            appearance.landmarks = landmarks
            appearance.photograph = torch.ones_like(appearance.photograph)
        if self.config.source_pixels and image.shape[-1] > self.size:
            appearance.pixels = enlarge_twice(image.float())
        return appearance

    def own_motion(self, appearance: Appearance) -> Tensor:
        return torch.cat([appearance.pose, appearance.dynamics], -1)

    def ready(self, appearance: Appearance) -> Appearance:
        """One portrait that many frames are to be made of: what no frame changes of the geometric warp is
        worked out now, after ``quicken``. Numbers are read from the device.
        """
        if self.quick is None or not (self.config.source_pixels and self.config.expression_warp):
            return appearance
        controls = self.dynamics_encoder.controls(appearance.dynamics)
        with torch.autocast(controls.device.type, enabled=False):
            warp = QuickWarp(face_shape(appearance.landmarks), appearance.pose.float(), controls, self.size)
        return replace(appearance, warp=warp)

    def quicken(self, dtype: torch.dtype, compiled: bool = False) -> None:
        """From now on frames come by the quick decoder (quick_decoder.py), in ``dtype`` and compiled if
        wanted, and those of portraits that are made ``ready`` by the quick warp, too: not for training.
        """
        quick = QuickDecoder(self.decoder, dtype)
        self.quick = torch.compile(quick, dynamic=False) if compiled else quick

    def replayable(self, appearance: Appearance) -> bool:
        return not self.config.source_pixels or appearance.warp is not None

    def hold_edges(self, appearance: Appearance) -> Appearance:
        return replace(appearance, held=True)

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
            return carried_alone(appearance, base)
        posed, decoder = self._posed_volume(appearance, pose, dynamics), self.quick or self.decoder
        if base is None:
            return Rendering(decoder(posed).colour)
        warped = sample_image(appearance.small, base.flow)
        redrawn = None
        if self.painter is None:
            warped = paint_mouth(warped, base)
        else:
            redrawn = self._redrawn(self.painter, appearance, base, pose, dynamics)
            warped = warped + redrawn
        decoded = decoder(
            posed,
            base.maps,
            appearance.features,
            warped,
            base.flow,
            torch.cat([appearance.dynamics, dynamics], -1),
        )
        return composed(appearance, base, decoded, redrawn)

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
            if appearance.warp is not None:
                return appearance.warp(pose.float(), self.dynamics_encoder.controls(dynamics))
            return base_warp(
                appearance.pose.float(),
                reading(appearance.dynamics),
                pose.float(),
                reading(dynamics),
                face_shape(appearance.landmarks),
                self.size,
            )
