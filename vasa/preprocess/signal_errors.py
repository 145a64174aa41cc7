"""What estimators get wrong on rendered clips, whose truth is known, and what they cost.

Procedural heads are not people: an error here says that signs, units and crops are right and how well a
network reads these heads, not how well it reads photographs. ``portrait`` are heads as our own networks know
them, ``randomised`` have random textures and shapes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from vasa.data.config import MODES, ClipsConfig, SpokenConfig
from vasa.data.synthetic.clips import SyntheticClips
from vasa.preprocess.signals import CLOSED, ClipSignals, SignalEstimator
from vasa.preprocess.signals_config import CheckSignalsRun
from vasa.progress import counted
from vasa.records import CONTROL_INDEX, Animation, Clip

Estimate = Callable[[np.ndarray], ClipSignals]
_LIDS = [CONTROL_INDEX["blink_left"], CONTROL_INDEX["blink_right"]]
OUTER_CORNERS = (36, 45)


def check_signals(run: CheckSignalsRun) -> str:
    """Markdown: a row for each number, a column for each way of rendering. Raises: as SignalEstimator."""
    torch.set_num_threads(run.threads)
    estimator = SignalEstimator(run.signals)
    columns = {mode: signal_errors(estimator, rendered(run, mode)) for mode in MODES}
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name in next(iter(columns.values())):
        lines.append(f"| {name} | {' | '.join(f'{c[name]:.3g}' for c in columns.values())} |")
    return "\n".join(lines) + "\n"


def rendered(run: CheckSignalsRun, mode: str) -> Iterable[Clip]:
    """Talking clips of that many people, with frames and truth, one by one."""
    spoken = SpokenConfig(espeak_share=0.0, silent_share=0.0)
    config = ClipsConfig(
        num_clips=run.people, seed=run.seed, seconds=run.seconds, size=run.size, mode=mode, spoken=spoken
    )
    clips = SyntheticClips(run.split, config)
    return (clips[index] for index in counted(f"clips, {mode}", range(len(clips))))


def signal_errors(estimate: Estimate, clips: Iterable[Clip]) -> dict[str, float]:
    """Errors over all frames of clips that have truth: means of absolute ones, r over frames of all clips."""
    pairs, spent = [], 0.0
    for clip in clips:
        assert clip.frames is not None
        begun = time.process_time()
        found = estimate(clip.frames)
        spent += time.process_time() - begun
        clip.frames = None
        pairs.append((found, clip))
    values = {**_of_heads(pairs), **_of_eyes(pairs), **_of_emotion(pairs)}
    frames = sum(len(found.pose) for found, _ in pairs)
    return {**values, "CPU time, ms a frame": 1000 * spent / frames}


_Pairs = list[tuple[ClipSignals, Clip]]


def _of_heads(pairs: _Pairs) -> dict[str, float]:
    found = torch.cat([f.pose for f, _ in pairs])
    true = torch.cat([_animation(c).pose for _, c in pairs])
    degrees = torch.rad2deg((found - true)[:, :3]).abs().mean(0).tolist()
    named = dict(zip(("yaw, degrees", "pitch, degrees", "roll, degrees"), degrees, strict=True))
    distance = torch.cat([f.distance[:, 0] for f, _ in pairs]) - true[:, 5].neg().exp()
    points = torch.cat([f.landmarks for f, _ in pairs])
    wanted = torch.cat([_landmarks(c) for _, c in pairs])
    left, right = OUTER_CORNERS
    between_eyes = (wanted[:, left] - wanted[:, right]).norm(dim=-1)
    away = (points - wanted).norm(dim=-1).mean(1) / between_eyes
    return {
        **named,
        "distance, of the reference": float(distance.abs().mean()),
        "landmarks, % of the eye distance": 100 * float(away.mean()),
    }


def _of_eyes(pairs: _Pairs) -> dict[str, float]:
    """Gaze where the eyes are open; blinks everywhere."""
    lids = torch.cat([_animation(c).controls[:, _LIDS] for _, c in pairs])
    seen = torch.cat([f.blink for f, _ in pairs])
    is_open = lids.mean(1) < CLOSED
    true = torch.cat([_animation(c).controls[:, :2] for _, c in pairs])
    gaze = torch.cat([f.gaze for f, _ in pairs])
    yaw, pitch = torch.rad2deg((gaze - true)[is_open]).abs().mean(0).tolist()
    main = torch.stack([f.main_gaze - _given(c.gaze) for f, c in pairs])
    return {
        "gaze yaw, degrees": yaw,
        "gaze pitch, degrees": pitch,
        "gaze, angle in degrees": _angle(gaze[is_open], true[is_open]),
        "main gaze of a clip, degrees": float(torch.rad2deg(main).norm(dim=1).mean()),
        "gaze yaw, r": _r(gaze[is_open, 0], true[is_open, 0]),
        "gaze pitch, r": _r(gaze[is_open, 1], true[is_open, 1]),
        "blink, of full closure": float((seen - lids).abs().mean()),
        "blink, r": _r(seen.mean(1), lids.mean(1)),
    }


def _of_emotion(pairs: _Pairs) -> dict[str, float]:
    """Of clips: the share whose strongest emotion is found, and r over the weights of all but neutral."""
    found = torch.stack([f.mean_emotion for f, _ in pairs])
    true = torch.stack([_given(c.emotion) for _, c in pairs])
    return {
        "emotion of a clip, share found": float((found.argmax(1) == true.argmax(1)).float().mean()),
        "emotion of a clip, r": _r(found[:, 1:].flatten(), true[:, 1:].flatten()),
    }


def _angle(found: Tensor, true: Tensor) -> float:
    """Mean angle in degrees between directions given as (yaw, pitch), (N, 2)."""

    def direction(angles: Tensor) -> Tensor:
        yaw, pitch = angles.double().unbind(1)
        return torch.stack([yaw.sin() * pitch.cos(), pitch.sin(), yaw.cos() * pitch.cos()], 1)

    cosine = (direction(found) * direction(true)).sum(1).clamp(-1, 1)
    return float(torch.rad2deg(cosine.acos()).mean())


def _r(found: Tensor, true: Tensor) -> float:
    return float(np.corrcoef(found.double().numpy(), true.double().numpy())[0, 1])


def _animation(clip: Clip) -> Animation:
    assert clip.truth.animation is not None
    return clip.truth.animation


def _landmarks(clip: Clip) -> Tensor:
    assert clip.truth.landmarks is not None
    return clip.truth.landmarks


def _given(value: Tensor | None) -> Tensor:
    assert value is not None
    return value
