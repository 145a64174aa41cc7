"""The conditions C = [X_pre, A_pre; A, g, d, e] of one batch of windows, normalised: dropping, nulling,
batching.

Which condition is present is a mask beside its values; the network replaces what is absent by its learned
null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from vasa.motion.config import DropoutConfig
from vasa.records import EMOTIONS, Conditions

DROPPED = ("audio", "gaze", "distance", "emotion", "history", "audio_tail")
"""What can be dropped in training, in the order of the columns that ``drop`` takes."""


@dataclass(slots=True)
class WindowConditions:
    """Conditions of B windows of W frames with K frames of history (or fewer of either), all normalised.

    audio (B, W, A), has_audio (B, W): a frame of sound may be missing by itself. history (B, K, E) and
    history_audio (B, K, A): X_pre and A_pre, has_history (B,). gaze (B, 2), distance (B, 1), emotion (B, 8)
    with has_gaze, has_distance, has_emotion (B,).
    """

    audio: Tensor
    has_audio: Tensor
    history: Tensor
    history_audio: Tensor
    has_history: Tensor
    gaze: Tensor
    has_gaze: Tensor
    distance: Tensor
    has_distance: Tensor
    emotion: Tensor
    has_emotion: Tensor

    def __len__(self) -> int:
        return self.audio.shape[0]


def from_controls(controls: Conditions, batch: int, device: torch.device) -> dict[str, Tensor]:
    """The gaze, distance and emotion fields of ``WindowConditions`` for a batch; a control that is None is
    absent.

    Controls have a batch axis of B or 1 (then shared by the batch).
    """
    out: dict[str, Tensor] = {}
    for name, width in (("gaze", 2), ("distance", 1), ("emotion", len(EMOTIONS))):
        value = getattr(controls, name)
        if value is not None and (value.ndim != 2 or value.shape[0] not in (1, batch)):
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}; wanted ({batch}, {width}) or (1, {width})."
            )
        given = value is not None
        out[name] = (
            value.to(device).expand(batch, width) if given else torch.zeros(batch, width, device=device)
        )
        out[f"has_{name}"] = torch.full((batch,), given, dtype=torch.bool, device=device)
    return out


def without(conditions: WindowConditions, name: str) -> WindowConditions:
    """The same conditions with one of audio, gaze, distance, emotion, history absent from every window."""
    mask = getattr(conditions, f"has_{name}")
    return replace(conditions, **{f"has_{name}": torch.zeros_like(mask)})


def concatenate(parts: Sequence[WindowConditions]) -> WindowConditions:
    """Joins batches along the batch axis."""
    return WindowConditions(
        *(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(WindowConditions))
    )


def drop(conditions: WindowConditions, rates: DropoutConfig, uniform: Tensor) -> WindowConditions:
    """Drops conditions at random for training (VASA-1, section 3.2).

    uniform: (B, 7) numbers in [0, 1): one column per entry of DROPPED and a last one for how much of the tail
    goes. They come from outside so that they can be a function of (seed, sample position). X_pre and A_pre
    drop together (not said in the paper): that is how they are absent in a first window.
    """
    wanted = (len(conditions), len(DROPPED) + 1)
    if tuple(uniform.shape) != wanted:
        raise ValueError(f"uniform has shape {tuple(uniform.shape)}; wanted {wanted}.")
    keep = {name: uniform[:, i] >= getattr(rates, name) for i, name in enumerate(DROPPED)}
    num_frames = conditions.audio.shape[1]
    tail = (1 + uniform[:, -1] * (num_frames - 1)).long()  # 1 .. W - 1 frames lost
    frame = torch.arange(num_frames, device=uniform.device)
    before_tail = frame < (num_frames - tail)[:, None]  # (B, W)
    return replace(
        conditions,
        has_audio=conditions.has_audio & keep["audio"][:, None] & (keep["audio_tail"][:, None] | before_tail),
        has_history=conditions.has_history & keep["history"],
        has_gaze=conditions.has_gaze & keep["gaze"],
        has_distance=conditions.has_distance & keep["distance"],
        has_emotion=conditions.has_emotion & keep["emotion"],
    )
