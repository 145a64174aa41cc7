"""Light and material: from hits of the rasteriser to colours. Linear light inside, sRGB (by a square root)
outside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vasa.data.synthetic import hair, mesh
from vasa.data.synthetic.anatomy import Geometry
from vasa.data.synthetic.expression import lid_opening, mouth_parts
from vasa.data.synthetic.heads import Identities
from vasa.data.synthetic.parameters import seed_generator
from vasa.data.synthetic.raster import Hits
from vasa.data.synthetic.shape import smoothstep
from vasa.records import CONTROL_INDEX

SPECULAR = {  # strength and sharpness of the highlight by part
    "skin": (0.16, 14.0),
    "eye_left": (1.1, 240.0),
    "eye_right": (1.1, 240.0),
    "cavity": (0.0, 8.0),
    "teeth_upper": (0.25, 30.0),
    "teeth_lower": (0.25, 30.0),
    "tongue": (0.25, 20.0),
    "ear_left": (0.12, 14.0),
    "ear_right": (0.12, 14.0),
    "torso": (0.02, 8.0),
    "glasses": (0.7, 40.0),
    "beard": (0.05, 30.0),
    "hair": (0.16, 70.0),
    "bun": (0.16, 70.0),
}


@dataclass(slots=True)
class Lights:
    """Key light direction (B, 3) towards the light in the camera frame and its colour (B, 3); ambient as 9
    harmonics (B, 9, 3)."""

    direction: Tensor
    colour: Tensor
    harmonics: Tensor
    hair_gloss: Tensor


def lights(identities: Identities) -> Lights:
    """The light that each identity is seen in; the randomised mode adds random second-order harmonics and
    colours."""
    get = identities.parameter
    yaw, pitch = get("light_yaw"), get("light_pitch")
    direction = torch.stack([yaw.sin() * pitch.cos(), pitch.sin(), yaw.cos() * pitch.cos()], -1)
    warm = get("light_warmth")[:, None] * yaw.new_tensor([0.07, 0.0, -0.10])
    colour = get("light_key")[:, None] * (1 + warm)
    harmonics = yaw.new_zeros(len(identities), 9, 3)
    harmonics[:, 0] = get("light_fill")[:, None] * (1 - 0.5 * warm)
    harmonics[:, 1] = 0.16 * harmonics[:, 0]  # from above
    harmonics[:, 2] = 0.12 * harmonics[:, 0]  # from the camera
    if identities.mode == "randomised":
        draws = [torch.randn(9, 3, generator=seed_generator(int(seed), 40)) for seed in identities.seeds]
        scale = torch.tensor([0.05] + [0.13] * 3 + [0.07] * 5)[:, None]
        harmonics = harmonics + (torch.stack(draws) * scale).to(yaw.device)
        tint = torch.stack(
            [0.75 + 0.5 * torch.rand(3, generator=seed_generator(int(seed), 41)) for seed in identities.seeds]
        )
        colour = colour * tint.to(yaw.device)
    return Lights(direction, colour, harmonics, hair.style_value(identities.values, "gloss"))


def vertex_normals(points: Tensor, neighbours: Tensor) -> Tensor:
    """Unit normals (B, V, 3) of vertices (B, V, 3) from neighbours (V, 4) above, below, left, right."""
    down = points[:, neighbours[:, 1]] - points[:, neighbours[:, 0]]
    right = points[:, neighbours[:, 3]] - points[:, neighbours[:, 2]]
    return F.normalize(torch.linalg.cross(down, right), dim=-1)


@lru_cache(maxsize=4)
def _mouth_shade(device: str) -> dict[str, Tensor]:
    points, _ = mouth_parts(device)
    shade = {}
    for name, base in (("cavity", 0.45), ("teeth_upper", 0.92), ("teeth_lower", 0.66), ("tongue", 0.80)):
        aside = smoothstep(points[name][:, 0].abs(), 0.10, 0.27)
        deep = smoothstep(-points[name][:, 2], -0.66, -0.36)
        shade[name] = base * (1 - 0.55 * aside) * (1 - 0.6 * deep)
    return shade


def vertex_attributes(geometry: Geometry, controls: Tensor, head_points: Tensor) -> Tensor:
    """Shade from above 0 to 1 and coverage (B, V, 2) of every vertex."""
    device = str(controls.device)
    t = mesh.template(device)
    out = torch.ones(*head_points.shape[:2], 2, device=controls.device)
    upper, lower = lid_opening(geometry, controls)
    for i, name in enumerate(("eye_left", "eye_right")):
        y = head_points[:, t.slices[name], 1] - geometry.eye_centre[:, i, 1, None] + 0.022
        lid, floor = upper[:, i, None], lower[:, i, None]
        out[:, t.slices[name], 0] = (1 - 0.60 * smoothstep(y, lid - 0.055, lid + 0.008)) * (
            1 - 0.25 * smoothstep(-y, floor - 0.03, floor + 0.01)
        )
        x = (head_points[:, t.slices[name], 0] - geometry.eye_centre[:, i, 0, None]).abs()
        out[:, t.slices[name], 0] *= 1 - 0.35 * smoothstep(x, 0.07, 0.17)
    opened = controls[:, CONTROL_INDEX["jaw"]] + 0.3 * controls[:, CONTROL_INDEX["lip_pucker"]]
    light_in = 0.35 + 0.65 * smoothstep(opened, 0.02, 0.30)  # little light falls through barely parted lips
    for name, shade in _mouth_shade(device).items():
        out[:, t.slices[name], 0] = shade * light_in[:, None]
    rows, columns = t.shapes["ear_left"]
    u = torch.linspace(0, 1.25, columns, device=controls.device).expand(rows, columns).flatten()
    ear = 0.97 - 0.35 * torch.exp(-(((u - 0.42) / 0.22) ** 2)) - 0.25 * torch.exp(-((u / 0.12) ** 2))
    for name in ("ear_left", "ear_right"):
        out[:, t.slices[name], 0] = ear
    out[:, t.slices["hair"], 1] = geometry.hair_cover
    out[:, t.slices["bun"], 1] = geometry.bun_cover
    out[:, t.slices["beard"], 1] = geometry.beard_cover
    hair_y = head_points[:, t.slices["hair"], 1]
    rows, columns = t.shapes["hair"]
    row = torch.arange(rows, device=controls.device).float()[:, None].expand(rows, columns).flatten()
    root = smoothstep(row, 0.72 * hair.SCALP_ROWS, float(hair.SCALP_ROWS)) * (hair_y > 0.25)
    out[:, t.slices["hair"], 0] = (1 - 0.35 * smoothstep(-hair_y, 0.2, 1.2)) * (1 - 0.35 * root)
    return out


@lru_cache(maxsize=4)
def _part_specular(device: str) -> tuple[Tensor, Tensor]:
    strength = torch.tensor([SPECULAR[name][0] for name in mesh.PARTS], device=device)
    sharpness = torch.tensor([SPECULAR[name][1] for name in mesh.PARTS], device=device)
    return strength, sharpness


def sample_atlas(atlas: Tensor, row: Tensor, uv: Tensor) -> Tensor:
    """Bilinear samples (N, 4) in [0, 1] of atlases (U, H, W, 4) uint8 at atlas ``row`` (N,) and uv (N, 2)."""
    _, height, width, _ = atlas.shape
    x = (uv[:, 0] * width - 0.5).clamp(0, width - 1.001)
    y = (uv[:, 1] * height - 0.5).clamp(0, height - 1.001)
    x0, y0 = x.floor(), y.floor()
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    base = (row * height + y0.long()) * width + x0.long()
    flat = atlas.reshape(-1, 4)
    top = torch.lerp(flat[base].float(), flat[base + 1].float(), fx)
    bottom = torch.lerp(flat[base + width].float(), flat[base + width + 1].float(), fx)
    return torch.lerp(top, bottom, fy) / 255


def _irradiance(harmonics: Tensor, normal: Tensor, frame: Tensor) -> Tensor:
    """Ambient light (N, 3) from harmonics (B, 9, 3) at normals (N, 3)."""
    x, y, z = normal.unbind(-1)
    basis = torch.stack([torch.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], -1)
    if len(harmonics) == 1:
        return (basis @ harmonics[0]).clamp(min=0.02)
    return torch.einsum("nk,nkc->nc", basis, harmonics[frame]).clamp(min=0.02)


def shade(
    hits: Hits, size: int, packed: Tensor, atlas: Tensor, atlas_row: Tensor, light: Lights, soft: bool
) -> tuple[Tensor, Tensor]:
    """Colours (N, 3) sRGB and coverage (N,) of hits.

    packed (B, V, 11): position, normal, down-grid tangent in the camera frame, shade, coverage. soft: a layer
    with coverage.
    """
    device = str(packed.device)
    t = mesh.template(device)
    frame = hits.frame(size)
    corners = t.faces[hits.face]
    values = packed.flatten(0, 1)
    offset = frame * packed.shape[1]
    attributes = (hits.weights[..., None] * values[corners + offset[:, None]]).sum(1)
    uv = (hits.weights[..., None] * t.uv[corners]).sum(1)
    texel = sample_atlas(atlas, atlas_row[frame], uv)
    position, normal = attributes[:, :3], F.normalize(attributes[:, 3:6], dim=-1)
    view = F.normalize(position.new_tensor([0.0, 0.0, 6.0]) - position, dim=-1)
    facing = (normal * view).sum(-1, keepdim=True)
    inside = (facing < -0.12) & (t.face_part[hits.face] == 0)[:, None]  # a cheek, through the mouth
    normal = torch.where(facing < 0, -normal, normal)
    facing = facing.abs()
    direction, key = light.direction[frame], light.colour[frame]
    part = t.face_part[hits.face]
    strength, sharpness = (table[part][:, None] for table in _part_specular(device))
    lambert = (normal * direction).sum(-1, keepdim=True)
    half = F.normalize(direction + view, dim=-1)
    if soft:
        tangent = F.normalize(attributes[:, 6:9], dim=-1)
        along = (tangent * half).sum(-1, keepdim=True) + 0.22 * (texel[:, 3:4] - 0.5)
        glint = strength * (1 - along**2).clamp(min=1e-4) ** (sharpness / 2) * (0.3 + texel[:, 3:4])
        glint = glint * light.hair_gloss[frame, None] * smoothstep(lambert, -0.1, 0.5)
        diffuse = ((lambert + 0.35) / 1.35).clamp(min=0)
    else:
        glint = strength * texel[:, 3:4] * (normal * half).sum(-1, keepdim=True).clamp(min=1e-4) ** sharpness
        wrap = normal.new_tensor([0.30, 0.18, 0.14])  # light that skin lets through, most of it red
        diffuse = ((lambert + wrap) / (1 + wrap)).clamp(min=0) ** 1.25
    occlusion = attributes[:, 9:10]
    ambient = _irradiance(light.harmonics, normal, frame)
    linear = texel[:, :3] ** 2 * (ambient + key * diffuse) * occlusion + glint * key * occlusion * (
        lambert > -0.1
    )
    colour = linear.clamp(min=0).sqrt()
    colour = torch.where(colour > 0.8, 0.8 + 0.2 * torch.tanh((colour - 0.8) / 0.2), colour)
    if not soft:
        colour = torch.where(inside, colour.new_tensor([0.16, 0.05, 0.05]), colour)
        return colour, torch.ones_like(facing[:, 0])
    rim = smoothstep(facing[:, 0], 0.02, 0.40)
    cover = attributes[:, 10] * (0.55 + 0.45 * rim)
    return colour, smoothstep(cover - texel[:, 3], 0.0, 0.22) * (attributes[:, 10] > 0.01)
