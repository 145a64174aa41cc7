"""What a portrait shall do, from the options: speech, a driving video or a saved motion; regions of others;
parts left out. The one place where options become a chain of motion and edits, for one video as for lists.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vasa.audio import check_waveform, frames_for, read_audio
from vasa.face.keypoints.space import KeypointFace
from vasa.face.keypoints.template import ENDING as TEMPLATE_ENDING
from vasa.face.keypoints.template import write_template
from vasa.inference.asked import Asked, asked_of
from vasa.inference.combinations import check_animal, check_space, check_with_keypoint_video, check_with_video
from vasa.inference.config import InferRun
from vasa.inference.control_edits import edits_for
from vasa.inference.demo import demo_portrait, demo_speech
from vasa.inference.driving import Sound, motion_of, soundtrack
from vasa.inference.edits import Edit
from vasa.inference.face_video import FaceVideo
from vasa.inference.generation import Generation, Portrait
from vasa.inference.keypoint_driving import has_frames
from vasa.inference.keypoint_performance import followed, keypoints_from_file
from vasa.inference.keypoint_video import KeypointVideo
from vasa.inference.live_asked import LiveAsked
from vasa.inference.motion_files import CSV_ENDING, ENDING, MotionRecorder, SavedMotion, write_table
from vasa.inference.noise import first_seed
from vasa.inference.pipeline import TalkingFace
from vasa.inference.portrait import read_picture
from vasa.inference.regions import Endless, Only, Regions
from vasa.inference.retarget import DriverRetargeter, Retargeter
from vasa.inference.source_frames import is_video
from vasa.inference.source_video import SourceVideo, dub
from vasa.preprocess.align import whole_frame
from vasa.records import AUDIO_HZ, VIDEO_FPS

PICKLE_ENDING = ".motion" + TEMPLATE_ENDING
Subject = Portrait | SourceVideo | KeypointVideo


@dataclass(slots=True)
class Performance:
    """One video to be made. sound: (N,) float32 at ``sound_hz``, what is heard, not longer than the frames;
    None: nothing. recorder: the motion as it is shown, where it shall be saved.
    """

    generation: Generation
    sound: np.ndarray | None
    sound_hz: int
    recorder: MotionRecorder | None = None


def heard(options: InferRun) -> Sound:
    """What shall be heard and, where nothing else moves the face, spoken.

    Raises: FileNotFoundError, ValueError.
    """
    if options.audio is not None:
        return read_audio(options.audio)
    if options.driving is not None and has_frames(options.driving):
        return soundtrack(options.driving)
    if options.driving is not None or options.motion is not None:
        return None, AUDIO_HZ
    return demo_speech(options.seed, options.seconds), AUDIO_HZ


def opened(options: InferRun) -> np.ndarray | None:
    """The picture that shall be shown, uint8 (H, W, 3); None where it is a video, or none is given.

    Raises: FileNotFoundError, ValueError.
    """
    return None if options.image is None or is_video(options.image) else read_picture(options.image)


def subject(options: InferRun, face: TalkingFace, photo: np.ndarray | None, framed: bool = False) -> Subject:
    """Who is shown: a photograph's face, a video's, or without an image the person that the checkpoint was
    made for, or a synthetic one.

    photo: from ``opened``. framed: it is cut by the crop rule already. Raises: ValueError, FileNotFoundError.
    """
    path, known = options.image, None
    _check_source(options, asked_of(options), face, path is not None and photo is None)
    if path is not None and photo is None:
        if isinstance(face.face, KeypointFace):
            return KeypointVideo.open(path, face, options.size, options.keypoints)
        return SourceVideo.open(path, face, options.size)
    if photo is None and face.person is not None:
        photo = face.person.portrait
    elif photo is None:
        photo, known = demo_portrait(options.seed, options.size)
    elif framed:
        known = whole_frame(photo, options.size)
    try:
        return face.prepare(
            photo,
            options.size,
            options.allow_centre_crop,
            known,
            options.keep_expression,
            options.background,
            options.paste,
            options.keypoints,
            options.box,
        )
    except ValueError as error:
        raise ValueError(f"image {str(path)!r}: {error}") from error


def check_face(options: InferRun, face: TalkingFace, photo: np.ndarray) -> None:
    """Looks for the face that ``subject`` would show of a photograph, and does nothing else with it.

    Raises: ValueError in the sentence of ``subject`` where there is none.
    """
    space = face.face
    if isinstance(space, KeypointFace) and space.species != "human":
        return  # such a face is not searched
    if face.person is not None and face.person.is_portrait(photo):
        return
    try:
        face.aligner.find(photo, space.size, options.size, options.allow_centre_crop)
    except ValueError as error:
        raise ValueError(f"image {str(options.image)!r}: {error}") from error


def performance(options: InferRun, face: TalkingFace, who: Subject, sound: Sound) -> Performance:
    """Who is shown, under the motion and the controls that options ask for. sound: from ``heard``.

    Raises: ValueError, FileNotFoundError, before any frame is made.
    """
    recorder = MotionRecorder() if motion_files(options, Path("video")) else None
    asked = LiveAsked(options) if options.live else asked_of(options)
    _check_source(options, asked, face, not isinstance(who, Portrait))
    if isinstance(who, KeypointVideo):
        generation = followed(options, asked, face, who, sound, recorder)
    elif isinstance(who, SourceVideo):
        generation = _dubbed(options, asked, face, who, sound, recorder)
    else:
        generation = _performed(options, asked, face, who, sound, recorder)
    waveform, rate_hz = sound
    if waveform is not None:
        waveform = waveform[: math.ceil(generation.num_frames / VIDEO_FPS * rate_hz)]
    return Performance(generation, waveform, rate_hz, recorder)


def _check_source(options: InferRun, asked: Asked, face: TalkingFace, is_video: bool) -> None:
    """Raises: ValueError of what the face space, or an image that is a video, cannot heed."""
    space = face.face
    check_space(options, asked, isinstance(space, KeypointFace), is_video)
    if isinstance(space, KeypointFace) and space.species == "animal":
        check_animal(options)
    if is_video and isinstance(space, KeypointFace):
        check_with_keypoint_video(options, asked, space.species)
    elif is_video:
        check_with_video(options, asked)


def _performed(
    options: InferRun,
    asked: Asked,
    face: TalkingFace,
    portrait: Portrait,
    sound: Sound,
    recorder: MotionRecorder | None,
) -> Generation:
    """A portrait's frames: what everything unnamed follows is a driver, a saved motion, or speech."""
    other = options.driving or options.motion
    distance = asked.constant("distance") or 1.0
    seen: dict[Path, FaceVideo] = {}
    edits = _regional(options, face, portrait, distance, seen)
    edits += edits_for(options, asked, face.face, portrait)
    edits += [] if recorder is None else [recorder]
    if other is not None:
        if isinstance(face.face, KeypointFace):
            return keypoints_from_file(other, options, face, face.face, portrait, distance, edits, sound)
        motion, num_frames, retarget, seed = _from_file(other, options, face, portrait, distance, seen)
        return face.perform(portrait, motion, num_frames, [retarget, *edits], seed, options.batch_frames)
    assert sound[0] is not None
    return face.generate(
        portrait,
        sound[0],
        sound[1],
        asked=asked.conditions(face.motion.config.sampler.neutral),
        distance=distance,
        edits=edits,
        pose=options.pose,
        seed=asked.seed,
        steps=options.steps,
        guidance=asked.guidance,
        batch_frames=options.batch_frames,
        rules=options.keypoints,
        plan=options.plan if options.live else None,
    )


