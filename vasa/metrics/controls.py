"""Whether a video shows what was asked of it: gaze, distance and emotion, and nothing else besides.

``asked`` is what a job's sidecar says: gaze_yaw and gaze_pitch in degrees, distance as a ratio (1 is the
portrait's framing), emotion as a name, a mixture ("happy:0.7+surprise:0.3") or a dict of names to weights.
What is seen has the same units, so that an error does too.

Distance is the head's size in the frame over its size in the portrait, where there is one (else the reference
distance of records.py). It can only be seen where the frames keep the framing that the video was made with:
in square ones, which are taken as they are. A square fitted anew to each video's face would make every
distance 1, so videos of other proportions have no distance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from vasa.data.synthetic.dynamics import main_direction
from vasa.metrics.correlation import spearman
from vasa.metrics.pose import DEGREES
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.metrics.seen import Seen
from vasa.pretrained.expression import blink
from vasa.pretrained.judges import Measurement
from vasa.records import CONTROL_HIGH, CONTROL_INDEX, EMOTIONS

SCALARS = ("gaze_yaw", "gaze_pitch", "distance")
CONTROLS = (*SCALARS, "emotion")
_FEELINGS = EMOTIONS[1:]
"""Neutral is what the others leave of 1."""
DEFAULTS = {"gaze_yaw": 0.0, "gaze_pitch": 0.0, "distance": 1.0}
"""What a job that does not ask for a control is taken to ask for; and no emotion."""
SPANS = {
    "gaze_yaw": 2 * math.degrees(CONTROL_HIGH[CONTROL_INDEX["gaze_yaw"]]),
    "gaze_pitch": 2 * math.degrees(CONTROL_HIGH[CONTROL_INDEX["gaze_pitch"]]),
    "distance": 0.7,
    "emotion": 1.0,
}
"""How far each control reaches (distance: 0.7 to 1.4): leaks are shares of it."""
EYES_OPEN = 0.5
"""Mean closure of the lids under which a gaze can be seen."""


class ControlsMetric:
    """Columns, per clip: <control>_seen of everything that can be asked for (each feeling by its name), and
    <control>_error of what was: degrees, ratio, and for emotion half the sum of the weights' differences (0
    to 1). Of a row: see ``summarise_controls``.

    seen: cuts by the crop rule. uncut: takes square frames as they are.
    """

    name = "controls"

    def __init__(self, seen: Seen, uncut: Seen) -> None:
        self._seen, self._uncut = seen, uncut

    @property
    def identity(self) -> dict[str, Any]:
        return {"metric": "controls", "version": 3, **self._seen.identity}

    @property
    def label(self) -> str:
        return (
            "asked against seen by our judges: gaze in degrees relative to the head, distance as a ratio to "
            "the portrait's; over the row: monotony (Spearman) and the largest leak into another control"
        )

    def measure(self, clip: EvalClip) -> dict[str, float]:
        """Numbers by column. Raises: Unscored where nothing was asked, or without a face."""
        if not any(name in clip.asked for name in CONTROLS):
            raise Unscored("no control was asked for")
        framed = bool(clip.asked.get("framed")) and is_square(clip.frames)
        look = (self._uncut if framed else self._seen)(clip.frames)
        seen = seen_controls(look, self._seen.judges.felt(look))
        seen["distance"] = self._distance(clip)
        columns = {f"{name}_seen": value for name, value in seen.items()}
        for name in SCALARS:
            if clip.asked.get(name) is not None:
                columns[f"{name}_error"] = abs(seen[name] - float(clip.asked[name]))
        if clip.asked.get("emotion") is not None:
            asked = emotion_weights(clip.asked["emotion"])
            felt = np.array([seen[name] for name in EMOTIONS])
            columns["emotion_error"] = float(np.abs(felt - asked).sum() / 2)
        return columns

    def _distance(self, clip: EvalClip) -> float:
        """Mean distance over the frames, over the portrait's; NaN in frames that are not square."""
        if not is_square(clip.frames):
            return math.nan
        made = float(self._uncut(clip.frames).pose[:, 5].neg().exp().mean())
        portrait = None if clip.portrait is None else clip.portrait[None]
        if portrait is None or not is_square(portrait):
            return made
        return made / float(self._uncut(portrait).pose[0, 5].neg().exp())

    def of_row(
        self, asked: Sequence[Mapping[str, Any]], columns: Sequence[Mapping[str, float]]
    ) -> dict[str, float]:
        """Monotony and leak over the clips of a row; nothing where nothing was varied."""
        found = summarise_controls(asked, columns)
        return {name: value for name, value in found.items() if not name.endswith("_error")}


def is_square(frames: np.ndarray) -> bool:
    """Whether frames (T, H, W, 3) are as high as wide."""
    return frames.shape[1] == frames.shape[2]


