"""Following a face through a video, and the square crop around it that SyncNet was trained on.

The rules and numbers are those of SyncNet's published pipeline: shots, greedy tracks of boxes,
median-smoothed crops. Which detector finds the boxes is the caller's choice, because the published one (S3FD)
is not among our files; boxes of other detectors differ a little in size, and so do scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from PIL import Image

from vasa.metrics.protocol import Unscored
from vasa.pretrained.crops import face_boxes
from vasa.pretrained.detector import Detector
from vasa.pretrained.landmarks import SURE_OF_A_FACE, LandmarkNet
from vasa.pretrained.sync_crops import box_crops
from vasa.records import VIDEO_FPS

FindFaces = Callable[[np.ndarray], list[np.ndarray]]
"""Frames (T, H, W, 3) uint8 RGB -> for each frame boxes (n, 4): x0, y0, x1, y1 in pixels."""

CUT_THRESHOLD, SHORTEST_SHOT = 30.0, 15
"""Mean change of hue, saturation and value (of 180, 255, 255) that begins a shot; frames between two."""
LINK_IOU, LINK_GAP = 0.5, 25
"""A box continues a track that it overlaps by more, after at most so many frames."""


@dataclass(slots=True)
class FaceTrack:
    """A face in frames first .. first + T - 1: boxes (T, 4), pixels, interpolated where it was not found."""

    first: int
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


def one_track(frames: np.ndarray, find: FindFaces, min_track: int, min_face_px: float) -> FaceTrack:
    """The one face of frames (T, H, W, 3).

    Raises: Unscored when there is none, none long or large enough, or several.
    """
    if len(frames) <= min_track:
        raise Unscored(
            f"too short: {len(frames)} frames, of which a face must be seen in more than {min_track}"
        )
    boxes = find(frames)
    if not any(len(found) for found in boxes):
        raise Unscored("no face")
    tracks: list[tuple[int, FaceTrack]] = []
    edges = [*shots(frames), len(frames)]
    for start, end in pairwise(edges):
        tracks += link(boxes[start:end], start)
    long = [track for seen, track in tracks if seen > min_track]
    if not long:
        most = max(seen for seen, _ in tracks)
        raise Unscored(f"too short: a face is followed through {most} frames, wanted more than {min_track}")
    large = [track for track in long if _size(track) > min_face_px]
    if not large:
        most_px = max(_size(track) for track in long)
        raise Unscored(f"face too small: {most_px:.0f} px, wanted more than {min_face_px:.0f}")
    if len(large) > 1:
        raise Unscored(f"several faces: {len(large)} tracks")
    return large[0]


def _size(track: FaceTrack) -> float:
    """Mean over the frames of the box's longer side, in pixels."""
    return float((track.boxes[:, 2:] - track.boxes[:, :2]).max(1).mean())


def shots(frames: np.ndarray) -> list[int]:
    """First frames of the shots of frames (T, H, W, 3): where the picture changes much from one to the next.

    Source: the content detector of PySceneDetect 0.5, restated from its definition.
    """
    starts, before = [0], _hsv(frames[0])
    for index in range(1, len(frames)):
        now = _hsv(frames[index])
        if np.abs(now - before).mean() >= CUT_THRESHOLD and index - starts[-1] >= SHORTEST_SHOT:
            starts.append(index)
        before = now
    return starts


def _hsv(frame: np.ndarray) -> np.ndarray:
    """Every n-th pixel, so that 260 or more of a row are left, as that detector looks at it; hue to 180."""
    step = max(1, frame.shape[1] // 260)
    small = Image.fromarray(np.ascontiguousarray(frame[::step, ::step]))
    hsv = np.asarray(small.convert("HSV"), np.float32)
    return hsv * np.array([180 / 256, 1, 1], np.float32)


def link(boxes: list[np.ndarray], start: int) -> list[tuple[int, FaceTrack]]:
    """All tracks of a shot whose first frame is ``start``, each with the number of frames it was found in.

    Greedy: a track begins with the first box that is left and takes, frame by frame, the box that overlaps
    its last one best. The published code takes the first one that overlaps enough and may skip a box that
    follows a taken one in its list.
    """
    left = [list(found) for found in boxes]
    tracks = []
    while any(left):
        seen: list[int] = []
        kept: list[np.ndarray] = []
        for index, found in enumerate(left):
            if not found or (seen and index - seen[-1] > LINK_GAP):
                continue
            overlaps = [_iou(kept[-1], box) if kept else 1.0 for box in found]
            best = int(np.argmax(overlaps))
            if overlaps[best] > LINK_IOU:
                seen.append(index)
                kept.append(found.pop(best))
        at, values = np.arange(seen[0], seen[-1] + 1), np.stack(kept)
        filled = np.stack([np.interp(at, seen, values[:, column]) for column in range(4)], 1)
        tracks.append((len(seen), FaceTrack(start + seen[0], filled)))
    return tracks


def _iou(one: np.ndarray, two: np.ndarray) -> float:
    shared = np.clip(np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2]), 0, None).prod()
    both = (one[2:] - one[:2]).prod() + (two[2:] - two[:2]).prod() - shared
    return float(shared / max(both, 1e-9))


