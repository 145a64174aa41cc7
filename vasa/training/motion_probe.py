"""How good a motion model is where its motion is the exact animation of procedural heads: every entry has a
name, so lips, lids, gaze and distance are read off, and nothing is rendered or judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

import torch
from torch import Tensor

from vasa.data.latent_cache import CONTROL_WIDTHS, LatentCache
from vasa.metrics.blinks import count_blinks
from vasa.motion.windows import MotionGenerator
from vasa.records import CONTROL_INDEX, NUM_CONTROLS, VIDEO_FPS, Conditions

MOODS = ("brow_raise", "frown", "smile")
SPEAKING_STD = 0.05
"""A clip whose jaw moves by less is a silent one, and has no correlation."""


def probe_motion(
    generator: MotionGenerator,
    cache: LatentCache,
    num_clips: int,
    seed: int,
    guidance: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Scores over the first clips of a cache of exact animation, each under its own conditions.

    lip_r: jaw against the true jaw, mean over clips with speech; lip_shuffled: against the next clip's;
    lip_amplitude: its deviation over the true one. gaze_deg: angle between asked and mean gaze.
    distance_error: of the mean. mood_r: clip means of brows and smile against the true ones. blinks_per_min.
    pose_jitter: root mean square second difference over the true one; pose_amplitude: the same of deviations
    from the clip's mean. join_jerk: mean third difference of the pose where windows meet over that elsewhere.

    Raises: ValueError for a cache of encoded faces.
    """
    if generator.layout.width != 6 + NUM_CONTROLS:
        raise ValueError(
            f"{cache.folder} holds motion of a face space ({generator.layout.width} wide); wanted exact "
            f"animation ({6 + NUM_CONTROLS}), as encode_motion.py writes with face=null."
        )
    made, true, asked = _draw(generator, cache, min(num_clips, len(cache)), seed, guidance)
    layout = generator.layout
    controls, wanted = made[..., layout.dynamics], true[..., layout.dynamics]
    jaw, true_jaw = (x[..., CONTROL_INDEX["jaw"]] for x in (controls, wanted))
    speaking = true_jaw.std(1) > SPEAKING_STD
    minutes = made.shape[0] * made.shape[1] / VIDEO_FPS / 60
    lids = controls[..., CONTROL_INDEX["blink_left"] : CONTROL_INDEX["blink_right"] + 1].mean(-1)
    moods = [CONTROL_INDEX[name] for name in MOODS]
    pose, true_pose = made[..., layout.pose], true[..., layout.pose]
    scores = {
        "lip_r": _correlation(jaw, true_jaw)[speaking].mean(),
        "lip_shuffled": _correlation(jaw, true_jaw.roll(1, 0))[speaking & speaking.roll(1, 0)].mean(),
        "lip_amplitude": (jaw.std(1) / true_jaw.std(1).clamp(min=1e-6))[speaking].mean(),
        "distance_error": (made[..., layout.scale].neg().exp().mean((1, 2)) - asked["distance"][:, 0])
        .abs()
        .mean(),
        "mood_r": _correlation(_about(controls[..., moods].mean(1)), _about(wanted[..., moods].mean(1)))[0],
        "pose_jitter": _rms(pose.diff(n=2, dim=1)) / _rms(true_pose.diff(n=2, dim=1)),
        "pose_amplitude": _rms(pose - pose.mean(1, keepdim=True))
        / _rms(true_pose - true_pose.mean(1, keepdim=True)),
    }
    found = {name: float(value) for name, value in scores.items()}
    found["gaze_deg"] = fmean(
        float(torch.rad2deg((looking[lid < 0.4].mean(0) - main).norm()))
        for looking, lid, main in zip(controls[..., :2], lids, asked["gaze"], strict=True)
    )
    found["blinks_per_min"] = sum(count_blinks(track) for track in lids) / minutes
    return found | _join_jerk(pose, generator.config.hop_frames)


def _draw(
    generator: MotionGenerator,
    cache: LatentCache,
    num_clips: int,
    seed: int,
    guidance: Mapping[str, float] | None,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Drawn and true motion (B, T, E) and what was asked for, by name."""
    clips = range(num_clips)
    length = min(cache.clips[clip].num_frames for clip in clips)
    features = torch.stack([cache.features(clip, 0, 0, length) for clip in clips])
    asked = {name: torch.stack([_known(cache, clip, name) for clip in clips]) for name in CONTROL_WIDTHS}
    made = generator.generate_many(
        features,
        Conditions(**asked),
        generators=[torch.Generator().manual_seed(seed + clip) for clip in clips],
        guidance=guidance,
    )
    return made, torch.stack([cache.motion(clip, 0, length) for clip in clips]), asked


def _known(cache: LatentCache, clip: int, name: str) -> Tensor:
    value = cache.control(clip, name)
    if value is None:
        raise ValueError(
            f"clip {cache.clips[clip].clip_id} of {cache.folder} has no {name}; wanted a known one."
        )
    return value


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's r (B,) of rows (B, T)."""
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt().clamp(min=1e-8)


def _about(values: Tensor) -> Tensor:
    """Columns of (B, n) about their means, in one row (1, B n)."""
    return (values - values.mean(0)).reshape(1, -1)


def _rms(values: Tensor) -> Tensor:
    return values.square().mean().sqrt().clamp(min=1e-12)


def _join_jerk(pose: Tensor, hop: int) -> dict[str, float]:
    """Third differences at the joins over those inside; empty where there is no join."""
    jerk = pose.diff(n=3, dim=1).abs().mean((0, 2))
    touching = torch.zeros(len(jerk), dtype=torch.bool)
    for join in range(hop, pose.shape[1], hop):  # frame ``join`` is the first of a window
        touching[max(join - 3, 0) : join] = True
    if not touching.any() or touching.all():
        return {}
    return {"join_jerk": float(jerk[touching].mean() / jerk[~touching].mean().clamp(min=1e-12))}
