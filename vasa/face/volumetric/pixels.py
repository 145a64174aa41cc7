"""The portrait's own pixels, carried by a rigid 3D warp of a head proxy and the expression's motion,
projected to a 2D flow.

For each target pixel: cast its ray onto the proxy (an ellipsoid with a nose) under the target's pose, undo
the target's expression on the face plane, apply the source's, put the point back onto the proxy and project
it with the source's pose. Around the head the flow fades into the still background, and the torso follows the
head in part. Everything is in closed form and differentiable; nothing is learned. In neither paper:
MegaPortraits and VASA-1 synthesise every pixel. On photographs this base alone keeps identity and sharpness,
so it is the floor that the learned decoder refines (autoencoder.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vasa.face.volumetric.expression import EYEBALL_RADIUS, bump, displacement, lid_map, lip_line, undo
from vasa.face.volumetric.shape import FaceShape
from vasa.geometry import (
    CAMERA_DISTANCE,
    camera_rays,
    head_centre,
    pixel_grid,
    project,
    project_camera,
    rotation_matrix,
)
from vasa.nn.warp import upsample_flow
from vasa.records import CONTROL_INDEX

HEAD_RADII = (0.87, 1.20, 0.85)  # of the proxy with hair: x, y, z; x is scaled by the face's width over 0.78
HEAD_OFFSET_Y = 0.06
NOSE_WIDTH, NOSE_LENGTH = 0.11, 0.26
TORSO_TURN = (0.12, 0.10, 0.12)  # share of the head's yaw, pitch and roll that the torso follows
TORSO_FOLLOW = 0.7  # share of the neck's own travel that it follows; its place and size are the head's
NECK_PIVOT = (0.0, -1.0, -0.15)
TORSO_DEPTH = 0.1  # z of the plane that stands for it
SHOULDER_TOP, SHOULDER_SLOPE, SHOULDER_REACH = -0.95, 0.5, 1.0  # it is below top - slope |x|, |x| < reach
ACTIVE_CHANGE = 0.2  # of a control, that frees lips or lids for synthesis almost wholly
LIP_MARGIN = 0.03  # head units around the mouth opening that may be synthesised: the lips' edges
EYE_REGION = (1.2, 0.95)  # half axes of the region around an eye that may be, in half widths of the eye
LIP_SOFT = 0.010  # head units over which a lip's edge fades

MAP_NAMES = (
    "face_x", "face_y", "front", "head", "mouth_inside", "mouth_new", "lip_above", "eye_open", "eye_new",
    "iris", "shift_u", "shift_v",
)  # fmt: skip
"""Channels of Base.maps, in order."""


@dataclass(slots=True)
class Base:
    """The geometric warp at network resolution.

    flow: (B, H, W, 2), where each target pixel lies in the source, image coordinates. maps: (B, 12, H, W),
    see MAP_NAMES: what the decoder needs to know of the place (face plane, mouth interior, lids, iris).
    synthesis: (B, H, W) in [0, 1]: 1 where the source cannot have the pixel or need not (mouth interior,
    eyes, anything outside the front of the face). mouth: (B, 4), x and y of the closed mouth's middle on the
    face plane, its half width, and the face's unit.
    """

    flow: Tensor
    maps: Tensor
    synthesis: Tensor
    mouth: Tensor

    def at(self, index: int) -> Base:
        """That of one frame."""
        own = index if len(self.mouth) > 1 else 0
        return Base(
            self.flow[index, None], self.maps[index, None], self.synthesis[index, None], self.mouth[own, None]
        )


def _proxy_points(rays: Tensor, pose: Tensor, shape: FaceShape) -> tuple[Tensor, Tensor]:
    """Head-frame points (B, N, 3) where rays (N, 3) meet the proxy, and how far outside it each ray passes
    (B, N): < 1 is a hit.

    A ray that misses gets its nearest point to the proxy, so the flow goes on smoothly beyond the outline.
    """
    rotation = rotation_matrix(pose[:, :3])
    camera = rays.new_tensor([0.0, 0.0, CAMERA_DISTANCE])
    origin = (camera - head_centre(pose))[:, None] @ rotation  # (B, 1, 3): R^T (camera - centre)
    direction = rays[None] @ rotation
    radii = torch.stack(
        [HEAD_RADII[0] * shape.face_w / 0.78, *(torch.full_like(shape.unit, r) for r in HEAD_RADII[1:])], -1
    )
    centre = origin.new_tensor([0.0, HEAD_OFFSET_Y, 0.0])
    o, d = (origin - centre) / radii[:, None], direction / radii[:, None]
    a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1)
    outside = c - b * b / a  # squared distance of the ray from the centre, in radii
    depth = (-b - ((b * b - a * (c - 1)).clamp(min=1e-8)).sqrt()) / a
    points = origin + depth[..., None] * direction
    for _ in range(2):
        bump = surface_height(points[..., 0], points[..., 1], shape) / direction[..., 2].abs().clamp(min=0.3)
        points = origin + (depth - bump)[..., None] * direction
    return points, outside


def surface_height(x: Tensor, y: Tensor, shape: FaceShape) -> Tensor:
    """Height (B, N) of the face over the ellipsoid: the nose, and the profile of brows, eyes, lips, chin."""
    group_x, group_y, group_z = shape.relief.unbind(-1)  # (B, 4), from top to bottom
    offset = (group_z - ellipsoid_front(group_x, group_y, shape)).clamp(-0.25, 0.25)
    profile = offset[:, :1].expand_as(y)
    for upper in range(3):
        top, low = group_y[:, upper, None], group_y[:, upper + 1, None]
        share = ((top - y) / (top - low).clamp(min=0.05)).clamp(0, 1)
        profile = profile + share * (offset[:, upper + 1] - offset[:, upper])[:, None]
    central = ellipsoid_front(x, y, shape) / HEAD_RADII[2]
    return _nose(x, y, shape) + profile * central


def _nose(x: Tensor, y: Tensor, shape: FaceShape) -> Tensor:
    """Height (B, N) of the nose over the ellipsoid."""
    tip_y = shape.nose_y[:, None]
    profile = shape.relief[:, 1:3, 2].mean(1)[:, None]  # the nose stands on the profile between eyes and lips
    tip = (
        shape.nose_z[:, None]
        - 0.5 * profile
        - 0.5 * ellipsoid_front(torch.zeros_like(x[:, :1]), tip_y, shape)
    ).clamp(0.0, 0.45)
    above = (y - tip_y).clamp(min=0) / NOSE_LENGTH
    below = (tip_y - y).clamp(min=0) / 0.10
    return tip * bump((x / (NOSE_WIDTH * (1.25 - 0.35 * above.clamp(max=1)))) ** 2 + above**2 + below**2)


def ellipsoid_front(x: Tensor, y: Tensor, shape: FaceShape) -> Tensor:
    """z of the ellipsoid's front at (x, y), all (B, N); 0 outside its outline."""
    rx = (HEAD_RADII[0] * shape.face_w / 0.78)[:, None]
    inside = 1 - (x / rx) ** 2 - ((y - HEAD_OFFSET_Y) / HEAD_RADII[1]) ** 2
    return HEAD_RADII[2] * inside.clamp(min=1e-6).sqrt()


