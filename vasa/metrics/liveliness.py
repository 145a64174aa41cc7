"""Whether a face lives: how much each region moves, blinks, rests in silence, and how much seeds differ.

Controls are read by the expression judge and angles by the pose judge, so amplitudes shrink and jitter grows
by what they get wrong, alike for every method and for real video. Controls are in the units of records.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vasa.metrics.blinks import blinks_per_min
from vasa.metrics.controls import EYES_OPEN
from vasa.metrics.pose import DEGREES
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.metrics.seen import Seen
from vasa.metrics.sync import silent_frames
from vasa.pretrained.expression import blink
from vasa.pretrained.judges import Measurement
from vasa.records import CONTROL_INDEX, VIDEO_FPS

_CONTROLS = {
    "mouth": ("jaw", "lip_width", "lip_pucker", "lip_press", "smile"),
    "brows": ("brow_raise", "frown"),
    "lids": ("blink_left", "blink_right"),
    "gaze": ("gaze_yaw", "gaze_pitch"),
}
REGIONS = (*_CONTROLS, "head")
"""Gaze and head in degrees, the others in control units."""

SILENT_AT_LEAST = 5
"""Silent frames under which stillness is not measured."""


def tracks(seen: Measurement) -> dict[str, Tensor]:
    """Region -> its track (T, n): controls as they are, angles in degrees."""
    found = {
        region: seen.controls[:, [CONTROL_INDEX[name] for name in names]]
        for region, names in _CONTROLS.items()
    }
    return {**found, "gaze": found["gaze"] * DEGREES, "head": seen.pose[:, :3] * DEGREES}


def amplitudes(seen: Measurement) -> dict[str, float]:
    """Region -> standard deviation over the frames of its track (T, n), mean over n; the gaze's over frames
    with open eyes, because what is read behind lids is noise.
    """
    found = tracks(seen)
    found["gaze"] = found["gaze"][blink(seen.controls) < EYES_OPEN]
    return {
        region: float(track.std(0, correction=0).mean()) if len(track) else 0.0
        for region, track in found.items()
    }


def speed(track: Tensor) -> Tensor:
    """Mean absolute change a second of a track (T, n), smoothed over three frames first: (T - 1,)."""
    padded = torch.cat([track[:1], track, track[-1:]])
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    return (smooth[1:] - smooth[:-1]).abs().mean(1) * VIDEO_FPS


class LivelinessMetric:
    """Columns: <region>_amplitude for REGIONS (see ``amplitudes``), and <region>_of_real where the clip has
    its true video: the ratio to its amplitude; blinks_per_min; brow_activity, lid_activity: change a second;
    mouth_in_silence: the same of the mouth, in silence, where there is any; jitter: mean absolute second
    difference of mouth and brows, in control units a frame squared.
    """

    name = "liveliness"

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    @property
    def identity(self) -> dict[str, Any]:
        return {"metric": "liveliness", "version": 1, **self._seen.identity}

    @property
    def label(self) -> str:
        return "motion by region, by our expression and pose judges: compare with the real row"

    def measure(self, clip: EvalClip) -> dict[str, float]:
        """Numbers by column. Raises: Unscored under one second or without a face."""
        if len(clip.frames) < VIDEO_FPS:
            raise Unscored("shorter than 1 s")
        seen = self._seen(clip.frames)
        found = tracks(seen)
        columns = {f"{region}_amplitude": value for region, value in amplitudes(seen).items()}
        if clip.reference is not None and len(clip.reference) >= VIDEO_FPS:
            for region, true in amplitudes(self._seen(clip.reference)).items():
                columns[f"{region}_of_real"] = columns[f"{region}_amplitude"] / max(true, 1e-6)
        columns["blinks_per_min"] = blinks_per_min(blink(seen.controls))
        columns["brow_activity"] = float(speed(found["brows"]).mean())
        columns["lid_activity"] = float(speed(found["lids"]).mean())
        if clip.audio is not None:
            columns |= in_silence(found["mouth"], clip.audio)
        moving = torch.cat([found["mouth"], found["brows"]], 1)
        columns["jitter"] = float((moving[2:] - 2 * moving[1:-1] + moving[:-2]).abs().mean())
        return columns


class SeedSpread:
    """How much samples of one job (other seeds, same sound) differ: see ``spread_over_seeds``. A
    SampleMetric.
    """

    name = "seeds"

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    @property
    def identity(self) -> dict[str, Any]:
        return {"metric": "seeds", "version": 1, **self._seen.identity}

    @property
    def label(self) -> str:
        return "how far two samples of one sound differ, by region; 0: the same video whatever the seed"

    def features(self, clip: EvalClip) -> Tensor:
        """Tracks of all regions (T, n), side by side. Raises: Unscored."""
        return torch.cat(list(tracks(self._seen(clip.frames)).values()), 1)

    def spread(self, samples: list[Tensor]) -> dict[str, float]:
        widths = [*(len(names) for names in _CONTROLS.values()), 3]
        return spread_over_seeds([dict(zip(REGIONS, s.split(widths, 1), strict=True)) for s in samples])


def in_silence(mouth: Tensor, audio: np.ndarray) -> dict[str, float]:
    """Speed of a mouth's track (T, n) where its sound has long been silent; nothing where it never is."""
    moving = speed(mouth)
    silent = silent_frames(audio)[1 : len(moving) + 1]
    moving = moving[: len(silent)]
    if int(silent.sum()) < SILENT_AT_LEAST:
        return {}
    return {"mouth_in_silence": float(moving[silent].mean())}


def spread_over_seeds(samples: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """<region>_spread for REGIONS: root mean square difference of two samples' ``tracks``, mean over pairs,
    cut to the shorter. 0 for a method that always makes the same video.

    Raises: ValueError for fewer than two samples.
    """
    if len(samples) < 2:
        raise ValueError(f"the spread over seeds of {len(samples)} sample was asked for; wanted at least 2.")
    found = {}
    for region in REGIONS:
        pairs = []
        for one, other in combinations([sample[region] for sample in samples], 2):
            length = min(len(one), len(other))
            pairs.append(float((one[:length] - other[:length]).square().mean().sqrt()))
        found[f"{region}_spread"] = sum(pairs) / len(pairs)
    return found
