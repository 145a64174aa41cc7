"""The four independent encoders of the face latent space: appearance, identity, head pose, facial dynamics
(VASA-1, section 3.1).

None of them sees another's output, except that the dynamics encoder (and the identity encoder's close look)
crops the face as it would look from the front, for which it is told the pose. Deferred to MegaPortraits by
VASA-1; sizes in face/config.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vasa.face.config import CropWindow, FaceConfig
from vasa.face.volumetric.mean_face import MEAN_LANDMARKS
from vasa.geometry import project
from vasa.nn.blocks import ResBlock2d, ResBlock3d, group_norm, relu
from vasa.nn.warp import sample_image
from vasa.records import NUM_CONTROLS, POSE_NAMES

CODE_SIDE = 4
"""Side of the grid that z_id and the condition of the warp generators live on (MegaPortraits' code: 4 x
4).
"""


class ImageEncoder(nn.Module):
    """A small ResNet: image (B, 3, h, w) -> (B, widths[-1], 4, 4). Stride 2 in the stem, then one halving
    a stage.
    """

    def __init__(self, widths: list[int], blocks: list[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 7, 2, 3)
        stages: list[nn.Module] = []
        for index, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if index:
                stages.append(nn.AvgPool2d(2, ceil_mode=True))
            previous = widths[max(index - 1, 0)]
            stages += [ResBlock2d(previous if n == 0 else width, width) for n in range(count)]
        self.stages = nn.Sequential(*stages)
        self.norm = group_norm(widths[-1])

    def forward(self, image: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(relu(self.norm(self.stages(self.stem(image)))), CODE_SIDE)


def _zero(layer: nn.Linear) -> nn.Linear:
    """Starts a regression head at its bias."""
    nn.init.normal_(layer.weight, std=1e-3)
    nn.init.zeros_(layer.bias)
    return layer


class AppearanceEncoder(nn.Module):
    """E_app (fig. 9a): image (B, 3, S, S) -> volume as seen (B, C, D, h, h), and the 2D features at each
    halving (finest first). S may be smaller than the config's: h shrinks with it.
    """

    def __init__(self, config: FaceConfig) -> None:
        super().__init__()
        widths = config.appearance_widths
        self.stem = nn.Conv2d(3, widths[0], 7, config.appearance_stride, 3)
        self.blocks = nn.ModuleList(ResBlock2d(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.norm = group_norm(widths[-1])
        self.to_volume = nn.Conv2d(widths[-1], config.volume_channels * config.volume_depth, 1)
        self.volume_blocks = nn.Sequential(
            *(ResBlock3d(config.volume_channels, config.volume_channels) for _ in range(config.volume_blocks))
        )
        self.depth, self.stride = config.volume_depth, config.appearance_stride

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.stem(image)
        features = [x] if self.stride == 2 else []
        for block in self.blocks:
            x = F.avg_pool2d(block(x), 2)
            features.append(x)
        volume = rearrange(self.to_volume(relu(self.norm(x))), "b (c d) h w -> b c d h w", d=self.depth)
        return self.volume_blocks(volume), features


class PoseEncoder(nn.Module):
    """E_pose: image (B, 3, h, h) -> z_pose (B, 6), in the order and units of records.POSE_NAMES (Euler
    angles, as MegaPortraits).

    A ResNet-18 in the paper's sizes. Rotation, a translation in the image and one scale, where the authors'
    code has three translations and three scales: a perspective camera tells depth and scale apart by nothing.
    """

    def __init__(self, config: FaceConfig) -> None:
        super().__init__()
        self.body = ImageEncoder(config.pose_widths, config.pose_blocks)
        self.head = _zero(nn.Linear(config.pose_widths[-1] * CODE_SIDE**2, len(POSE_NAMES)))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image).flatten(1).float())


def _surface_height(x: Tensor, y: Tensor) -> Tensor:
    """z of a mean face's surface at face-plane points, without its nose."""
    return 0.86 * (1 - (x / 0.95) ** 2 - ((y - 0.06) / 1.25) ** 2).clamp(min=0.05).sqrt()