def track_crops(frames: np.ndarray, track: FaceTrack) -> np.ndarray:
    """Crops (T, 224, 224, 3) uint8 of a track's frames of (T', H, W, 3)."""
    return box_crops(frames[track.first : track.first + len(track)], track.boxes)


def find_by_detector(detector: Detector) -> FindFaces:
    """Every frame by itself."""

    def find(frames: np.ndarray) -> list[np.ndarray]:
        return [_stacked([face.box for face in detector.detect(frame)]) for frame in frames]

    return find


def find_by_landmarks(
    network: LandmarkNet,
    detector: Detector,
    min_confidence: float,
    every: int = VIDEO_FPS,
    knower: LandmarkNet | None = None,
) -> FindFaces:
    """A coarse detector once in ``every`` frames, the landmark network in all of them, in a square around it.

    Where the detector sees nothing, the network looks at the square in the middle: a face that fills the
    picture is no longer one to a cascade. Boxes are those around the landmarks and the forehead. knower: a
    network that tells faces from other things and must agree once in ``every`` frames, in the middle without
    a detection surely; None: ``network`` knows by itself.
    """

    def find(frames: np.ndarray) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        for start in range(0, len(frames), every):
            part = frames[start : start + every]
            faces = detector.detect(part[len(part) // 2])
            squares = [_square(face.box, part.shape[1:3]) for face in faces] or [_middle(part.shape[1:3])]
            if knower is not None:
                one, wanted = part[[len(part) // 2]], min_confidence if faces else SURE_OF_A_FACE
                squares = [q for q in squares if _boxes_in(knower, one, q, wanted)[0] is not None]
            each = [_boxes_in(network, part, square, min_confidence) for square in squares]
            found += [_distinct([boxes[i] for boxes in each]) for i in range(len(part))]
        return found

    return find


def _stacked(boxes: list[np.ndarray]) -> np.ndarray:
    return np.stack(boxes).astype(np.float64) if boxes else np.zeros((0, 4))


def _distinct(boxes: Sequence[np.ndarray | None]) -> np.ndarray:
    """The boxes that are there, each face once: two squares may show the same one."""
    kept: list[np.ndarray] = []
    for box in boxes:
        if box is not None and all(_iou(box, other) <= LINK_IOU for other in kept):
            kept.append(box)
    return _stacked(kept)


def _square(box: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(left, top, side) of a square with the whole head of a face box, moved and shrunk to fit the frame."""
    side = int(min(1.7 * (box[2:] - box[:2]).max(), *shape))
    middle = (box[:2] + box[2:]) / 2
    left, top = (int(np.clip(c - side / 2, 0, n - side)) for c, n in zip(middle, shape[::-1], strict=True))
    return left, top, side


def _middle(shape: tuple[int, ...]) -> tuple[int, int, int]:
    side = min(shape)
    return (shape[1] - side) // 2, (shape[0] - side) // 2, side


def _boxes_in(
    network: LandmarkNet, frames: np.ndarray, square: tuple[int, int, int], min_confidence: float
) -> list[np.ndarray | None]:
    """The box (4,) of the face in a square of each frame, None where the network believes in none."""
    left, top, side = square
    device = next(network.parameters()).device
    cut = torch.from_numpy(np.ascontiguousarray(frames[:, top : top + side, left : left + side]))
    seen = network.predict(cut.permute(0, 3, 1, 2).to(device).float() / 127.5 - 1)
    boxes = (face_boxes(seen.landmarks).cpu().double().numpy() + 1) * (side / 2) + [left, top, left, top]
    sure = (seen.confidence >= min_confidence).tolist()
    return [box if good else None for box, good in zip(boxes, sure, strict=True)]
