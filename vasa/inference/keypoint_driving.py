"""What moves a portrait in a keypoint space, out of a file: a video of a face, one picture of it, a motion
template, or a motion that was saved; as raw motion, with what the rules need to know of the driver.

One picture, or a template of one frame, is held as long as what is heard, or for a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vasa.audio import frames_for
from vasa.face.keypoints.animation import KeypointMotion
from vasa.face.keypoints.space import KeypointFace, to_raw
from vasa.face.keypoints.template import ENDING as TEMPLATE_ENDING
from vasa.face.keypoints.template import read_template
from vasa.inference.config import InferRun
from vasa.inference.driving import Sound, as_tensor, motion_of
from vasa.inference.face_video import FaceVideo
from vasa.inference.keypoint_edit import Driver
from vasa.inference.keypoint_framing import DriverFraming, DriverOpenings, OpeningTrack
from vasa.inference.motion_files import ENDING, SavedMotion
from vasa.inference.pipeline import TalkingFace
from vasa.inference.portrait import read_picture
from vasa.preprocess.crop import cut
from vasa.records import VIDEO_FPS

CHUNK = 64
"""Frames of a template, or of one that is held, that are handed on at a time."""
Motion = tuple[Iterator[Tensor], int, Driver, int]


def has_frames(path: Path) -> bool:
    """Whether a driver may have a sound of its own: a motion template and a picture have none."""
    return path.suffix != TEMPLATE_ENDING and not is_picture(path)


def is_picture(path: Path) -> bool:
    """Whether a file is one picture, by its content."""
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) == 1
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError):
        return False


def keypoint_motion(
    path: Path, options: InferRun, face: TalkingFace, space: KeypointFace, sound: Sound
) -> Motion:
    """Raw motion (t, 69) in chunks, how many frames it has, who drives, and the seed to report.

    Raises: FileNotFoundError, ValueError.
    """
    name, wants = f"{path.name!r}", options.keypoints.eye_retargeting or options.keypoints.lip_retargeting
    if path == options.motion or path.name.endswith(ENDING):
        saved = SavedMotion.load(path, face.face_hash, space.layout.width)
        driver = Driver(f"the saved motion {name}", reference=saved.portrait.to(face.device))
        return saved.chunks(), len(saved.values), driver, saved.seed
    if path.suffix == TEMPLATE_ENDING:
        driver = Driver(f"the template {name}")
        return _of_template(read_template(path), driver, space.species, options, sound)
    framing = DriverFraming(face.landmarks, options.keypoints)
    if is_picture(path):
        return _of_picture(path, options, face, space, framing, sound)
    video = FaceVideo(path, face.aligner, square=framing.square)
    openings = DriverOpenings(framing) if wants and face.landmarks.tells_openings else None
    driver = Driver(f"the driver {name} by five points")
    if openings is not None:
        driver = Driver(f"the driver {name}", openings=openings.track, tells=(True, True))
    return motion_of(video, space, face.device, openings=openings), len(video), driver, options.seed


def _of_template(
    template: KeypointMotion, driver: Driver, species: str, options: InferRun, sound: Sound
) -> Motion:
    """What a template lacks of openings, ``check_openings`` refuses before zeros in its place are read."""
    eyes, lips, count = template.eyes, template.lips, len(template)
    driver.tells = (eyes is not None, lips is not None)
    told = torch.cat(
        [
            torch.zeros(count, 2) if eyes is None else eyes,
            torch.zeros(count, 1) if lips is None else lips,
        ],
        1,
    )
    motion, driver.alone = to_raw(template), count == 1
    if driver.alone:
        _check_person(species, driver.name)
        count = _held_for(sound)
        motion, told = motion.expand(count, -1), told.expand(count, -1)
    if any(driver.tells):
        driver.openings = OpeningTrack(told)
    return iter(motion.split(CHUNK)), count, driver, options.seed


@torch.inference_mode()
def _of_picture(
    path: Path,
    options: InferRun,
    face: TalkingFace,
    space: KeypointFace,
    framing: DriverFraming,
    sound: Sound,
) -> Motion:
    """Of one picture. Raises: ValueError where no face is in it."""
    _check_person(space.species, f"the picture {path.name!r}")
    photo, count = read_picture(path), _held_for(sound)
    try:
        found = face.aligner.find(photo, space.size, space.size, options.allow_centre_crop)
    except ValueError as error:
        raise ValueError(f"driving {str(path)!r}: {error}") from error
    crop, told = framing.picture(photo, found, space.size)
    motion = space.motion(as_tensor(cut(photo, crop)[None], face.device)).expand(count, -1)
    driver = Driver(f"the picture {path.name!r} by five points", alone=True)
    if told is not None:
        driver = Driver(f"the picture {path.name!r}", alone=True, tells=(True, True))
        driver.openings = OpeningTrack(torch.from_numpy(told).float().expand(count, -1))
    return iter(motion.split(CHUNK)), count, driver, options.seed


def _check_person(species: str, driver: str) -> None:
    """Raises: ValueError for an animal, which takes only the way from a driver's first frame."""
    if species != "human":
        raise ValueError(
            f"{driver} is one frame, but an animal moves as a driver moves from its first frame on; give a "
            "video, or a template of more frames."
        )


def _held_for(sound: Sound) -> int:
    """Frames: as many as what is heard has, or a second's."""
    samples: np.ndarray | None = sound[0]
    return VIDEO_FPS if samples is None else max(1, frames_for(len(samples), sound[1]))
