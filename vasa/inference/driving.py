"""Raw motion out of videos of faces: what a portrait follows instead of speaking.

Streams: frames are cut and encoded some at a time, whatever the video's length.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vasa.audio import read_audio, sound_start_s
from vasa.face.space import FaceSpace
from vasa.inference.face_video import FaceVideo
from vasa.inference.keypoint_framing import DriverOpenings
from vasa.preprocess.crop import cut
from vasa.records import AUDIO_HZ
from vasa.video import VideoReader

log = logging.getLogger(__name__)

Sound = tuple[np.ndarray | None, int]
"""What is heard, float32 (N,) or None, and its rate in Hz."""
AT_ONCE = 32
"""Frames encoded together."""
EASE = 8
"""Frames in which held motion becomes that of a face that is back."""


def soundtrack(video: Path) -> Sound:
    """The sound of a video from its first frame on: (float32 (N,), rate in Hz); None where it has none.

    Raises: FileNotFoundError; ValueError where it is no video.
    """
    reader = VideoReader(video)
    try:
        sound, rate = read_audio(video)
    except ValueError:
        log.info("%s has no sound that can be read; the video is silent.", video)
        return None, AUDIO_HZ
    late = round((reader.start_s - sound_start_s(video)) * rate)
    return (sound[late:] if late >= 0 else np.pad(sound, (-late, 0))), rate


def as_tensor(pictures: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (T, H, W, 3) -> (T, 3, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(np.array(pictures)).to(device)
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def motion_of(
    video: FaceVideo,
    face: FaceSpace,
    device: torch.device,
    most: int | None = None,
    openings: DriverOpenings | None = None,
) -> Iterator[Tensor]:
    """Raw motion (t, E) of every frame of a video, or ``most``, in the framing of its first square.

    Where the face is not seen its last motion is held, before it is first seen its first; when it comes back
    the motion eases over to it, so nothing jumps. openings: are measured too, and treated alike, and are in
    its track when the motion of the same frames is given.
    """
    last: Tensor | None = None
    held, waiting, away = torch.empty(0), 0, 0
    length, width = len(video) if most is None else most, face.layout.width
    for start in range(0, length, AT_ONCE):
        stop = min(start + AT_ONCE, length)
        seen = video.seen[start:stop]
        if last is None and not seen.any():
            waiting += stop - start
            continue
        found = _encoded(video, start, stop, face, device, openings)
        if last is None:
            last = found[int(np.argmax(seen))]
        shown = []
        for one, is_seen in zip(found, seen, strict=True):
            if not is_seen:
                held, away = last, EASE
                one = last
            elif away:
                one = torch.lerp(held, one, 1 - away / (EASE + 1))
                away -= 1
            last = one
            shown.append(one)
        whole = torch.stack([*[shown[0]] * waiting, *shown])
        waiting = 0
        if openings is not None:
            openings.track.add(whole[:, width:])
        yield whole[:, :width]


@torch.inference_mode()
def _encoded(
    video: FaceVideo,
    start: int,
    stop: int,
    face: FaceSpace,
    device: torch.device,
    openings: DriverOpenings | None,
) -> Tensor:
    """Raw motion (t, E) of frames, with ``openings`` (t, E + 3)."""
    pictures, told = [], []
    for number, frame in enumerate(video.frames(start, stop), start):
        square = video.crop(number, face.size, face.size)
        pictures.append(cut(frame, square))
        if openings is not None:
            told.append(openings.of_frame(frame, square))
    motion = video.in_first_square(face.motion(as_tensor(np.stack(pictures), device)), start, face.layout)
    return torch.cat([motion, torch.from_numpy(np.stack(told)).to(motion)], 1) if told else motion
