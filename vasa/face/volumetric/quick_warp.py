"""The geometric warp of pixels.py for many frames of one portrait: the same, in a fifth of its operations.

The skin's displacements are looked up in tables (tables.py), what is linear in a pixel's ray is one matrix
product, both eyes are one. fp32 throughout. A call copies no number between host and device, so that it can
be captured in a CUDA graph.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.face.volumetric import expression as ex
from vasa.face.volumetric import pixels as px
from vasa.face.volumetric.shape import FaceShape
from vasa.face.volumetric.tables import CENTRE, HALF, LID_CONTROLS, FaceTables
from vasa.geometry import (
    CAMERA_DISTANCE,
    CAMERA_ZOOM,
    camera_rays,
    head_centre,
    pixel_grid,
    rotation_matrix,
)
from vasa.nn.warp import enlarge, sample_image
from vasa.records import CONTROL_INDEX

UNDO_STEPS = 4
EYE_REACH = 2.2
"""Half widths of an eye from its middle within which lids and eyes change something."""
FOCAL = CAMERA_ZOOM * CAMERA_DISTANCE
MOUTH = ("jaw", "lip_width", "lip_pucker", "lip_press", "smile")
MOUTH_CONTROLS = [CONTROL_INDEX[name] for name in MOUTH]
EYE_CONTROLS = [
    [CONTROL_INDEX[name] for name in (blink, "gaze_yaw", "gaze_pitch")]
    for blink in ("blink_left", "blink_right")
]


class QuickWarp:
    """Of one portrait -> Base of B targets at size x size."""

    def __init__(self, shape: FaceShape, pose: Tensor, controls: Tensor, size: int) -> None:
        """pose (1, 6) and controls (1, 11): the portrait's. Copies numbers from the device and to it."""
        tables = FaceTables.of(shape, controls)
        self.tables, self.size, self.number = tables, size, tables.numbers
        mouth = torch.stack([shape.mouth_x, shape.mouth_y, shape.mouth_w, shape.unit], -1)
        grid = pixel_grid(size, size, pose.device).view(-1, 2)
        rays = camera_rays(grid)
        self.grid, self.rays, self.mouth = grid.T.view(1, 2, size, size), rays.T.contiguous(), mouth
        x, y, z = self.rays
        self.products = torch.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z])
        width = px.HEAD_RADII[0] * self._one("face_w") / 0.78
        self.radii = pose.new_tensor([width, *px.HEAD_RADII[1:]])
        self.middle = pose.new_tensor([0.0, px.HEAD_OFFSET_Y, 0.0])
        self.camera = pose.new_tensor([0.0, 0.0, CAMERA_DISTANCE])
        self.to_table = pose.new_tensor([1 / HALF[0], 1 / HALF[1], 1.0])
        self.table_origin = pose.new_tensor([*CENTRE, 0.0])
        self.turn, self.place = rotation_matrix(pose[0, :3]), head_centre(pose)[0]
        self.pivot, self.torso_turn = pose.new_tensor(px.NECK_PIVOT), pose.new_tensor(px.TORSO_TURN)
        self.torso = px.torso(pose, self.pivot, self.torso_turn)
        self.eyes = {
            name: pose.new_tensor(tables.numbers[name]).view(1, 2, 1, 1)
            for name in ("eye_x", "eye_y", "eye_w", "eye_up", "eye_low", "brow_y")
        }
        self.own_lids = tables.controls[:, LID_CONTROLS]  # (1, 2, 2)
        self.gaze_controls = torch.tensor(
            [CONTROL_INDEX["gaze_yaw"], CONTROL_INDEX["gaze_pitch"]], device=pose.device
        )
        self.own_gaze = self._gaze(tables.controls)
        self.mouth_controls = torch.tensor(MOUTH_CONTROLS, device=pose.device)
        self.eye_controls = torch.tensor(EYE_CONTROLS, device=pose.device)
        self.lid_controls = torch.tensor(LID_CONTROLS, device=pose.device)

    def _one(self, name: str) -> float:
        value = self.number[name]
        assert isinstance(value, float)
        return value

    def __call__(self, pose: Tensor, controls: Tensor) -> px.Base:
        """pose (B, 6), controls (B, 11) of the targets, fp32."""
        points, depth_z, outside = self._proxy(pose)
        moved = self._transfer(points, controls)
        front = torch.sigmoid((depth_z - 0.15) / 0.08) * torch.sigmoid((1.0 - outside) / 0.04)
        head = torch.sigmoid((1.22 - outside) * 8.0)[:, None]
        plane = self._on_plane(points)
        source = plane + (moved.points - plane) * front[:, None]
        lift = self._front(source) - self._front(plane)
        lift = lift + self._height(self._on_table(source)) - self._height(points)
        flow = torch.lerp(self._still(pose), self._projected(source, depth_z + lift * front), head)
        inside = moved.inside * front
        free = 1 - torch.sigmoid((0.80 - outside) / 0.05) * torch.sigmoid((depth_z - 0.1) / 0.06)
        synthesis = torch.maximum(torch.maximum(inside, moved.free * front), free)
        delta = (flow - self.grid) * 4
        shown = torch.stack(
            [front, head[:, 0], inside, moved.mouth_new * front, moved.above * front, moved.eye_open,
             moved.eye_new * front, moved.iris * front], 1,
        )  # fmt: skip
        shown[:, 5] *= front
        maps = torch.cat([plane, shown, delta], 1)
        return px.Base(flow.permute(0, 2, 3, 1), maps, synthesis, self.mouth)

    # ------------------------------------------------------------------ where rays meet the face

    def _proxy(self, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points (B, 2, H, W) in table coordinates, their z and how far outside rays pass, both (B, H, W)."""
        batch, shape = len(pose), (self.size, self.size)
        rotation = rotation_matrix(pose[:, :3])
        origin = ((self.camera - head_centre(pose))[:, None] @ rotation)[:, 0]  # (B, 3)
        o = (origin - self.middle) / self.radii
        scaled = rotation / self.radii  # (B, 3, 3): a ray's direction, in radii, is ray @ scaled
        metric = scaled @ scaled.transpose(1, 2)
        a = torch.stack(
            [metric[:, i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))], 1
        ) @ self.products  # fmt: skip
        b = (scaled @ o[..., None])[..., 0] @ self.rays
        c = (o * o).sum(1, keepdim=True)
        square = b * b
        outside = c - square / a
        depth = (-b - torch.addcmul(square, a, c - 1, value=-1).clamp(min=1e-8).sqrt()) / a
        depth = depth.view(batch, 1, *shape)
        direction = ((rotation * self.to_table).transpose(1, 2) @ self.rays).view(batch, 3, *shape)
        start = ((origin - self.table_origin) * self.to_table).view(batch, 3, 1, 1)
        steep = direction[:, 2:].abs().clamp(min=0.3)
        points = torch.addcmul(start, depth, direction)
        for _ in range(2):
            height = self._height(points[:, :2])[:, None]
            points = torch.addcmul(start, depth - height / steep, direction)
        return points[:, :2], points[:, 2], outside.view(batch, *shape)

    def _height(self, points: Tensor) -> Tensor:
        """Of the face over its ellipsoid (B, H, W) at table coordinates (B, 2, H, W)."""
        return sample_image(self.tables.height, points.permute(0, 2, 3, 1))[:, 0]

    def _front(self, plane: Tensor) -> Tensor:
        """z of the ellipsoid's front (B, H, W) at the face plane's points (B, 2, H, W)."""
        x, y = plane.unbind(1)
        width = px.HEAD_RADII[0] * self._one("face_w") / 0.78
        inside = 1 - (x / width).square() - ((y - px.HEAD_OFFSET_Y) / px.HEAD_RADII[1]).square()
        return px.HEAD_RADII[2] * inside.clamp(min=1e-6).sqrt()

    def _on_plane(self, points: Tensor) -> Tensor:
        return points / self.to_table[:2].view(1, 2, 1, 1) + self.table_origin[:2].view(1, 2, 1, 1)

    def _on_table(self, plane: Tensor) -> Tensor:
        return (plane - self.table_origin[:2].view(1, 2, 1, 1)) * self.to_table[:2].view(1, 2, 1, 1)

    def _projected(self, plane: Tensor, z: Tensor) -> Tensor:
        """Head-frame points (B, 2, H, W) and z (B, H, W) under the portrait's pose -> image (B, 2, H, W)."""
        points = torch.cat([plane, z[:, None]], 1)
        seen = (self.turn @ points.flatten(2)).view_as(points) + self.place.view(1, 3, 1, 1)
        depth = (CAMERA_DISTANCE - seen[:, 2]).clamp(min=1e-3)
        return torch.stack([seen[:, 0], -seen[:, 1]], 1) * (FOCAL / depth)[:, None]

    def _still(self, pose: Tensor) -> Tensor:
        """Where what is not head lies in the source (B, 2, H, W): see pixels.surroundings. All of it is
        linear in the ray once multiplied by the ray's own z in the torso's frame.
        """
        turn, place = px.torso(pose, self.pivot, self.torso_turn)
        origin = ((self.camera - place)[:, None] @ turn)[:, 0] + self.pivot  # (B, 3)
        towards = turn.transpose(1, 2)  # rows: x, y, z of a ray's direction
        down = towards[:, 2:]  # (B, 1, 3)
        level = (px.TORSO_DEPTH - origin[:, 2, None])[..., None]  # (B, 1, 1)
        points = torch.cat([origin[:, :2, None] * down + level * towards[:, :2], px.TORSO_DEPTH * down], 1)
        source_turn, source_place = self.torso[0][0], self.torso[1][0]
        carried = source_turn @ points + (source_place - source_turn @ self.pivot)[:, None] * down
        rows = torch.cat([points[:, :2], down, carried], 1) @ self.rays  # (B, 6, N)
        x, y, scale, u, v, w = rows.view(len(pose), 6, self.size, self.size).unbind(1)
        depth = CAMERA_DISTANCE * scale - w  # times scale
        x, y = (x / scale).abs(), y / scale
        shoulders = torch.sigmoid((px.SHOULDER_TOP - px.SHOULDER_SLOPE * x - y) / 0.06)
        torso = shoulders * torch.sigmoid((px.SHOULDER_REACH - x) / 0.1)
        image = torch.stack([u, -v], 1) * (FOCAL / depth)[:, None]
        return torch.lerp(self.grid, image, torso[:, None])

    # ------------------------------------------------------------------ expression

    def _transfer(self, points: Tensor, controls: Tensor) -> px.Expression:
        """Undoes the target's expression at table coordinates (B, 2, H, W) and applies the portrait's."""
        up, low, motion_up, motion_low, top, bottom = self._layers(points, controls)
        mouth = self._mouth(self._on_plane(points), up, low, motion_up, motion_low, top, bottom)
        change = controls - self.tables.controls
        lips = mouth.free * _activity(change[:, self.mouth_controls])[:, None, None]
        return self._eyes(mouth, controls, change, lips)

    def _layers(self, points: Tensor, controls: Tensor) -> tuple[Tensor, ...]:
        """Neutral points of both layers, what the portrait's expression does to them (B, 2, H, W) and to the
        lip line (B, H, W), worked out at half the size.
        """
        batch, half = len(points), self.size // 2
        side = self.tables.own.shape[-1]
        ways = (ex.amounts(controls) @ self.tables.ways).view(2 * batch, 2, side, side)
        coarse = F.avg_pool2d(points, 2)
        target = coarse.repeat(2, 1, 1, 1)
        neutral = target
        for _ in range(UNDO_STEPS):
            moved = sample_image(ways, neutral.permute(0, 2, 3, 1))
            neutral = torch.lerp(neutral, target - moved, ex.UNDO_STEP)
        up, low = neutral.split(batch)
        own_up = sample_image(self.tables.own[:1], up.permute(0, 2, 3, 1))
        own_low = sample_image(self.tables.own[1:, :2], low.permute(0, 2, 3, 1))
        found = torch.cat([up - coarse, low - coarse, own_up, own_low], 1).view(batch, 10, half, half)
        found = enlarge(found, self.size, self.size)
        return (
            self._on_plane(points + found[:, :2]),
            self._on_plane(points + found[:, 2:4]),
            found[:, 4:6],
            found[:, 8:10],
            found[:, 6],
            found[:, 7],
        )

    def _line(self, x: Tensor) -> Tensor:
        t = ((x - self._one("mouth_x")) / self._one("mouth_w")).clamp(-1.4, 1.4)
        return self._one("mouth_y") + self._one("mouth_curve") * t.square()

    def _mouth(
        self,
        plane: Tensor,
        up: Tensor,
        low: Tensor,
        motion_up: Tensor,
        motion_low: Tensor,
        top: Tensor,
        bottom: Tensor,
    ) -> _Mouth:
        """See pixels._mouth."""
        up_gap, low_gap = up[:, 1] - self._line(up[:, 0]), self._line(low[:, 0]) - low[:, 1]
        is_up = up_gap >= low_gap
        above = torch.sigmoid(up_gap / px.LIP_SOFT)
        within = ((plane[:, 0] - self._one("mouth_x")) / self._one("mouth_w")).abs() < 1.5
        inside = (1 - above) * torch.sigmoid(-low_gap / px.LIP_SOFT) * within
        edges = torch.sigmoid((px.LIP_MARGIN - up_gap) / px.LIP_SOFT)
        edges = edges * torch.sigmoid((px.LIP_MARGIN - low_gap) / px.LIP_SOFT)
        x, y = torch.where(is_up[:, None], up, low).unbind(1)
        motion_x, motion_y = torch.where(is_up[:, None], motion_up, motion_low).unbind(1)
        line = self._line(x)
        y = torch.where(is_up, torch.maximum(y, line), torch.minimum(y, line))
        under, over = (-up_gap).clamp(min=0), (-low_gap).clamp(min=0)
        share = under / (under + over + 1e-4)
        opening = (top - bottom).clamp(min=0)
        motion_y = torch.where(inside > 0.5, line + top - share * opening - y, motion_y)
        new = inside * (1 - (opening / (self._one("unit") * 0.12)).clamp(max=1))
        return _Mouth(x, y, motion_x, motion_y, inside, new, above, edges * within)

    def _gaze(self, controls: Tensor) -> Tensor:
        """Position (B, eye, 2) of the irises relative to their eyes' middles."""
        gaze = torch.sin(controls[:, self.gaze_controls])
        return gaze[:, None] * (ex.EYEBALL_RADIUS * self.eyes["eye_w"].view(1, 2, 1))

    def _lid_lines(self, arch: tuple[Tensor, Tensor], lids: Tensor) -> tuple[Tensor, Tensor]:
        """See expression.lid_lines; arch: heights below and above the eyes' middles (B, 2, H, W), lids
        (B, eye, 2).
        """
        below, above = arch
        blink, pitch = lids[..., 0, None, None], lids[..., 1, None, None]
        closed, widened = blink.clamp(0, 1), (-blink).clamp(0, ex.MOST_WIDENED)
        follow = pitch.clamp(-ex.MOST_FOLLOWED, ex.MOST_FOLLOWED) * (1 - closed)
        base = self.eyes["eye_y"] - below
        whole = above + below
        top = base + whole * (1 - closed + ex.WIDEN_UP * widened) + above * (ex.UPPER_FOLLOWS * follow)
        low = base - whole * (ex.WIDEN_DOWN * widened) + below * (ex.LOWER_FOLLOWS * follow)
        return top, low

    def _eyes(self, mouth: _Mouth, controls: Tensor, change: Tensor, lips: Tensor) -> px.Expression:
        """What lids and eyes do where they are. On a CPU only the rectangle around them is gone through."""
        rows = columns = slice(0, self.size)
        if controls.device.type == "cpu":
            rows, columns = self._rectangle(mouth)
        x, y = mouth.x[:, rows, columns], mouth.y[:, rows, columns]
        to_x, to_y, opening, covered, iris, lids = self._lids(x, y, controls, change)
        points = torch.stack([mouth.x + mouth.motion_x, mouth.y + mouth.motion_y], 1)
        points[:, 0, rows, columns] += to_x
        points[:, 1, rows, columns] += to_y
        seen = torch.zeros(3, *lips.shape, device=lips.device)
        for whole, part in zip(seen, (opening, covered, iris), strict=True):
            whole[:, rows, columns] = part
        lips[:, rows, columns] = torch.maximum(lips[:, rows, columns], lids)
        return px.Expression(points, mouth.inside, mouth.new, mouth.above, seen[0], seen[1], seen[2], lips)

    def _rectangle(self, mouth: _Mouth) -> tuple[slice, slice]:
        """Rows and columns in which both eyes of all frames are, with what moves with them; empty where none
        is in sight. Numbers are read from the device.
        """
        eye_x, eye_y, width, brow = (
            [float(value) for value in self.number[name]]  # type: ignore[union-attr]  # these are pairs
            for name in ("eye_x", "eye_y", "eye_w", "brow_y")
        )
        reach = EYE_REACH * max(width)
        across = (mouth.x > min(eye_x) - reach) & (mouth.x < max(eye_x) + reach)
        near = across & (mouth.y > min(eye_y) - reach) & (mouth.y < max(*brow, max(eye_y) + reach))
        spans = []
        for line in (near.any(2).any(0), near.any(1).any(0)):
            found = torch.nonzero(line)[:, 0]
            spans.append(slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0))
        return spans[0], spans[1]

    def _lids(self, x: Tensor, y: Tensor, controls: Tensor, change: Tensor) -> tuple[Tensor, ...]:
        """See expression.lid_map; both eyes at once (B, 2, h, w), as they never share a pixel. Neutral points
        x, y (B, h, w) -> by how much these move, how far they are in an eye's opening, how much of it is new,
        iris, and what may be synthesised.
        """
        eyes, unit = self.eyes, self._one("unit")
        x, y = x[:, None], y[:, None]
        k = (x - eyes["eye_x"]) / eyes["eye_w"]
        room = (1 - k.square()).clamp(min=0)
        log_arch = room.clamp(min=1e-4).log()
        arch = eyes["eye_low"] * (0.9 * log_arch).exp(), eyes["eye_up"] * (0.7 * log_arch).exp()
        top_from, low_from = self._lid_lines(arch, controls[:, self.lid_controls])
        top_to, low_to = self._lid_lines(arch, self.own_lids)
        ceiling = torch.maximum(top_from, top_to) + 0.05 * unit
        ceiling = torch.maximum(0.40 * eyes["eye_y"] + 0.60 * eyes["brow_y"], ceiling)
        floor = torch.minimum(low_from, low_to) - ex.LOWER_LID * unit
        skin_y = top_to + (y - top_from) * (ceiling - top_to) / (ceiling - top_from)
        below_y = low_to + (y - low_from) * (low_to - floor) / (low_from - floor)
        near = k.abs() < 1
        in_skin, in_below = (y >= top_from) & (y <= ceiling) & near, (y <= low_from) & (y >= floor) & near
        in_ball = (y < top_from) & (y > low_from) & near
        soft = 0.012
        opening = torch.sigmoid((top_from - y) / soft) * torch.sigmoid((y - low_from) / soft)
        opening = opening * torch.sigmoid((1 - k.abs()) * 24)
        gaze = self._gaze(controls)
        shift_x, shift_y = ((self.own_gaze - gaze)[..., axis, None, None] * room for axis in (0, 1))
        drawn = ((top_to - low_to) / (top_from - low_from).clamp(min=1e-3)).clamp(ex.LEAST_DRAWN, 1)
        ball_y = y + shift_y
        covered = torch.sigmoid((ball_y - top_to) / soft) * opening
        ball_y = torch.minimum(torch.maximum(low_to + (ball_y - low_from) * drawn, low_to), top_to)
        to_y = torch.where(in_ball, ball_y, torch.where(in_skin, skin_y, torch.where(in_below, below_y, y)))
        to_x = torch.where(in_ball, shift_x, torch.zeros_like(k))
        centre_x = eyes["eye_x"] + gaze[..., 0, None, None]
        centre_y = eyes["eye_y"] + gaze[..., 1, None, None]
        distance = torch.hypot(x - centre_x, y - centre_y)
        iris = torch.sigmoid((0.42 * eyes["eye_w"] - distance) / 0.02) * opening
        away = torch.hypot(k / px.EYE_REGION[0], (y - eyes["eye_y"]) / (eyes["eye_w"] * px.EYE_REGION[1]))
        lids = torch.sigmoid((1 - away) / 0.08) * _activity(change[:, self.eye_controls])[..., None, None]
        return to_x.sum(1), (to_y - y).sum(1), opening.sum(1), covered.sum(1), iris.sum(1), lids.amax(1)


class _Mouth(NamedTuple):
    """Neutral points and their motion to the portrait's expression, by axis; mouth interior, how much of it
    is new, the upper layer, lips' edges; all (B, H, W).
    """

    x: Tensor
    y: Tensor
    motion_x: Tensor
    motion_y: Tensor
    inside: Tensor
    new: Tensor
    above: Tensor
    free: Tensor


def _activity(change: Tensor) -> Tensor:
    """(..., n) -> (...): see pixels._activity."""
    return 1 - torch.exp(-(change / px.ACTIVE_CHANGE).square().sum(-1))