def _regional(
    options: InferRun,
    face: TalkingFace,
    portrait: Portrait,
    distance: float,
    seen: dict[Path, FaceVideo],
) -> list[Edit]:
    """What takes regions from elsewhere, and leaves parts out."""
    edits: list[Edit] = []
    sources: dict[str, Endless] = {}
    for name, path in options.regions.as_dict().items():
        motion, _, retarget, _ = _from_file(path, options, face, portrait, distance, seen)
        sources[name] = Endless((chunk.to(face.device) for chunk in motion), [retarget])
    if sources:
        edits.append(Regions(face.face, sources))
    if options.only != "all":
        own = portrait.motion.clone()
        own[:, face.face.layout.scale] -= math.log(distance)
        edits.append(Only(face.face, own, options.only))
    return edits


def _dubbed(
    options: InferRun,
    asked: Asked,
    face: TalkingFace,
    source: SourceVideo,
    sound: Sound,
    recorder: MotionRecorder | None,
) -> Generation:
    """A source video's frames, its lips (and what is not kept) by the sound."""
    waveform, rate_hz = sound
    assert waveform is not None
    samples = check_waveform(waveform, rate_hz)
    wanted = asked.conditions(face.motion.config.sampler.neutral)
    motion = face.speak(samples, rate_hz, wanted, asked.seed, options.steps, asked.guidance)
    still = replace(source.portrait, motion=torch.zeros_like(source.portrait.motion))
    distance = asked.constant("distance") or 1.0
    edits = [
        Retargeter(face.face, still.motion, distance=distance),
        *edits_for(options, asked, face.face, still),
    ]
    num_frames = frames_for(len(samples), rate_hz)
    return dub(face, source, motion, num_frames, options.kept, edits, recorder, first_seed(asked.seed))


