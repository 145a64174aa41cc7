"""What ``scripts/infer.py`` does: files in; a video with sound, a report and a contact sheet out, or nothing
at all.

Everything that can be wrong is checked before the first frame is made; the video appears under its name only
when complete.
"""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vasa.audio import read_audio
from vasa.checkpoint import atomic_path
from vasa.inference.config import InferRun
from vasa.inference.controls import conditions
from vasa.inference.demo import demo_portrait, demo_speech
from vasa.inference.pipeline import Generation, TalkingFace
from vasa.inference.portrait import read_picture
from vasa.inference.report import describe
from vasa.records import AUDIO_HZ
from vasa.video import VideoWriter, check_video_path, spread, write_contact_sheet

log = logging.getLogger(__name__)

OUTPUTS = Path("outputs")
SHEET_FRAMES = 11  # with the portrait before them: two rows of six


@dataclass(slots=True)
class Files:
    """Where the video, its report and its contact sheet go."""

    video: Path
    report: Path
    sheet: Path


def output_files(config: InferRun) -> Files:
    """The files of a run. Neither report nor sheet can take the name of the user's own picture."""
    if config.output is None and config.image is None:
        folder = OUTPUTS / "demo"
        return Files(folder / "demo.mp4", folder / "report.json", folder / "contact_sheet.png")
    video = config.output or OUTPUTS / f"{config.image.stem if config.image else 'demo'}.mp4"
    return Files(video, video.with_suffix(".report.json"), video.with_suffix(".sheet.png"))


def animate(config: InferRun, face: TalkingFace | None = None) -> Files:
    """Makes one video. face: an already loaded checkpoint; ``checkpoint``, ``device``, ``detector`` and
    ``matte`` are then not read.

    Raises: ValueError, FileNotFoundError, OSError, each in one sentence; nothing half-written stays behind.
    """
    started = time.perf_counter()
    torch.set_num_threads(config.threads)
    files = output_files(config)
    check_video_path(files.video)
    gaze_yaw, gaze_pitch = math.radians(config.gaze_yaw), math.radians(config.gaze_pitch)
    conditions(gaze_yaw, gaze_pitch, config.distance, config.emotion)
    photo, known = None if config.image is None else read_picture(config.image), None
    waveform, audio_hz = _sound(config)
    face = face or TalkingFace.from_pretrained(
        config.checkpoint, config.device, config.detector, config.matte
    )
    if photo is None:
        photo, known = demo_portrait(config.seed, config.size)
    try:
        portrait = face.prepare(
            photo,
            config.size,
            config.allow_centre_crop,
            known,
            config.keep_expression,
            config.background,
        )
    except ValueError as error:
        raise ValueError(f"image {str(config.image)!r}: {error}") from error
    generation = face.generate(
        portrait,
        waveform,
        audio_hz,
        gaze_yaw=gaze_yaw,
        gaze_pitch=gaze_pitch,
        distance=config.distance,
        emotion=config.emotion,
        pose=config.pose,
        seed=config.seed,
        steps=config.steps,
        guidance=config.guidance.as_dict(),
        batch_frames=config.batch_frames,
    )
    shown = _write_video(generation, files.video, waveform, audio_hz)
    report = describe(config, generation, face.checkpoint, waveform, audio_hz, time.perf_counter() - started)
    write_contact_sheet(files.sheet, [generation.portrait.picture, *shown])
    with atomic_path(files.report) as temporary:
        temporary.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    log.info(
        "%s: %d frames at %d px, %.1f s.",
        files.video,
        generation.num_frames,
        generation.size,
        report["timings"]["total_s"],
    )
    log.info("Beside it: %s, %s.", files.report.name, files.sheet.name)
    return files


def _sound(config: InferRun) -> tuple[np.ndarray, int]:
    if config.audio is None:
        return demo_speech(config.seed, config.seconds), AUDIO_HZ
    return read_audio(config.audio)


def _write_video(generation: Generation, path: Path, waveform: np.ndarray, audio_hz: int) -> list[np.ndarray]:
    """Writes all frames and gives back those for the contact sheet."""
    wanted, shown = set(spread(generation.num_frames, SHEET_FRAMES)), []
    with VideoWriter(path, generation.size, generation.size, generation.fps, waveform, audio_hz) as writer:
        for number, frame in enumerate(generation):
            writer.write(frame)
            if number in wanted:
                shown.append(frame.copy())
    assert writer.num_frames == generation.num_frames
    return shown
