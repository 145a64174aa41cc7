"""Whether a video shows what was asked of it: gaze, distance and emotion, and nothing else besides.

``asked`` is what a job's sidecar says: gaze_yaw, gaze_pitch and head_yaw, head_pitch, head_roll (turns from
the portrait's own bearing) in degrees, distance as a ratio (1 is the portrait's framing), emotion as a name,
a mixture ("happy:0.7+surprise:0.3") or a dict of names to weights. What is seen has the same units, so that
an error does too.

What judges get wrong is no fault of a video. So a row of true renders that were asked for the same
(TRUE_ROW) tells errors beyond the judges' own, and which emotions they can read at all.

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
from vasa.metrics.blinks import blinks_per_min
from vasa.metrics.correlation import spearman
from vasa.metrics.pose import DEGREES
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.metrics.seen import Seen
from vasa.pretrained.expression import blink
from vasa.pretrained.judges import Measurement
from vasa.records import CONTROL_HIGH, CONTROL_INDEX, EMOTIONS

TURNS = ("head_yaw", "head_pitch", "head_roll")
SCALARS = ("gaze_yaw", "gaze_pitch", "distance", *TURNS)
CONTROLS = (*SCALARS, "emotion")
_FEELINGS = EMOTIONS[1:]
"""Neutral is what the others leave of 1."""
RATE = "blink_rate"
"""Blinks a minute: counted where they are asked for, but too few in a short clip to leak into."""
DEFAULTS = {"gaze_yaw": 0.0, "gaze_pitch": 0.0, "distance": 1.0, **dict.fromkeys(TURNS, 0.0)}
"""What a job that does not ask for a control is taken to ask for; and no emotion."""
SPANS = {
    "gaze_yaw": 2 * math.degrees(CONTROL_HIGH[CONTROL_INDEX["gaze_yaw"]]),
    "gaze_pitch": 2 * math.degrees(CONTROL_HIGH[CONTROL_INDEX["gaze_pitch"]]),
    "distance": 0.7,
    "head_yaw": 60.0,
    "head_pitch": 40.0,
    "head_roll": 40.0,
    "emotion": 1.0,
}
"""How far each control reaches (distance: 0.7 to 1.4): leaks are shares of it."""
EYES_OPEN = 0.5
"""Mean closure of the lids under which a gaze can be seen."""
PLAINLY = 0.7
"""Weight from which on an emotion is asked for so plainly that it should be recognised."""
READABLE = 0.8
"""Share of true renders in which the judge recognises an emotion that it can be trusted with."""
INTO = "_leak_into_"


class ControlsMetric:
    """Columns, per clip: <control>_seen of everything that can be asked for (each feeling by its name), and
    <control>_error of what was: degrees, ratio, and for emotion half the sum of the weights' differences (0
    to 1); <emotion>_recognised, 1 or 0, where one was plainly asked for: whether it is what is seen most. Of
    a row: see ``summarise_controls`` and ``beyond_judges``.

    seen: cuts by the crop rule. uncut: takes square frames as they are.
    """

    name = "controls"

    def __init__(self, seen: Seen, uncut: Seen) -> None:
        self._seen, self._uncut = seen, uncut

    @property
    def identity(self) -> dict[str, Any]:
        return {"metric": "controls", "version": 4, **self._seen.identity}

    @property
    def label(self) -> str:
        return (
            "asked against seen by our judges: gaze in degrees relative to the head, turns in degrees and "
            "distance as a ratio, both to the portrait's; over the row: monotony (Spearman), the largest "
            "leak into another control, errors beyond those of true renders, and emotions recognised among "
            "those that are recognised in at least 80 % of true renders"
        )

    def measure(self, clip: EvalClip) -> dict[str, float]:
        """Numbers by column. Raises: Unscored where nothing was asked, or without a face."""
        if not any(name in clip.asked for name in (*CONTROLS, RATE)):
            raise Unscored("no control was asked for")
        framed = bool(clip.asked.get("framed")) and is_square(clip.frames)
        look = (self._uncut if framed else self._seen)(clip.frames)
        seen = seen_controls(look, self._seen.judges.felt(look))
        seen |= self._placed(clip)
        if clip.asked.get(RATE) is not None:
            seen[RATE] = blinks_per_min(blink(look.controls))
        columns = {f"{name}_seen": value for name, value in seen.items()}
        for name in (*SCALARS, RATE):
            if clip.asked.get(name) is not None:
                columns[f"{name}_error"] = abs(seen[name] - float(clip.asked[name]))
        if clip.asked.get("emotion") is not None:
            asked = emotion_weights(clip.asked["emotion"])
            felt = np.array([seen[name] for name in EMOTIONS])
            columns["emotion_error"] = float(np.abs(felt - asked).sum() / 2)
            if asked[1:].max() >= PLAINLY:
                plain = int(asked.argmax())
                columns[f"{EMOTIONS[plain]}_recognised"] = float(felt.argmax() == plain)
        return columns

    def _placed(self, clip: EvalClip) -> dict[str, float]:
        """Mean distance over the portrait's, and mean turn from the portrait's bearing; NaN in frames that
        are not square.
        """
        names = ("distance", *TURNS)
        if not is_square(clip.frames):
            return dict.fromkeys(names, math.nan)
        made = _bearing(self._uncut(clip.frames))
        portrait = None if clip.portrait is None else clip.portrait[None]
        if portrait is not None and is_square(portrait):
            own = _bearing(self._uncut(portrait))
            made = np.array([made[0] / own[0], *(made[1:] - own[1:])])
        return dict(zip(names, made.tolist(), strict=True))

    def of_row(
        self,
        asked: Sequence[Mapping[str, Any]],
        columns: Sequence[Mapping[str, float]],
        true: tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, float]]] | None = None,
    ) -> dict[str, float]:
        """Monotony and leaks over the clips of a row, nothing where nothing was varied; and, with the row of
        true renders, what is beyond the judges.
        """
        found = summarise_controls(asked, columns)
        own = {name: value for name, value in found.items() if not name.endswith("_error")}
        return own if true is None else {**own, **beyond_judges(columns, true[1])}


def _bearing(seen: Measurement) -> np.ndarray:
    """Mean distance and mean yaw, pitch and roll (degrees) of the frames: (4,)."""
    turns = (seen.pose[:, :3].mean(0) * DEGREES).tolist()
    return np.array([float(seen.pose[:, 5].neg().exp().mean()), *turns])


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
    """Over clips: <control>_error, mean; <control>_monotony, Spearman's r of asked and seen; <control>_leak,
    its largest into another, and <control>_leak_into_<other> for each.

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
        varied = [i for i in _places(control) if np.ptp(wanted[:, i]) > 0]
        if varied:
            monotony = [_monotony(i, wanted, seen) for i in varied]
            found[f"{control}_monotony"] = float(np.mean(monotony))
            into = {other: effects[np.ix_(varied, _places(other))].max() for other in CONTROLS}
            leaks = {f"{control}{INTO}{other}": float(v) for other, v in into.items() if other != control}
            found |= {f"{control}_leak": max(leaks.values()), **leaks}
    if any(one.get(RATE) is not None for one in asked):
        found |= _rates(asked, columns)
    return found