def _from_file(
    path: Path,
    options: InferRun,
    face: TalkingFace,
    portrait: Portrait,
    distance: float,
    seen: dict[Path, FaceVideo],
) -> tuple[Iterator[Tensor], int, Edit, int]:
    """Raw motion of a saved motion or a driving video, its length, what makes it the portrait's, its seed.

    seen: videos that were looked through already; more are added.
    """
    space, own = face.face, portrait.motion
    if path == options.motion or path.name.endswith(ENDING):
        saved = SavedMotion.load(path, face.face_hash, space.layout.width)
        retarget: Edit = Retargeter(space, own, options.pose, distance, saved.portrait)
        return saved.chunks(), len(saved.values), retarget, saved.seed
    if path not in seen:
        seen[path] = FaceVideo(path, face.aligner)
    video = seen[path]
    follow = DriverRetargeter(space, own, options.pose, distance, options.keep_expression)
    return motion_of(video, space, face.device), len(video), follow, options.seed


def reenactment(
    face: TalkingFace, portrait: Portrait, head: FaceVideo, expression: FaceVideo, batch_frames: int = 8
) -> Generation:
    """A portrait that follows videos absolutely: its head the one, its face the other (or the same). The
    shorter one ends it.
    """
    num_frames = min(len(head), len(expression))
    edits = []
    if head is not expression:
        edits = [Regions(face.face, {"head": Endless(motion_of(head, face.face, face.device))})]
    motion = motion_of(expression, face.face, face.device, num_frames)
    return face.perform(portrait, motion, num_frames, edits, batch_frames=batch_frames)


def motion_files(options: InferRun, video: Path) -> list[Path]:
    """The files of motion that options ask for beside a video."""
    asked = {
        ENDING: options.save_motion,
        CSV_ENDING: options.motion_csv,
        PICKLE_ENDING: options.save_template,
    }
    return [video.with_name(video.stem + ending) for ending, is_asked in asked.items() if is_asked]


def save_motion(face: TalkingFace, options: InferRun, made: Performance, video: Path) -> list[Path]:
    """Writes what ``save_motion`` and ``motion_csv`` ask for beside a video whose frames are made."""
    if made.recorder is None:
        return []
    values, written = made.recorder.values, motion_files(options, video)
    for path in written:
        if path.name.endswith(CSV_ENDING):
            write_table(path, values, face.face, face.device)
        elif path.name.endswith(PICKLE_ENDING):
            write_template(path, values)
        else:
            own, seed = made.generation.portrait.motion.cpu(), made.generation.seed
            SavedMotion(values, own, face.face_hash, seed).save(path)
    return written
