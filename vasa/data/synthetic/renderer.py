"""Rendering heads: picture, masks, landmarks, boxes, and the exact flow between any two frames.

``render`` draws B frames of B identities; ``flow`` says where the material point seen at each pixel of a
target frame lies in another frame (of the same or of another identity under another animation). Both work on
CPU and GPU in batches.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vasa.data.synthetic import expression, landmarks, mesh, raster, shading
from vasa.data.synthetic.degradation import degrade
from vasa.data.synthetic.heads import Identities
from vasa.geometry import CAMERA_DISTANCE, pixel_grid, project_camera
from vasa.records import Animation

QUALITIES = {"full": 2, "draft": 1}
"""Samples per pixel along each axis."""
CPU_SAMPLES = 2**18
"""Samples drawn at once on a CPU: more no longer fit the cache."""
MIN_SIZE, MAX_SIZE = 32, 1024
BACKGROUND, TORSO, HEAD = 0, 128, 255
DEPTH_TOLERANCE = 0.03
"""Head units by which a material point may lie behind the source's surface and still count as seen."""
SOFT_SHARE = 0.5
"""A pixel belongs to hair or beard where these cover at least this much of it."""


@dataclass(slots=True)
class Rendered:
    """B drawn frames of size S.

    image (B, 3, S, S) in [0, 1]; mask (B, S, S) uint8 as in records.Truth; landmarks (B, 68, 2) and
    landmarks_3d (B, 68, 3); eye_boxes (B, 2, 4), mouth_box (B, 4). points (B, V, 3): the vertices in the
    camera frame; face (B, S, S): the triangle seen at each pixel's centre, -1 for background; weights
    (B, S, S, 3) within it; depth (B, S, S): distance along the view axis.
    """

    image: Tensor
    mask: Tensor
    landmarks: Tensor
    landmarks_3d: Tensor
    eye_boxes: Tensor
    mouth_box: Tensor
    points: Tensor
    face: Tensor
    weights: Tensor
    depth: Tensor

    @property
    def size(self) -> int:
        return self.mask.shape[-1]

    @staticmethod
    def join(parts: list[Rendered]) -> Rendered:
        """Batches one after the other."""
        return Rendered(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Rendered)))


