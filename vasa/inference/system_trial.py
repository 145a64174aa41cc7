"""Does a bundled LivePortrait or JoyVASA do what published weights do? A portrait and a sound go through it,
a table says what was measured beside what samples of the authors show, and a video stands beside the
portrait.

The ranges are wide: they are those of the motion templates that LivePortrait's authors publish, and of common
sense. They tell weights that were loaded wrongly from right ones, not good from better.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vasa.audio import read_audio
from vasa.face.keypoints.config import RulesConfig
from vasa.face.keypoints.space import KeypointAppearance, KeypointFace, from_raw
from vasa.inference.config import PublishedRun
from vasa.inference.demo import demo_portrait, demo_speech
from vasa.inference.generation import Portrait
from vasa.inference.joyvasa_source import JoyvasaSource
from vasa.inference.pipeline import TalkingFace
from vasa.inference.portrait import read_picture
from vasa.records import AUDIO_HZ
from vasa.video import VideoWriter

MOST_TURNED_RAD = 0.8
VIDEO = "trial.mp4"


@dataclass(frozen=True, slots=True)
class Check:
    """One number beside the range in which published weights have it."""

    name: str
    value: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        return self.low <= self.value <= self.high


def try_system(run: PublishedRun) -> str:
    """Measures the checkpoint ``run.output`` and writes trial.mp4 into it; gives a table.

    Raises: ValueError, after the table's numbers are known, where one is out of its range; what loading and
    reading raise.
    """
    system = TalkingFace.from_pretrained(run.output, run.device)
    if not isinstance(system.face, KeypointFace):
        raise ValueError(f"{run.output} is no checkpoint of {run.system}; bundle one by action=bundle.")
    picture, known = demo_portrait(0, 512) if run.image is None else (read_picture(run.image), None)
    portrait = system.prepare(picture, 512, known=known)
    checks = _of_portrait(system.face, portrait)
    if isinstance(system.motion, JoyvasaSource):
        sound, rate_hz = (
            (demo_speech(0, run.seconds), AUDIO_HZ) if run.audio is None else read_audio(run.audio)
        )
        sound = sound[: round(run.seconds * rate_hz)]
        checks += _spoken(system, portrait, sound, rate_hz, run.output / VIDEO)
    text = _table(checks)
    failed = [check.name for check in checks if not check.holds]
    if failed:
        raise ValueError(
            f"{', '.join(failed)}: out of the range of published weights; compare the files' hashes "
            f"(action=verify) and bundle them again. All numbers:\n{text}"
        )
    return text


@torch.inference_mode()
def _of_portrait(face: KeypointFace, portrait: Portrait) -> list[Check]:
    appearance: KeypointAppearance = portrait.appearance
    own = from_raw(appearance.motion)
    points = own.keypoints(appearance.canonical)
    shown = face.render(appearance, appearance.motion)
    return [
        Check("scale of the portrait", float(own.scale), 0.8, 2.5),
        Check("largest expression, |exp|", float(own.expression.abs().max()), 0.001, 0.4),
        Check("farthest keypoint from the middle", float(points[..., :2].abs().max()), 0.1, 1.6),
        Check(
            "most turned angle, radians", float(appearance.motion[:, :3].abs().max()), 0.0, MOST_TURNED_RAD
        ),
        Check("the portrait as itself, PSNR dB", _psnr_db(shown, appearance.picture), 18.0, 100.0),
    ]


@torch.inference_mode()
def _spoken(
    system: TalkingFace, portrait: Portrait, sound: np.ndarray, rate_hz: int, path: Path
) -> list[Check]:
    """What speech makes; the video shows the portrait, our windows, and those that JoyVASA published."""
    seen: list[Tensor] = []

    def keep(motion: Tensor, first: int) -> Tensor:
        seen.append(motion)
        return motion

    makes = [
        system.generate(
            portrait, sound, rate_hz, batch_frames=1, edits=edits, rules=RulesConfig(compat=compat)
        )
        for compat, edits in (("none", (keep,)), ("upstream", ()))
    ]
    side = portrait.picture.shape[0]
    with VideoWriter(path, side, 3 * side, makes[0].fps, sound, rate_hz) as writer:
        for pair in zip(*makes, strict=False):  # theirs is three frames longer than the sound
            writer.write(np.concatenate([portrait.picture, *pair], 1))
    motion = torch.cat(seen)
    moved = from_raw(motion).expression.std(0)
    return [
        Check("largest expression while speaking, |exp|", float(motion[:, 6:].abs().max()), 0.001, 0.6),
        Check("most turned angle while speaking, radians", float(motion[:, :3].abs().max()), 0.0, 1.2),
        Check("movement of the jaw's point 19, deviation", float(moved[19, 1]), 1e-4, 0.2),
    ]


def _psnr_db(a: Tensor, b: Tensor) -> float:
    """Of pictures in [-1, 1]."""
    return float(10 * torch.log10(4 / (a - b).square().mean().clamp(min=1e-10)))


def _table(checks: list[Check]) -> str:
    lines = ["| number | measured | published weights | holds |", "|---|---|---|---|"]
    for check in checks:
        holds = "yes" if check.holds else "**no**"
        lines.append(f"| {check.name} | {check.value:.4g} | {check.low:g} to {check.high:g} | {holds} |")
    return "\n".join(lines) + "\n"
