"""What a portrait or a source video does in a keypoint space: where its motion comes from, by which rules."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch

from vasa.audio import check_waveform, frames_for
from vasa.face.keypoints.space import KeypointFace, to_raw
from vasa.inference.asked import Asked
from vasa.inference.combinations import moves_head
from vasa.inference.config import InferRun
from vasa.inference.control_edits import edits_for
from vasa.inference.driving import motion_of
from vasa.inference.edits import Edit
from vasa.inference.face_video import FaceVideo
from vasa.inference.generation import Generation, Portrait, Sound
from vasa.inference.keypoint_edit import keypoint_edits
from vasa.inference.keypoint_video import Driver, KeypointVideo, follow
from vasa.inference.motion_files import ENDING, MotionRecorder, SavedMotion
from vasa.inference.motion_template import ENDING as TEMPLATE_ENDING
from vasa.inference.motion_template import read_template
from vasa.inference.noise import first_seed
from vasa.inference.pipeline import TalkingFace

CHUNK = 64
"""Frames of a template that are handed on at a time."""


def keypoints_from_file(
    path: Path,
    options: InferRun,
    face: TalkingFace,
    space: KeypointFace,
    portrait: Portrait,
    distance: float,
    edits: list[Edit],
) -> Generation:
    """A portrait in a keypoint space under a driving video, a motion template or a saved motion."""
    driver = _driver(path, options, face, space)
    move, finish = keypoint_edits(
        space,
        portrait.appearance,
        options.keypoints,
        pose=options.pose,
        distance=distance,
        reference=driver.reference,
    )
    return face.perform(
        portrait, driver.motion, driver.num_frames, [move, *edits, finish], driver.seed, options.batch_frames
    )


def _driver(path: Path, options: InferRun, face: TalkingFace, space: KeypointFace) -> Driver:
    """The motion of a driving video, a motion template or a saved motion."""
    if path.suffix == TEMPLATE_ENDING:
        template = to_raw(read_template(path))
        return Driver(iter(template.split(CHUNK)), len(template), seed=options.seed)
    if path.name.endswith(ENDING):
        saved = SavedMotion.load(path, face.face_hash, space.layout.width)
        reference = saved.portrait.to(face.device)
        return Driver(saved.chunks(), len(saved.values), reference, saved.seed)
    video = FaceVideo(path, face.aligner)
    return Driver(motion_of(video, space, face.device), len(video), seed=options.seed)


def followed(
    options: InferRun,
    asked: Asked,
    face: TalkingFace,
    source: KeypointVideo,
    sound: Sound,
    recorder: MotionRecorder | None,
) -> Generation:
    """A source video in a keypoint space under a driver, or with lips by the sound."""
    space, other, rules = face.face, options.driving or options.motion, options.keypoints
    assert isinstance(space, KeypointFace)
    if other is not None:
        driver = _driver(other, options, face, space)
    else:
        driver = _spoken(options, asked, face, sound)
        rules = replace(rules, region="lip" if rules.region == "auto" else rules.region)
    edits: list[Edit] = []
    if moves_head(rules.region):
        edits = edits_for(options, asked, space, _start(driver, source.portrait))
    nearer = -asked.at("distance", 0, driver.num_frames).log()
    return follow(face, space, source, driver, rules, nearer, options.pose, edits, recorder)


@torch.inference_mode()
def _start(driver: Driver, portrait: Portrait) -> Portrait:
    """Where the driver's head starts from, in a portrait's place."""
    if driver.reference is None:
        first = next(driver.motion)
        driver.motion, driver.reference = chain([first], driver.motion), first[:1].clone()
    return replace(portrait, motion=driver.reference)


def _spoken(options: InferRun, asked: Asked, face: TalkingFace, sound: Sound) -> Driver:
    """The motion of a sound."""
    waveform, rate_hz = sound
    assert waveform is not None
    samples = check_waveform(waveform, rate_hz)
    wanted = asked.conditions(face.motion.config.sampler.neutral)
    motion = face.speak(samples, rate_hz, wanted, asked.seed, options.steps, asked.guidance)
    num_frames = frames_for(len(samples), rate_hz)
    return Driver(motion, num_frames, seed=first_seed(asked.seed), is_sound=True)