@dataclass(slots=True)
class Expression:
    """Where target face-plane points come from in the source's face plane, and what is new there; each (B, N)
    or (B, N, 2).
    """

    points: Tensor
    inside: Tensor  # mouth interior of the target
    mouth_new: Tensor  # ... which the source does not show
    above: Tensor  # upper layer of the mouth
    eye_open: Tensor
    eye_new: Tensor
    iris: Tensor
    free: Tensor  # lips' edges and lids: may be synthesised


@dataclass(slots=True)
class _Layers:
    """Smooth fields of the two layers of the mouth at target points: above (up) and below (low) the lip line;
    all (B, N[, 2]).

    up, low: the neutral points that the target's expression brings here. motion_up, motion_low: how the
    source's expression displaces them. source_top, source_low: its displacement of the lip line's height at
    this place.
    """

    up: Tensor
    low: Tensor
    motion_up: Tensor
    motion_low: Tensor
    source_top: Tensor
    source_low: Tensor


def _layers(
    size: int, pose: Tensor, target: Tensor, source: Tensor, shape: FaceShape, points: Tensor
) -> _Layers:
    """The layers at ``points`` (B, size^2, 2) of the face plane, computed at half the size: only lips and
    lids are sharp, and these are decided later, at the full one.
    """
    half = size // 2
    coarse = _proxy_points(camera_rays(pixel_grid(half, half, pose.device)).view(-1, 3), pose, shape)[0][
        ..., :2
    ]
    up, low = undo(coarse, target, shape, lower=False), undo(coarse, target, shape, lower=True)
    at_line = torch.stack([up[..., 0], lip_line(up[..., 0], shape)], -1)
    fields = [
        up - coarse,
        low - coarse,
        displacement(up, source, shape, lower=False),
        displacement(low, source, shape, lower=True),
        displacement(at_line, source, shape, lower=False)[..., 1:],
        displacement(at_line, source, shape, lower=True)[..., 1:],
    ]
    stacked = torch.cat(fields, -1).view(len(pose), half, half, 10)
    fine = upsample_flow(stacked, size, size).view(len(pose), size * size, 10)
    return _Layers(
        points + fine[..., :2],
        points + fine[..., 2:4],
        fine[..., 4:6],
        fine[..., 6:8],
        fine[..., 8],
        fine[..., 9],
    )