def frontal_crop(image: Tensor, pose: Tensor, window: CropWindow) -> Tensor:
    """The rectangle ``window`` of the face plane as seen from the front: image (B, 3, S, S), pose (B, 6) ->
    (B, 3, height, width).

    Frontalising takes head pose out of the dynamics code: with a plain 2D crop it leaks in (R2 0.4 to 0.7 in
    our study).
    """
    x = torch.linspace(window.x0, window.x1, window.width, device=image.device)
    y = torch.linspace(window.y1, window.y0, window.height, device=image.device)
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    points = torch.stack([xx, yy, _surface_height(xx, yy)], -1).view(1, -1, 3)
    with torch.autocast(image.device.type, enabled=False):
        grid = project(points, pose.float()).view(pose.shape[0], window.height, window.width, 2)
    return sample_image(image, grid)


class CropEncoder(nn.Module):
    """Frontalised windows -> one code (B, out_dim): an ImageEncoder a window, concatenated, then linear."""

    def __init__(self, config: FaceConfig, out_dim: int) -> None:
        super().__init__()
        self.windows = config.windows
        self.bodies = nn.ModuleList(
            ImageEncoder(config.dynamics_widths, config.dynamics_blocks) for _ in config.windows
        )
        width = config.dynamics_widths[-1] * CODE_SIDE**2 * len(config.windows)
        self.head = nn.Linear(width, out_dim)

    def forward(self, image: Tensor, pose: Tensor) -> Tensor:
        codes = [
            body(frontal_crop(image, pose, window)).flatten(1)
            for body, window in zip(self.bodies, self.windows, strict=True)
        ]
        return self.head(torch.cat(codes, 1).float())


class DynamicsEncoder(nn.Module):
    """E_dyn: image (B, 3, S, S) and its pose (B, 6) -> z_dyn (B, dynamics_dim); ``controls`` reads the
    expression from it.

    The linear reading makes the code speak the language of records.CONTROL_NAMES, which the geometric warp,
    the labels of procedural heads and the metrics need. VASA-1 has no such reading: its z_dyn is free.
    """

    def __init__(self, config: FaceConfig) -> None:
        super().__init__()
        self.body = CropEncoder(config, config.dynamics_dim)
        self.reading = nn.Linear(config.dynamics_dim, NUM_CONTROLS)
        nn.init.orthogonal_(self.reading.weight)
        nn.init.zeros_(self.reading.bias)

    def forward(self, image: Tensor, pose: Tensor) -> Tensor:
        return self.body(image, pose)

    def controls(self, z_dyn: Tensor) -> Tensor:
        """(..., dynamics_dim) -> (..., 11)."""
        return F.linear(z_dyn.float(), self.reading.weight, self.reading.bias)

    def set_controls(self, z_dyn: Tensor, controls: Tensor) -> Tensor:
        """The code nearest to z_dyn that reads as ``controls``."""
        inverse = torch.linalg.pinv(self.reading.weight.float())
        return z_dyn + (controls - self.controls(z_dyn)) @ inverse.T


class IdentityEncoder(nn.Module):
    """E_id: image -> z_id (B, identity_channels, 4, 4) and the face's neutral landmarks (B, 68, 3) in the
    head frame.

    z_id plays the role of MegaPortraits' e_s: a ResNet-50 of its residual blocks, which have two 3x3
    convolutions and no bottleneck, from scratch where the authors' code starts from ImageNet. The landmarks
    (in neither paper) tell the geometric warp where this face has its features: a coarse guess from the whole
    image, corrected by a close look at the frontalised windows. Where nothing reads them, without source
    pixels or their expression warp, they are the mean face's.
    """

    def __init__(self, config: FaceConfig) -> None:
        super().__init__()
        self.body = ImageEncoder(config.identity_widths, config.identity_blocks)
        self.to_code = nn.Conv2d(config.identity_widths[-1], config.identity_channels, 1)
        self.finds_landmarks = config.source_pixels and config.expression_warp
        if self.finds_landmarks:
            self.coarse = _zero(nn.Linear(config.identity_widths[-1] * CODE_SIDE**2, 68 * 3))
            self.close = CropEncoder(config, 68 * 3)
            _zero(self.close.head)
        self.register_buffer("mean_landmarks", torch.tensor(MEAN_LANDMARKS), persistent=False)
        self.mean_landmarks: Tensor

    def forward(self, small: Tensor, image: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(small)
        if not self.finds_landmarks:
            return self.to_code(features), self.mean_landmarks.expand(len(small), -1, -1)
        offset = self.coarse(features.flatten(1).float()) + self.close(image, pose)
        return self.to_code(features), self.mean_landmarks + offset.view(-1, 68, 3) * 0.1
