"""What a judge is worth on frames of people it has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from vasa.data.judge_pools import LabelledFrames
from vasa.metrics.correlation import pearson
from vasa.metrics.identity import verification_accuracy
from vasa.metrics.pose import axis_errors
from vasa.pretrained.expression import ExpressionNet, blink
from vasa.pretrained.registry import path_of
from vasa.records import CONTROL_NAMES, EMOTIONS

CHUNK = 64
"""Frames shown to a network at once."""


@torch.no_grad()
def score(
    kind: str, network: nn.Module, frames: LabelledFrames, judges: Path, reader: str = "judge_expression"
) -> dict[str, float]:
    """Scores by name.

    Crops are cut by true landmarks; emotion is read through the expression network `reader` of `judges`.
    """
    device = next(network.parameters()).device
    if kind == "landmarks":
        seen = [network(images.to(device)) for images, _ in _chunks(frames)]
        pose, points = (torch.cat([getattr(out, n) for out in seen]).cpu() for n in ("pose", "landmarks"))
        return _score_landmarks(pose, points, frames)
    if kind == "matte":
        seen = [network(images.to(device)).sigmoid().cpu() for images, _ in _chunks(frames)]
        return _score_matte(torch.cat(seen), frames.alpha)
    if kind == "emotion":
        reading = ExpressionNet.from_pretrained(path_of(reader, judges))
        return _score_emotion(
            network.cpu(), torch.cat([reading(*chunk) for chunk in _chunks(frames)]), frames
        )
    out = torch.cat([network(*(t.to(device) for t in chunk)).cpu() for chunk in _chunks(frames)])
    return _score_expression(out, frames) if kind == "expression" else _score_identity(out, frames)


def _chunks(frames: LabelledFrames) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(frames.images.split(CHUNK), frames.landmarks.split(CHUNK), strict=True)


def _score_matte(alpha: Tensor, wanted: Tensor) -> dict[str, float]:
    """Intersection over union of the people, frame by frame, and the mean absolute error of alpha."""
    mine, theirs = alpha > 0.5, wanted > 0.5
    share = (mine & theirs).flatten(1).sum(1) / (mine | theirs).flatten(1).sum(1).clamp(min=1)
    return {"iou": float(share.mean()), "mean_error": float((alpha - wanted).abs().mean())}


def _score_landmarks(pose: Tensor, points: Tensor, frames: LabelledFrames) -> dict[str, float]:
    errors = axis_errors(pose, frames.pose)
    between_eyes = (frames.landmarks[:, 36] - frames.landmarks[:, 45]).norm(dim=-1).clamp(min=0.05)
    inside = (frames.landmarks.abs() <= 1).all(-1).float()
    distance = ((points - frames.landmarks).norm(dim=-1) * inside).sum(-1) / inside.sum(-1).clamp(min=1)
    named = dict(zip(("yaw_deg", "pitch_deg", "roll_deg"), errors.tolist(), strict=True))
    beside = (pose[:, 3:] - frames.pose[:, 3:]).abs().mean(0).tolist()
    named |= dict(zip(("translation_x", "translation_y", "log_scale"), beside, strict=True))
    return {**named, "points_of_eye_distance": float((distance / between_eyes).mean())}


def _score_expression(out: Tensor, frames: LabelledFrames) -> dict[str, float]:
    open_eyed = blink(frames.controls) < 0.5
    scores = {}
    for index, name in enumerate(CONTROL_NAMES):
        rows = open_eyed if name.startswith("gaze") else torch.ones_like(open_eyed)
        scores[name] = float(pearson(out[rows, index], frames.controls[rows, index]))
    return scores


def _score_emotion(network: nn.Module, controls: Tensor, frames: LabelledFrames) -> dict[str, float]:
    """Over stretches: the talking frames of one person with one emotion."""
    talking = frames.has_emotion > 0
    key = torch.cat([frames.person[talking, None].float(), frames.emotion[talking]], 1)
    stretches, member = key.unique(dim=0, return_inverse=True)
    read = torch.stack([controls[talking][member == i].mean(0) for i in range(len(stretches))])
    weights, wanted = network(read), stretches[:, 1:]
    scores = {name: float(pearson(weights[:, i], wanted[:, i])) for i, name in enumerate(EMOTIONS)}
    return {**scores, "all": float(pearson(weights[:, 1:].flatten(), wanted[:, 1:].flatten()))}


def _score_identity(out: Tensor, frames: LabelledFrames) -> dict[str, float]:
    return {"verification": verification_accuracy(out, frames.person)}