@lru_cache(maxsize=4)
def _face_tables(device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Per triangle: seen from both sides; drawn with coverage; mask value."""
    t = mesh.template(device)
    two_sided = torch.tensor([name in mesh.TWO_SIDED for name in mesh.PARTS], device=device)
    soft = torch.tensor([name in mesh.SOFT_PARTS for name in mesh.PARTS], device=device)
    body = torch.full((len(mesh.PARTS),), HEAD, device=device)
    body[mesh.PARTS.index("torso")] = TORSO
    mask = body[t.face_part]
    columns = len(t.theta)
    neck = (t.s > 12.4).repeat_interleave(columns)
    skin = t.face_part == mesh.PARTS.index("skin")
    corner = t.faces[:, 0].clamp(max=len(neck) - 1)
    mask = torch.where(skin & neck[corner], TORSO, mask)
    angle, ring = t.theta.abs().repeat(len(t.s)), t.s.repeat_interleave(columns)
    cheek = (
        (angle > 0.3) & (angle < 2.0) & (ring > 5.0) & (ring < 11.0)
    )  # their inside shows through mouth and lids
    two_sided = two_sided[t.face_part] | (skin & cheek[corner])
    return two_sided, soft[t.face_part], mask.to(torch.uint8)


def texture_size(size: int) -> int:
    """Height of the atlas for pictures of ``size``."""
    return 256 if size <= 160 else 384 if size <= 288 else 640


def _screen(points: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel coordinates x, y and depth (B, V) of camera-frame points (B, V, 3)."""
    uv = project_camera(points)
    return (uv[..., 0] + 1) * (size / 2), (uv[..., 1] + 1) * (size / 2), CAMERA_DISTANCE - points[..., 2]


def _rasterise(points: Tensor, size: int) -> tuple[raster.Hits, raster.Hits, raster.Hits]:
    device = str(points.device)
    two_sided, soft, _ = _face_tables(device)
    x, y, depth = _screen(points, size)
    return raster.rasterise(x, y, depth, mesh.template(device).faces, two_sided, soft, size)


@torch.no_grad()
def render(identities: Identities, animation: Animation, size: int = 128, quality: str = "full") -> Rendered:
    """Draws frame i of identity i under animation i. ``full`` takes 2 x 2 samples per pixel, ``draft`` one
    (for training).

    Raises:
        ValueError: on unequal lengths, an odd or extreme size, or an unknown quality.
    """
    _check(identities, animation, size, quality)
    animation = animation.to(identities.device)
    step = len(identities)
    if identities.device.type == "cpu":  # small batches stay in the cache
        step = max(1, CPU_SAMPLES // (size * QUALITIES[quality]) ** 2)
    parts = [
        _render(identities[i : i + step], animation[slice(i, i + step)], size, quality)
        for i in range(0, len(identities), step)
    ]
    return parts[0] if len(parts) == 1 else Rendered.join(parts)


def _render(identities: Identities, animation: Animation, size: int, quality: str) -> Rendered:
    """One batch of ``render``."""
    geometry = identities.geometry()
    head_points = expression.pose_vertices(geometry, animation.controls)
    points = expression.place_vertices(head_points, animation.pose)
    samples = QUALITIES[quality]
    fine = size * samples
    t = mesh.template(str(points.device))
    normals = shading.vertex_normals(points, t.neighbours)
    tangents = points[:, t.neighbours[:, 1]] - points[:, t.neighbours[:, 0]]
    packed = torch.cat(
        [points, normals, tangents, shading.vertex_attributes(geometry, animation.controls, head_points)], -1
    )
    solid, *shells = _rasterise(points, fine)
    atlas, background, rows = identities.textures(texture_size(size))
    light = shading.lights(identities)
    batch = len(identities)
    flat = _background(background, rows, fine).permute(0, 2, 3, 1).reshape(-1, 3)
    flat[solid.pixel], _ = shading.shade(solid, fine, packed, atlas, rows, light, soft=False)
    drawn = []
    for hits in shells:  # first what is seen from inside, then the outside over it
        hits = _in_front(hits, solid, batch * fine * fine)
        colour, cover = shading.shade(hits, fine, packed, atlas, rows, light, soft=True)
        flat[hits.pixel] = torch.lerp(flat[hits.pixel], colour, cover[:, None])
        drawn.append((hits, cover))
    image = flat.reshape(batch, fine, fine, 3).permute(0, 3, 1, 2)
    seen = _seen(points, solid, drawn, size, samples)
    if samples > 1:
        image = F.avg_pool2d(image, samples)
    if identities.mode == "randomised":
        grain = (animation.pose.sum(-1) + animation.controls.sum(-1)).mul(1e4).long().cpu()
        image = degrade(image, identities.seeds, grain)
    image_landmarks = project_camera(landmarks.landmarks_3d(points))
    eyes, mouth = landmarks.boxes(image_landmarks)
    return Rendered(
        image=image.clamp(0, 1).contiguous(),
        mask=_mask(seen[0]),
        landmarks=image_landmarks,
        landmarks_3d=landmarks.landmarks_3d(head_points),
        eye_boxes=eyes,
        mouth_box=mouth,
        points=points,
        face=seen[0],
        weights=seen[1],
        depth=seen[2],
    )


def _check(identities: Identities, animation: Animation, size: int, quality: str) -> None:
    if len(identities) != len(animation):
        raise ValueError(
            f"animation has {len(animation)} frames for {len(identities)} identities; wanted one frame each."
        )
    if size % 2 or not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size is {size}; wanted an even number from {MIN_SIZE} to {MAX_SIZE}.")
    if quality not in QUALITIES:
        raise ValueError(f"quality is {quality!r}; wanted one of {', '.join(QUALITIES)}.")


def _background(background: Tensor, rows: Tensor, size: int) -> Tensor:
    """Backgrounds (B, 3, size, size) in [0, 1] of atlas rows (B,)."""
    resized = F.interpolate(background.float() / 255, (size, size), mode="bilinear", align_corners=False)
    return resized[rows]


def _in_front(hits: raster.Hits, solid: raster.Hits, num_pixels: int) -> raster.Hits:
    """The hits that no solid surface hides."""
    nearest = hits.inverse_depth.new_zeros(num_pixels)
    nearest[solid.pixel] = solid.inverse_depth
    keep = hits.inverse_depth >= nearest[hits.pixel] * (1 - 1e-4)
    return hits.select(keep)


def _seen(
    points: Tensor, solid: raster.Hits, drawn: list[tuple[raster.Hits, Tensor]], size: int, samples: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What is seen at pixel centres: face (B, S, S) with -1 for background, weights (B, S, S, 3), depth
    (B, S, S)."""
    batch = len(points)
    if samples > 1:  # pixel centres lie between samples: look once more, through centres only
        solid, *shells = _rasterise(points, size)
        layers = []
        for hits, (fine_hits, cover) in zip(shells, drawn, strict=True):
            fine = points.new_zeros(batch * (size * samples) ** 2)
            fine[fine_hits.pixel] = cover
            share = F.avg_pool2d(fine.reshape(batch, 1, size * samples, size * samples), samples).flatten()
            hits = _in_front(hits, solid, batch * size * size)
            layers.append(hits.select(share[hits.pixel] >= SOFT_SHARE))
    else:
        layers = [hits.select(cover >= SOFT_SHARE) for hits, cover in drawn]
    face = torch.full((batch * size * size,), -1, dtype=torch.long, device=points.device)
    weights = points.new_zeros(batch * size * size, 3)
    depth = points.new_full((batch * size * size,), 1e3)
    for hits in (solid, *layers):
        face[hits.pixel], weights[hits.pixel], depth[hits.pixel] = (
            hits.face,
            hits.weights,
            1 / hits.inverse_depth,
        )
    return face.view(batch, size, size), weights.view(batch, size, size, 3), depth.view(batch, size, size)


def _mask(face: Tensor) -> Tensor:
    _, _, values = _face_tables(str(face.device))
    return torch.where(face >= 0, values[face.clamp(min=0)], BACKGROUND).to(torch.uint8)


@torch.no_grad()
def flow(
    target: Rendered,
    source_identities: Identities,
    source_animation: Animation,
    source: Rendered | None = None,
) -> tuple[Tensor, Tensor]:
    """Where each target pixel's material point lies in the source frame.

    Returns flow (B, S, S, 2) in image coordinates of the source (ready for grid_sample), and visible
    (B, S, S): the point is seen there (inside the frame, nothing in front of it). The background stands
    still. ``source``: the rendered source frame if at hand; else only what is needed of it is computed.
    """
    size = target.size
    if source is None:
        source = render(source_identities, source_animation, size, "draft")
    t = mesh.template(str(target.points.device))
    batch = len(target.face)
    corners = t.faces[target.face.clamp(min=0)]  # (B, S, S, 3)
    offset = torch.arange(batch, device=corners.device)[:, None, None, None] * t.num_vertices
    moved = source.points.flatten(0, 1)[corners + offset]  # (B, S, S, 3, 3)
    material = (target.weights[..., None] * moved).sum(-2)
    still = pixel_grid(size, size, material.device).expand(batch, -1, -1, -1)
    here = (target.face >= 0)[..., None]
    where = torch.where(here, project_camera(material), still)
    expected = CAMERA_DISTANCE - material[..., 2]
    return where, _visible(where, expected, here[..., 0], source)


def _visible(where: Tensor, expected: Tensor, on_body: Tensor, source: Rendered) -> Tensor:
    """Depth test of points ``where`` (B, S, S, 2) at depth ``expected`` against the source's four nearest
    pixels.

    Background is visible where the source's nearest pixel is background too.
    """
    size = source.size
    position = (where + 1) * (size / 2) - 0.5
    inside = ((where >= -1) & (where <= 1)).all(-1)
    frame = torch.arange(len(where), device=where.device)[:, None, None] * size * size
    depth, face = source.depth.flatten(), source.face.flatten()

    def index(cell: Tensor) -> Tensor:
        cell = cell.long().clamp(0, size - 1)
        return frame + cell[..., 1] * size + cell[..., 0]

    error = torch.full_like(expected, 1e9)
    for shift in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        near = depth[index(position.floor() + position.new_tensor(shift))]
        error = torch.minimum(error, (near - expected).abs())
    bare = face[index(position.round())] < 0
    return inside & torch.where(on_body, error < DEPTH_TOLERANCE, bare)
