"""What judges see of a labelled frame: colour, light, blur, noise, other backgrounds, loose crops, and
pictures without a face.

Every draw comes from the generator that is passed in; labels follow the pixels. Nothing here knows of
networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.data.judge_pools import LabelledFrames
from vasa.geometry import pixel_grid
from vasa.nn.warp import sample_image
from vasa.pretrained.crops import apply, invert, pose_in_crop, similarity
from vasa.training.judge_config import AugmentConfig


@dataclass(slots=True)
class JudgeBatch:
    """A batch as a judge learns from it. images (B, 3, S, S) in [-1, 1]; is_face (B,) 1 or 0 (then the
    other labels mean nothing); the rest as in LabelledFrames.
    """

    images: Tensor
    landmarks: Tensor
    pose: Tensor
    controls: Tensor
    emotion: Tensor
    has_emotion: Tensor
    person: Tensor
    is_face: Tensor


def augment(frames: LabelledFrames, config: AugmentConfig, generator: torch.Generator) -> JudgeBatch:
    """Labelled frames -> a batch to learn from. Everything is drawn from `generator`, on the CPU."""
    images = replace_background(frames.images, frames.alpha, config.background, generator)
    landmarks, pose = frames.landmarks, frames.pose
    is_face = torch.ones(len(images))
    if config.crops:
        matrix = draw_crops(len(images), config, generator)
        images = crop_loosely(images, matrix, generator)
        landmarks, pose = apply(invert(matrix), landmarks), pose_in_crop(pose, matrix)
    if config.faceless:
        faceless = torch.rand(len(images), generator=generator) < config.faceless
        images = torch.where(faceless[:, None, None, None], remove_face(frames, generator), images)
        is_face = 1 - faceless.float()
    images = occlude(images, config.occlude, generator)
    images = recolour(images, config.colour, generator)
    images = degrade(images, config.blur, config.noise, generator)
    return JudgeBatch(
        images.clamp(-1, 1),
        landmarks,
        pose,
        frames.controls,
        frames.emotion,
        frames.has_emotion,
        frames.person,
        is_face,
    )


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _some(count: int, share: float, generator: torch.Generator) -> Tensor:
    """(B, 1, 1, 1) bool: true for a random share of the batch."""
    return (torch.rand(count, generator=generator) < share).view(-1, 1, 1, 1)


def clutter(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Backgrounds (B, 3, S, S): noise at three scales around a random colour."""
    out = _uniform((count, 3, 1, 1), -0.9, 0.9, generator)
    for cells, strength in ((3, 0.5), (9, 0.3), (32, 0.2)):
        amount = strength * torch.rand((count, 1, 1, 1), generator=generator)
        noise = amount * _normal((count, 3, cells, cells), generator)
        out = out + F.interpolate(noise, size=(32, 32), mode="bilinear", align_corners=False)
    return F.interpolate(out.clamp(-1, 1), size=(size, size), mode="bilinear", align_corners=False)


def replace_background(images: Tensor, alpha: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Puts clutter behind a share of the people, so that nobody is known by their wall."""
    pick = _some(len(images), share, generator)
    behind = clutter(len(images), images.shape[-1], generator)
    return torch.where(pick, alpha * images + (1 - alpha) * behind, images)


def draw_crops(count: int, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Similarities (B, 2, 3) from crop to image coordinates:

    In a crop at scale s a face is 1 / s times as large.
    """
    low, high = torch.tensor([config.scale_low, config.scale_high]).log().tolist()
    size = _uniform((count,), low, high, generator).exp()
    centre = _uniform((count, 2), -1, 1, generator) * config.shift * 2 / size[:, None]
    return similarity(centre, 1 / size, _uniform((count,), -1, 1, generator) * config.roll)


def crop_loosely(images: Tensor, matrix: Tensor, generator: torch.Generator) -> Tensor:
    """Resamples crops.

    What lies outside the picture is clutter for half of them, the smeared border for the others.
    """
    count, size = len(images), images.shape[-1]
    grid = apply(matrix, pixel_grid(size, size).view(1, -1, 2).expand(count, -1, -1)).view(
        count, size, size, 2
    )
    inside = (grid.abs() <= 1).all(-1)[:, None]
    behind = clutter(count, size, generator)
    keep = inside | _some(count, 0.5, generator)
    return torch.where(keep, sample_image(images, grid), behind)


def remove_face(frames: LabelledFrames, generator: torch.Generator) -> Tensor:
    """Pictures without a face, (B, 3, S, S): shuffled tiles, or the head's silhouette filled with clutter."""
    images, (count, _, size, _) = frames.images, frames.images.shape
    cells = 4
    tiles = images.unfold(2, size // cells, size // cells).unfold(3, size // cells, size // cells)
    order = torch.randperm(cells * cells, generator=generator)
    tiles = tiles.reshape(count, 3, cells * cells, size // cells, size // cells)[:, :, order]
    tiles = tiles.view(count, 3, cells, cells, size // cells, size // cells).permute(0, 1, 2, 4, 3, 5)
    shuffled = tiles.reshape(count, 3, size, size)
    head = (frames.frames[:, 3:] > 192).float()
    filled = (1 - head) * images + head * clutter(count, size, generator)
    return torch.where(_some(count, 0.5, generator), shuffled, filled)


def occlude(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Covers a share of the pictures with one rectangle of clutter: a hand, a microphone, an edge."""
    count, _, size, _ = images.shape
    centre = _uniform((count, 1, 1, 2), -0.9, 0.9, generator)
    half = _uniform((count, 1, 1, 2), 0.08, 0.3, generator)
    covered = ((pixel_grid(size, size)[None] - centre).abs() < half).all(-1)[:, None]
    return torch.where(covered & _some(count, share, generator), clutter(count, size, generator), images)


def recolour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Gain, gamma and offset, each partly shared by the channels; a tenth of the pictures turn grey."""
    count = len(images)

    def draw(shared: float, own: float) -> Tensor:
        return strength * (
            shared * _normal((count, 1, 1, 1), generator) + own * _normal((count, 3, 1, 1), generator)
        )

    light = (images + 1) / 2
    light = light.clamp(min=1e-4) ** draw(0.25, 0.1).exp() * draw(0.2, 0.1).exp() + draw(0.06, 0.04)
    grey = _some(count, 0.1 * strength, generator)
    light = torch.where(grey, light.mean(1, keepdim=True).expand_as(light), light)
    return (light * 2 - 1).clamp(-1, 1)


def degrade(images: Tensor, blur: float, noise: float, generator: torch.Generator) -> Tensor:
    """Loses detail as a small or compressed picture does, in a share `blur`.

    Adds noise of at most `noise` (of 2).
    """
    count, _, size, _ = images.shape
    smaller = round(size * float(_uniform((1,), 0.45, 0.8, generator)))
    low = F.interpolate(images, size=(smaller, smaller), mode="bilinear", align_corners=False, antialias=True)
    soft = F.interpolate(low, size=(size, size), mode="bilinear", align_corners=False)
    images = torch.where(_some(count, blur, generator), soft, images)
    amount = torch.rand((count, 1, 1, 1), generator=generator) ** 2 * noise
    return images + amount * _normal(tuple(images.shape), generator)
