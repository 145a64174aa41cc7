"""What the geometric warp knows of a face: where its features lie on the face plane, read from 68 neutral
landmarks.

The face plane is (x, y) of the head frame (records.py), head units. Nothing here is learned; the landmarks
come from the identity encoder. A mean face stands in where no landmarks are known yet (the first crops of a
new portrait).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vasa.geometry import CAMERA_DISTANCE, CAMERA_ZOOM, project, rotation_matrix, to_camera
from vasa.nn.warp import sample_image

RELIEF_GROUPS = ([18, 19, 20, 23, 24, 25], [36, 39, 42, 45], [50, 51, 52, 56, 57, 58], [7, 8, 9])
"""Landmarks of brows, eyes, lips and chin, from top to bottom."""


def _mean_point(points: Tensor) -> Tensor:
    """Mean (B, 3) of points (B, N, 3) with x taken as |x|: the face is taken as symmetric in depth."""
    return torch.cat([points[..., :1].abs(), points[..., 1:]], -1).mean(1)


@dataclass(slots=True)
class FaceShape:
    """Feature positions of B neutral faces on the face plane; every field is (B,) or (B, 2), left first (the
    viewer's).

    eye_x, eye_y, eye_w, eye_up, eye_low: centre, half width, and height of the upper and lower lid above and
    below the centre. brow_y: height of the brow's middle. mouth_x, mouth_y, mouth_w: lip line's middle and
    half width; mouth_curve: how much higher the corners are than the middle. lip_up, lip_low: thickness of
    the lips. nose_y, nose_z: tip. chin_y: lowest point. face_w: half width at the ears. relief (B, 4, 3):
    mean points of brows, eyes, lips and chin, |x| for x, from which the proxy takes its depth. unit: eye line
    to lip line, the face's own unit of length.
    """

    eye_x: Tensor
    eye_y: Tensor
    eye_w: Tensor
    eye_up: Tensor
    eye_low: Tensor
    brow_y: Tensor
    mouth_x: Tensor
    mouth_y: Tensor
    mouth_w: Tensor
    mouth_curve: Tensor
    lip_up: Tensor
    lip_low: Tensor
    nose_y: Tensor
    nose_z: Tensor
    chin_y: Tensor
    face_w: Tensor
    unit: Tensor
    relief: Tensor

    def expand(self, batch: int) -> FaceShape:
        """The same shape for a batch of frames, when there is one face."""
        values = (getattr(self, f.name) for f in fields(self))
        return FaceShape(*(v if v.shape[0] == batch else v.expand(batch, *v.shape[1:]) for v in values))

    def __getitem__(self, index: object) -> FaceShape:
        return FaceShape(*(getattr(self, f.name)[index] for f in fields(self)))


def face_shape(landmarks: Tensor) -> FaceShape:
    """From neutral landmarks (B, 68, 3), iBUG order, head frame, to the FaceShape of B faces; floors keep
    it usable when wrong.
    """
    p = landmarks.float()
    corner_out, corner_in = p[:, [36, 45]], p[:, [39, 42]]
    lid_up, lid_low = p[:, [[37, 38], [43, 44]]].mean(2), p[:, [[41, 40], [47, 46]]].mean(2)
    eye = (corner_out + corner_in) / 2
    lip_line = (p[:, [61, 62, 63]] + p[:, [67, 66, 65]]).mean(1) / 2
    corners = (p[:, 48] + p[:, 54]) / 2
    eye_y = eye[..., 1]
    unit = (eye_y.mean(1) - lip_line[:, 1]).clamp(min=0.3)
    return FaceShape(
        eye_x=eye[..., 0],
        eye_y=eye_y,
        eye_w=((corner_out - corner_in)[..., 0].abs() / 2).clamp(min=0.06),
        eye_up=((lid_up - eye)[..., 1] * 1.15).clamp(min=0.02),
        eye_low=((eye - lid_low)[..., 1] * 1.15).clamp(min=0.01),
        brow_y=torch.stack([p[:, 18:21, 1].mean(1), p[:, 23:26, 1].mean(1)], 1),
        mouth_x=corners[:, 0],
        mouth_y=lip_line[:, 1],
        mouth_w=((p[:, 54] - p[:, 48])[:, 0] / 2).clamp(min=0.1),
        mouth_curve=corners[:, 1] - lip_line[:, 1],
        lip_up=(p[:, [50, 51, 52], 1].mean(1) - lip_line[:, 1]).clamp(min=0.02),
        lip_low=(lip_line[:, 1] - p[:, [56, 57, 58], 1].mean(1)).clamp(min=0.02),
        nose_y=p[:, 30, 1],
        nose_z=p[:, 30, 2],
        chin_y=p[:, 8, 1],
        face_w=((p[:, 16] - p[:, 0])[:, 0] / 2).clamp(min=0.4),
        unit=unit,
        relief=torch.stack([_mean_point(p[:, group]) for group in RELIEF_GROUPS], 1),
    )


FIVE_GROUPS = ([36, 39], [42, 45], [30], [48], [54])
"""Landmarks whose means are the five points of a face detector: eyes, nose tip, mouth corners, left first."""
MOVED_GROUPS = ([*range(36, 42), *range(17, 22)], [*range(42, 48), *range(22, 27)], [*range(27, 36)])
"""Landmarks that follow the first three of them; the mouth's follow both of its corners."""


def fit_to_points(landmarks: Tensor, pose: Tensor, points: Tensor, moved: Tensor) -> Tensor:
    """Neutral landmarks (B, 68, 3) shifted on the face plane so that they appear where a detector saw them.

    points (B, 5, 2): eyes, nose tip, mouth corners in image coordinates; pose (B, 6); moved (B, 2, 2): how
    far the face's expression displaces the mouth's corners from rest. Eyes (with brows) and nose shift, the
    mouth shifts and stretches.
    """
    five = torch.stack([landmarks[:, group].mean(1) for group in FIVE_GROUPS], 1)
    rest = torch.cat(
        [torch.zeros_like(five[:, :3]), torch.cat([moved, moved.new_zeros(moved.shape[0], 2, 1)], -1)], 1
    )
    offset = points - project(five + rest, pose)
    depth = CAMERA_DISTANCE - to_camera(five, pose)[..., 2]
    flip = points.new_tensor([1.0, -1.0])
    in_camera = offset * flip * (depth / (CAMERA_ZOOM * CAMERA_DISTANCE))[..., None]
    # face plane to camera plane, at fixed depth in the head frame
    plane = rotation_matrix(pose[:, :3])[:, :2, :2]
    shift = torch.linalg.solve(plane[:, None], in_camera[..., None])[..., 0]  # (B, 5, 2)
    found = landmarks.clone()
    for group, delta in zip(MOVED_GROUPS, shift[:, :3].unbind(1), strict=True):
        found[:, group, :2] += delta[:, None]
    left, right = five[:, 3, 0, None], five[:, 4, 0, None]
    share = ((landmarks[:, 48:, 0] - left) / (right - left).clamp(min=0.1))[..., None].clamp(-0.2, 1.2)
    found[:, 48:, :2] += torch.lerp(
        shift[:, None, 3].expand(-1, 20, -1), shift[:, None, 4].expand(-1, 20, -1), share
    )
    return found


LIP_SEARCH = 0.07
"""How far above and below the believed lip line the true one is looked for, head units."""


def settle_lip_line(landmarks: Tensor, pose: Tensor, image: Tensor) -> Tensor:
    """Landmarks (B, 68, 3) with the mouth moved up or down onto the dark line between closed lips.

    image (B, 3, H, H) in [-1, 1]. Detectors see a mouth's corners to a few pixels, which is enough to cut a
    lip in half; the line itself is the darkest row nearby. Among rows, darkness (in standard deviations)
    competes with the squared distance from where the line was believed to be (0.05 head units count as one).
    """
    shape = face_shape(landmarks)
    offsets = torch.linspace(-LIP_SEARCH, LIP_SEARCH, 29, device=image.device)
    across = torch.linspace(-0.5, 0.5, 17, device=image.device)
    x = shape.mouth_x[:, None, None] + across * shape.mouth_w[:, None, None]  # (B, 1, 17)
    y = (
        shape.mouth_y[:, None, None]
        + shape.mouth_curve[:, None, None] * (2 * across) ** 2 * 0.25
        + offsets[:, None]
    )
    z = landmarks[:, 60:, 2].mean(1)[:, None, None].expand_as(y)
    points = torch.stack([x.expand_as(y), y, z], -1).flatten(1, 2)
    grid = project(points, pose).view(*y.shape, 2)
    rows = sample_image(image.float().mean(1, keepdim=True), grid)[:, 0].mean(-1)  # (B, 29)
    darkness = (rows - rows.mean(1, keepdim=True)) / rows.std(1, keepdim=True).clamp(min=0.02)
    best = (darkness + (offsets / 0.05) ** 2).argmin(1)
    moved = landmarks.clone()
    moved[:, 48:, 1] += offsets[best][:, None]
    return moved
