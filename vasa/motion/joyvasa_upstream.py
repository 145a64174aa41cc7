"""JoyVASA's audio-to-motion run as published, faults and all, for whoever wants its very numbers.

80 ms of silence are put before the sound and the video is not shifted back, one x_T serves every window, and
an exponential average holds the head nearly still. Source: JoyVASA at commit 74290f6, as
measured by the golden kit (tests/golden).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from vasa.motion.joyvasa_template import EXPRESSION
from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME, VIDEO_FPS

if TYPE_CHECKING:
    from vasa.motion.joyvasa_windows import JoyvasaMotion

LEAD, TAIL = 1280, 640
"""Samples of silence before and after the sound."""
EMA_SHARE = 0.01
"""Of the new frame in the average; a time constant of 100 frames."""

Draw = Callable[[int, int], Tensor]
"""(window, t) -> noise z (L, E) of the step of that window that leaves x_t."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How sound is cut. heard_frames: whole frames of the padded sound. missing_samples: silence that fills
    up the last window; negative for a tail of less than a frame, which is not heard. cut_frames: made of that
    silence and thrown away.
    """

    heard_frames: int
    windows: int
    missing_samples: int
    cut_frames: int
    num_frames: int


def plan(num_samples: int, window_frames: int = 100) -> Plan:
    """The windows of so many samples of sound."""
    padded = LEAD + num_samples + TAIL
    heard = math.floor(padded / AUDIO_HZ * VIDEO_FPS)  # rounded as upstream: 28.99... of 29 is 28
    windows = max(1, -(-heard // window_frames))
    missing = windows * window_frames * SAMPLES_PER_FRAME - padded
    cut = max(0, -(-missing // SAMPLES_PER_FRAME))
    return Plan(heard, windows, missing, cut, windows * window_frames - cut)


def upstream_motion(
    motion: JoyvasaMotion,
    waveform: Tensor,
    x_T: Tensor,
    draw: Draw,
    *,
    guidance_scale: float | None = None,
    steps: int | None = None,
    smooth: bool = True,
) -> Iterator[Tensor]:
    """Raw keypoint motion in chunks (t, 70) of sound (N,) at AUDIO_HZ, about 25 (N / 16000) + 3 frames in
    all.

    x_T: (L, E), from which every window starts. draw: the noise of the steps.
    guidance_scale: None takes the checkpoint's. smooth: average scale, translation and angles (not the
    expression).
    """
    chunks = _windows(motion, waveform, x_T, draw, guidance_scale, steps)
    return smoothed(chunks) if smooth else chunks


def _windows(
    motion: JoyvasaMotion,
    waveform: Tensor,
    x_T: Tensor,
    draw: Draw,
    guidance_scale: float | None,
    steps: int | None,
) -> Iterator[Tensor]:
    own = motion.model.config
    L = own.window_frames
    planned, window_samples = plan(len(waveform), L), L * SAMPLES_PER_FRAME
    past, made = motion.model.start(1), 0
    for window in range(planned.windows):
        first = window * window_samples - LEAD
        sound = waveform[max(first, 0) : first + window_samples]
        before = max(-first, 0)
        sound = F.pad(sound, (before, window_samples - before - len(sound)))
        audio = motion.speech.hear(sound)[None]
        noise = _of_window(draw, window)
        scale = own.guidance_scale if guidance_scale is None else guidance_scale
        drawn, past = motion.draw_window(audio, past, x_T[None], noise, scale, steps)
        count = min(L, planned.num_frames - made)
        made += count
        yield motion.normalizer.denormalise(drawn[0, :count])


def _of_window(draw: Draw, window: int) -> Callable[[int], Tensor]:
    return lambda t: draw(window, t)[None]


def smoothed(chunks: Iterable[Tensor], share: float = EMA_SHARE) -> Iterator[Tensor]:
    """Raw motion in chunks (t, 70) whose head follows y_i = share x_i + (1 - share) y_{i-1}, y_0 = x_0,
    across them.
    """
    state: Tensor | None = None
    for chunk in chunks:
        rows = []
        for row in chunk[:, : EXPRESSION.start]:
            state = row if state is None else share * row + (1 - share) * state
            rows.append(state)
        yield torch.cat([torch.stack(rows), chunk[:, EXPRESSION.start :]], 1)