def seen_controls(look: Measurement, felt: Tensor) -> dict[str, float]:
    """What T frames show: the main direction of the open eyes (degrees), felt (8,) by name.

    The main direction is a clip's gaze condition in training too: the mean of the fullest cell of a histogram
    and its neighbours (VASA-1, section 3.2). Where the eyes never open, all frames count.
    """
    controls = look.controls
    is_open = blink(controls) < EYES_OPEN
    gaze = controls[is_open if is_open.any() else slice(None), :2].numpy()
    yaw, pitch = main_direction(gaze) * DEGREES
    feelings = {name: float(weight) for name, weight in zip(EMOTIONS, felt, strict=True)}
    return {"gaze_yaw": float(yaw), "gaze_pitch": float(pitch), **feelings}


def emotion_weights(asked: str | Mapping[str, float]) -> np.ndarray:
    """Weights (8,) over EMOTIONS that sum to 1; neutral takes what the others leave.

    Raises: ValueError for a name that is none of EMOTIONS or a weight that is no number.
    """
    if isinstance(asked, str):
        parts = [part.strip().partition(":") for part in asked.split("+")]
        asked = {name.strip(): float(weight) if colon else 1.0 for name, colon, weight in parts}
    weights = np.zeros(len(EMOTIONS))
    for name, weight in asked.items():
        if name not in EMOTIONS:
            raise ValueError(
                f"a sidecar asks for the emotion {name!r}; wanted some of {', '.join(EMOTIONS)}."
            )
        weights[EMOTIONS.index(name)] += float(weight)
    weights[0] += 1 - weights.sum()
    return weights


def summarise_controls(
    asked: Sequence[Mapping[str, Any]], columns: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Over clips: <control>_error, mean; <control>_monotony, Spearman's r of asked and seen; <control>_leak.

    asked: sidecars; columns: what ``ControlsMetric.measure`` gave for each. A control that is never asked for
    with two values has neither monotony nor leak. Monotony is that of its own sweep, where there is one;
    emotion's is the mean over feelings that were asked for.

    A leak is what one control does to the others: all that is seen is regressed on all that was asked (so
    sweeps of one control and jobs that vary all of them serve alike), and the part of the control in the
    others, over the range it was asked in, is divided by their SPANS; the largest counts. 0 is ideal; 0.1
    moves something else by a tenth of its reach. Raises: ValueError when the two lists differ in length or
    are empty.
    """
    if len(asked) != len(columns) or not asked:
        raise ValueError(f"{len(asked)} sidecars against {len(columns)} clips; wanted as many, at least one.")
    names = (*SCALARS, *_FEELINGS)
    wanted = np.array([_row(one) for one in asked])  # (clips, names)
    seen = np.array([[one[f"{name}_seen"] for name in names] for one in columns])
    seen[:, ~np.isfinite(seen).all(0)] = 0.0  # what some clips do not show (distance) is held still
    effects = _effects(wanted, seen)
    found: dict[str, float] = {}
    for control in CONTROLS:
        errors = [one[f"{control}_error"] for one in columns if f"{control}_error" in one]
        if errors:
            found[f"{control}_error"] = float(np.mean(errors))
        own = [i for i, name in enumerate(names) if (name if name in SCALARS else "emotion") == control]
        varied = [i for i in own if np.ptp(wanted[:, i]) > 0]
        if varied:
            monotony = [_monotony(i, wanted, seen) for i in varied]
            found[f"{control}_monotony"] = float(np.mean(monotony))
            others = [j for j in range(len(names)) if j not in own]
            found[f"{control}_leak"] = float(effects[np.ix_(varied, others)].max())
    return found


def _monotony(i: int, wanted: np.ndarray, seen: np.ndarray) -> float:
    """Spearman's r of one value over the clips in which nothing else is asked for (a sweep and where it
    starts from), or over all where each clip asks for everything.
    """
    defaults = np.array([DEFAULTS.get(name, 0.0) for name in (*SCALARS, *_FEELINGS)])
    others = np.delete(wanted == defaults, i, axis=1).all(1)
    some = others if len(set(wanted[others, i].tolist())) > 1 else np.ones_like(others)
    return spearman(wanted[some, i], seen[some, i])


def _row(asked: Mapping[str, Any]) -> list[float]:
    """What a sidecar asks for, in the order of SCALARS and the feelings."""
    values = [asked.get(name) for name in SCALARS]
    weights = emotion_weights(asked.get("emotion") or {})
    scalars = [DEFAULTS[n] if v is None else float(v) for n, v in zip(SCALARS, values, strict=True)]
    return [*scalars, *weights[1:].tolist()]


def _effects(wanted: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """How far (asked i, seen j) each seen value moves with each asked one, over the range it was asked in and
    in shares of SPANS; least squares of the least norm, so a value that never changes moves nothing.
    """
    spans = np.array([SPANS[name] for name in SCALARS] + [SPANS["emotion"]] * len(_FEELINGS))
    centred = (wanted - wanted.mean(0)) / spans
    slopes = np.linalg.lstsq(centred, (seen - seen.mean(0)) / spans, rcond=1e-6)[0]
    return np.abs(slopes) * (np.ptp(wanted, axis=0) / spans)[:, None]
