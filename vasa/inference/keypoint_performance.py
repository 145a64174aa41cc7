"""What a portrait or a source video does in a keypoint space: where its motion comes from, by which rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from vasa.audio import check_waveform, frames_for
from vasa.face.keypoints.space import KeypointFace
from vasa.inference.asked import Asked
from vasa.inference.combinations import moves_head
from vasa.inference.config import InferRun
from vasa.inference.control_edits import edits_for
from vasa.inference.driving import Sound
from vasa.inference.edits import Edit
from vasa.inference.generation import Generation, Portrait
from vasa.inference.keypoint_driving import Motion, keypoint_motion
from vasa.inference.keypoint_edit import Driver, keypoint_edits
from vasa.inference.keypoint_video import KeypointVideo, follow
from vasa.inference.motion_files import MotionRecorder
from vasa.inference.noise import first_seed
from vasa.inference.pipeline import TalkingFace


def keypoints_from_file(
    path: Path,
    options: InferRun,
    face: TalkingFace,
    space: KeypointFace,
    portrait: Portrait,
    distance: float,
    edits: list[Edit],
    sound: Sound,
) -> Generation:
    """A portrait in a keypoint space, moved by what a file holds."""
    motion, num_frames, driver, seed = keypoint_motion(path, options, face, space, sound)
    move, finish = keypoint_edits(
        space, portrait, options.keypoints, driver, pose=options.pose, distance=distance
    )
    return face.perform(portrait, motion, num_frames, [move, *edits, finish], seed, options.batch_frames)


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
        motion, num_frames, driver, seed = keypoint_motion(other, options, face, space, sound)
    else:
        motion, num_frames, driver, seed = _spoken(options, asked, face, sound)
        rules = replace(rules, region="lip" if rules.region == "auto" else rules.region)
    edits: list[Edit] = []
    if moves_head(rules.region):
        motion, start = _started(motion, driver, source.portrait)
        edits = edits_for(options, asked, space, start)
    return follow(
        face,
        space,
        source,
        motion,
        num_frames,
        driver,
        rules,
        asked=asked,
        pose=options.pose,
        edits=edits,
        recorder=recorder,
        seed=seed,
    )


@torch.inference_mode()
def _started(
    motion: Iterator[Tensor], driver: Driver, portrait: Portrait
) -> tuple[Iterator[Tensor], Portrait]:
    """The driver's motion, and where its head starts from, in the portrait's place."""
    if driver.alone:
        return motion, portrait
    if driver.reference is None:
        first = next(motion)
        motion, driver.reference = chain([first], motion), first[:1].clone()
    return motion, replace(portrait, motion=driver.reference)


def _spoken(options: InferRun, asked: Asked, face: TalkingFace, sound: Sound) -> Motion:
    """The motion of a sound."""
    waveform, rate_hz = sound
    assert waveform is not None
    samples = check_waveform(waveform, rate_hz)
    wanted = asked.conditions(face.motion.config.sampler.neutral)
    motion = face.speak(samples, rate_hz, wanted, asked.seed, options.steps, asked.guidance)
    num_frames = frames_for(len(samples), rate_hz)
    return motion, num_frames, Driver("motion made of sound", sound=True), first_seed(asked.seed)