def _places(control: str) -> list[int]:
    """Columns of a control among SCALARS and the feelings."""
    names = (*SCALARS, *_FEELINGS)
    return [i for i, name in enumerate(names) if (name if name in SCALARS else "emotion") == control]


def _rates(asked: Sequence[Mapping[str, Any]], columns: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Error and monotony of blinks, over the clips that were asked for a rate."""
    pairs = [
        (float(one[RATE]), found[f"{RATE}_seen"])
        for one, found in zip(asked, columns, strict=True)
        if one.get(RATE) is not None
    ]
    wanted, seen = np.array(pairs).reshape(-1, 2).T
    found = {f"{RATE}_error": float(np.abs(wanted - seen).mean())}
    if len(set(wanted.tolist())) > 1:
        found[f"{RATE}_monotony"] = spearman(wanted, seen)
    return found


def beyond_judges(
    columns: Sequence[Mapping[str, float]], true: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """What a row gets wrong beyond what true renders of the same requests are read as.

    <control>_beyond: difference of the mean errors. recognised: share of clips whose plainly asked emotion is
    seen, all emotions alike; recognised_readable: the same of emotions that are recognised in READABLE of the
    true renders; num_readable: how many these are.
    """

    def mean(rows: Sequence[Mapping[str, float]], column: str) -> float:
        values = [row[column] for row in rows if column in row]
        return float(np.mean(values)) if values else math.nan

    found = {}
    for control in (*CONTROLS, RATE):
        difference = mean(columns, f"{control}_error") - mean(true, f"{control}_error")
        if math.isfinite(difference):
            found[f"{control}_beyond"] = difference
    shares = {name: mean(columns, f"{name}_recognised") for name in _FEELINGS}
    shares = {name: share for name, share in shares.items() if math.isfinite(share)}
    if shares:
        readable = [name for name in shares if mean(true, f"{name}_recognised") >= READABLE]
        found["recognised"] = float(np.mean(list(shares.values())))
        found["recognised_readable"] = float(np.mean([shares[n] for n in readable])) if readable else math.nan
        found["num_readable"] = float(len(readable))
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