def _mouth(
    points: Tensor, layers: _Layers, shape: FaceShape
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Target points (B, N, 2) -> neutral points, their motion to the source, interior, how much of it is
    new, upper layer, lips' edges.
    """
    up, low = layers.up, layers.low
    up_gap = up[..., 1] - lip_line(up[..., 0], shape)
    low_gap = lip_line(low[..., 0], shape) - low[..., 1]
    is_up = up_gap >= low_gap
    above = torch.sigmoid(up_gap / LIP_SOFT)
    inside = (1 - above) * torch.sigmoid(-low_gap / LIP_SOFT)
    within = ((points[..., 0] - shape.mouth_x[:, None]) / shape.mouth_w[:, None]).abs() < 1.5
    inside = inside * within
    edges = torch.sigmoid((LIP_MARGIN - up_gap) / LIP_SOFT) * torch.sigmoid((LIP_MARGIN - low_gap) / LIP_SOFT)
    neutral = torch.where(is_up[..., None], up, low)
    line = lip_line(neutral[..., 0], shape)
    clamped_y = torch.where(is_up, torch.maximum(neutral[..., 1], line), torch.minimum(neutral[..., 1], line))
    neutral = torch.stack([neutral[..., 0], clamped_y], -1)
    motion = torch.where(is_up[..., None], layers.motion_up, layers.motion_low)
    # a mouth that is open in the source too shows its own interior: keep the relative height between the lips
    share = ((-up_gap).clamp(min=0) / ((-up_gap).clamp(min=0) + (-low_gap).clamp(min=0) + 1e-4)).clamp(0, 1)
    opening = (layers.source_top - layers.source_low).clamp(min=0)
    between = line + layers.source_top - share * opening
    is_in = inside > 0.5
    motion_y = torch.where(is_in, between - neutral[..., 1], motion[..., 1])
    return (
        neutral,
        torch.stack([motion[..., 0], motion_y], -1),
        inside,
        inside * (1 - (opening / (shape.unit[:, None] * 0.12)).clamp(0, 1)),
        above,
        edges * within,
    )


def gaze_offset(controls: Tensor, shape: FaceShape, side: int) -> Tensor:
    """Position (B, 2) of the iris on the face plane relative to the eye's centre."""
    gaze = torch.sin(controls[:, [CONTROL_INDEX["gaze_yaw"], CONTROL_INDEX["gaze_pitch"]]])
    return gaze * (EYEBALL_RADIUS * shape.eye_w[:, side])[:, None]


def _activity(change: Tensor, names: tuple[str, ...]) -> Tensor:
    """How much controls changed (B, 1), 0 to 1: where lips and lids rest, the source's own pixels stay."""
    moved = change[:, [CONTROL_INDEX[name] for name in names]]
    return 1 - torch.exp(-((moved / ACTIVE_CHANGE) ** 2).sum(1, keepdim=True))


def _transfer(
    points: Tensor, layers: _Layers, target: Tensor, source: Tensor, shape: FaceShape
) -> Expression:
    """Undoes the target's expression at face-plane points (B, N, 2) and applies the source's."""
    neutral, motion, inside, mouth_new, above, free = _mouth(points, layers, shape)
    free = free * _activity(target - source, ("jaw", "lip_width", "lip_pucker", "lip_press", "smile"))
    eye_open, eye_new, iris = (torch.zeros_like(inside) for _ in range(3))
    for side, name in enumerate(("blink_left", "blink_right")):
        lids = [CONTROL_INDEX[name], CONTROL_INDEX["gaze_pitch"]]
        offset_target, offset_source = gaze_offset(target, shape, side), gaze_offset(source, shape, side)
        before = neutral
        neutral, opening, covered = lid_map(
            neutral,
            target[:, lids],
            source[:, lids],
            offset_source - offset_target,
            shape,
            side,
        )
        centre = torch.stack([shape.eye_x[:, side], shape.eye_y[:, side]], -1) + offset_target
        radius = 0.42 * shape.eye_w[:, side]
        distance = (before - centre[:, None]).norm(dim=-1)
        iris = iris + torch.sigmoid((radius[:, None] - distance) / 0.02) * opening
        eye_open, eye_new = eye_open + opening, eye_new + covered
        axes = torch.stack([shape.eye_w[:, side] * share for share in EYE_REGION], -1)
        away = ((before - (centre - offset_target)[:, None]) / axes[:, None]).norm(dim=-1)
        changed = _activity(target - source, (name, "gaze_yaw", "gaze_pitch"))
        free = torch.maximum(free, torch.sigmoid((1 - away) / 0.08) * changed)
    return Expression(neutral + motion, inside, mouth_new, above, eye_open, eye_new, iris, free)


def _still(plane: Tensor) -> Expression:
    """No expression is known: points stay, and everything may be synthesised."""
    none = torch.zeros_like(plane[..., 0])
    return Expression(plane, none, none, none, none, none, none, none + 1)


def base_warp(
    source_pose: Tensor,
    source_controls: Tensor | None,
    target_pose: Tensor,
    target_controls: Tensor | None,
    shape: FaceShape,
    size: int,
) -> Base:
    """The geometric warp from B targets back into their sources, at size x size, fp32.

    poses (B, 6) and controls (B, 11) as in records.py; None: the warp is rigid. Source: none (see the
    module's text); photo warps by an ellipsoid proxy are common knowledge.
    """
    grid = pixel_grid(size, size, target_pose.device)
    rays = camera_rays(grid).view(-1, 3)
    points, outside = _proxy_points(rays, target_pose, shape)
    plane = points[..., :2]
    if source_controls is None or target_controls is None:
        moved = _still(plane)
    else:
        layers = _layers(size, target_pose, target_controls, source_controls, shape, plane)
        moved = _transfer(plane, layers, target_controls, source_controls, shape)
    front = torch.sigmoid((points[..., 2] - 0.15) / 0.08) * torch.sigmoid((1.0 - outside) / 0.04)
    head = torch.sigmoid((1.22 - outside) * 8.0)
    shift = (moved.points - plane) * front[..., None]
    source_plane = plane + shift
    # the surface's height changes with the point: same proxy, other place
    (x, y), (source_x, source_y) = plane.unbind(-1), source_plane.unbind(-1)
    lift = ellipsoid_front(source_x, source_y, shape) - ellipsoid_front(x, y, shape)
    lift = lift + surface_height(source_x, source_y, shape) - surface_height(x, y, shape)
    source_points = torch.cat([source_plane, points[..., 2:] + (lift * front)[..., None]], -1)
    rigid = project(source_points, source_pose)
    still = _surroundings(grid.view(-1, 2), rays, source_pose, target_pose)
    flow = head[..., None] * rigid + (1 - head[..., None]) * still
    inside, eye_open = moved.inside * front, moved.eye_open * front
    free = 1 - torch.sigmoid((0.80 - outside) / 0.05) * torch.sigmoid((points[..., 2] - 0.1) / 0.06)
    synthesis = torch.maximum(torch.maximum(inside, moved.free * front), free)
    delta = flow - grid.view(1, -1, 2)
    maps = torch.stack(
        [plane[..., 0], plane[..., 1], front, head, inside, moved.mouth_new * front, moved.above * front,
         eye_open, moved.eye_new * front, moved.iris * front, delta[..., 0] * 4, delta[..., 1] * 4], 1,
    )  # fmt: skip
    batch = flow.shape[0]
    return Base(
        flow.view(batch, size, size, 2),
        maps.view(batch, len(MAP_NAMES), size, size),
        synthesis.view(batch, size, size),
        torch.stack([shape.mouth_x, shape.mouth_y, shape.mouth_w, shape.unit], -1).float(),
    )


def _surroundings(grid: Tensor, rays: Tensor, source_pose: Tensor, target_pose: Tensor) -> Tensor:
    """Source positions (B, N, 2) of what is not head: a still background, and a torso, flat, that moves with
    the head but hardly turns.
    """
    pivot, turn = rays.new_tensor(NECK_PIVOT), rays.new_tensor(TORSO_TURN)
    (source_turn, source_place), (target_turn, target_place) = (
        torso(pose, pivot, turn) for pose in (source_pose, target_pose)
    )
    camera = rays.new_tensor([0.0, 0.0, CAMERA_DISTANCE])
    origin = (camera - target_place)[:, None] @ target_turn + pivot
    direction = rays[None] @ target_turn
    points = origin + (TORSO_DEPTH - origin[..., 2:]) / direction[..., 2:] * direction
    carried = project_camera((points - pivot) @ source_turn.transpose(-1, -2) + source_place[:, None])
    x, y = points[..., 0].abs(), points[..., 1]
    shoulders = torch.sigmoid((SHOULDER_TOP - SHOULDER_SLOPE * x - y) / 0.06)
    is_torso = (shoulders * torch.sigmoid((SHOULDER_REACH - x) / 0.1))[..., None]
    return grid[None] + is_torso * (carried - grid[None])


def torso(pose: Tensor, pivot: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation (B, 3, 3) of the torso and the camera-frame place (B, 3) of the neck's pivot. pivot, share:
    NECK_PIVOT and TORSO_TURN on the device.
    """
    turn = rotation_matrix(pose[:, :3] * share)
    carried = TORSO_FOLLOW * (rotation_matrix(pose[:, :3]) @ pivot) + (1 - TORSO_FOLLOW) * (turn @ pivot)
    return turn, head_centre(pose) + carried
