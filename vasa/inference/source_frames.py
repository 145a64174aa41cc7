"""The frames of a video that is a source: gone through back and forth, and what is rendered of a face put
back into them. Whichever face space renders it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from vasa.inference.face_video import FaceVideo, Square
from vasa.inference.generation import Portrait
from vasa.inference.paste import Surround
from vasa.inference.pipeline import TalkingFace
from vasa.inference.rendering import to_pixels
from vasa.preprocess.align import FoundFace
from vasa.preprocess.crop import Crop
from vasa.video import VideoReader

BACKWARDS = 16
"""Frames that are read together where the video is gone through backwards."""
FADE_FRAMES = 6
"""Over which a face that is lost, or found again, changes over to the frame as it is."""
ACROSS, ALONG, BELOW, FADES = 1.1, 1.1, 0.3, 0.3
"""The lower face, in lengths from eyes to mouth: half axes of an ellipse across and along the face, how far
below the mouth its middle lies; and the share of the axes over which it fades."""


def is_video(path: Path) -> bool:
    """Whether a file holds moving pictures, by its content: what Pillow takes for a picture does not."""
    try:
        with Image.open(path):
            return False
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError):
        pass
    try:
        return path.is_file() and len(VideoReader(path)) > 1
    except ValueError:
        return False


def looked_through(
    path: Path, face: TalkingFace, size: int, square: Square | None = None
) -> tuple[FaceVideo, Portrait]:
    """A video, and its first frame with a face. square: see ``FaceVideo``.

    Raises: FileNotFoundError; ValueError where it shows none.
    """
    video = FaceVideo(path, face.aligner, name="image", square=square)
    frame = next(video.frames(video.first, video.first + 1))
    crop = video.crop(video.first, face.face.size, size)
    points = face.aligner.points_of(frame, crop) if square is None else None
    found = FoundFace(crop, "video", 1, float(video.seen.mean()), points)
    return video, face.prepare(frame, size, known=found, keep_expression=0.0)


def even(frame: np.ndarray) -> np.ndarray:
    """A frame whose height and width are even, as video wants them."""
    return frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]


def strengths(seen: np.ndarray) -> np.ndarray:
    """How far each frame of a video (T,) is to show what is rendered: not at all where its face is lost."""
    if seen.all():
        return np.ones(len(seen))
    return (distance_transform_edt(seen) / FADE_FRAMES).clip(0, 1)


def put_back(
    frame: np.ndarray, crop: Crop, image: Tensor, strength: float, points: np.ndarray | None
) -> np.ndarray:
    """A frame (H, W, 3) with what its crop was rendered as (1, 3, S, S). points (5, 2): of the face, where
    only its lower part is to change.
    """
    surround = Surround.around_crop(frame, crop)
    surround.limit(float(strength), None if points is None else lower_face(points, surround.place))
    return surround.around(to_pixels(image)[0].cpu().numpy())


def lower_face(points: np.ndarray, place: tuple[int, int, int, int]) -> Image.Image:
    """A mask of a rectangle (x0, y0, x1, y1): 255 around mouth and chin, of the face with five points."""
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    length = np.hypot(*(mouth - eyes))
    down = (mouth - eyes) / length
    middle = mouth + BELOW * length * down
    x0, y0, x1, y1 = place
    y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32) + 0.5
    x, y = (x - middle[0]) / length, (y - middle[1]) / length
    u, v = (x * down[1] - y * down[0]) / ACROSS, (x * down[0] + y * down[1]) / ALONG
    share = ((1 - np.hypot(u, v)) / FADES).clip(0, 1)
    return Image.fromarray(np.rint(255 * share * share * (3 - 2 * share)).astype(np.uint8))


def swung(length: int, num_frames: int) -> np.ndarray:
    """Numbers (num_frames,) of the frames that ``swinging`` shows of a video of ``length``."""
    there = np.arange(num_frames) % max(2 * (length - 1), 1)
    return np.minimum(there, 2 * (length - 1) - there)


def swinging(video: FaceVideo, num_frames: int) -> Iterator[tuple[int, np.ndarray]]:
    """(number, frame) of a video gone through back and forth: 0 .. T - 1, T - 2 .. 1, 0 .. and so on."""
    left, last = num_frames, len(video) - 1
    while left > 0:
        for number, frame in enumerate(video.frames(0, min(left, last + 1))):
            yield number, frame
        left -= last + 1
        for stop in range(last, 1, -BACKWARDS):
            if left <= 0:
                return
            start = max(stop - BACKWARDS, 1)
            block = list(enumerate(video.frames(start, stop), start))
            for number, frame in reversed(block[-left:]):
                yield number, frame
            left -= len(block)
