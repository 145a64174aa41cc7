"""What synthetic clips know about themselves, against what the frames show: the measuring rod of all judges.

A job file whose ``truth`` names a synthetic clip (split, index, options) brings back its exact animation, or
with ``pose_index`` the head of another one under its expression. On the row of true videos these numbers are
the judges' ceiling. On spoken ones the mouth is the sound's and should follow the truth, while blinks and
head motion are free and need not. Reenactment should follow in everything: the degrees by which the row of
swapped expressions is worse than the row of self-reenactment are what dynamics do to the pose.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vasa.checkpoint import from_plain
from vasa.data.config import ClipsConfig
from vasa.data.synthetic.clips import SyntheticClips
from vasa.data.trials import speaking
from vasa.metrics.correlation import pearson
from vasa.metrics.pose import DEGREES
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.metrics.seen import Seen
from vasa.records import CONTROL_INDEX, Clip

COLUMNS = {
    "mouth_r": ("jaw",),
    "lip_width_r": ("lip_width",),
    "pucker_r": ("lip_pucker",),
    "smile_r": ("smile",),
    "blink_r": ("blink_left", "blink_right"),
    "gaze_x_r": ("gaze_yaw",),
    "gaze_y_r": ("gaze_pitch",),
}
MOVING = 0.02
"""Standard deviation of a true control under which it has no course to follow."""


class TruthMetric:
    """r of each control's course with the true animation, and the head's distance from it; a ClipMetric."""

    name = "truth"

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    @property
    def identity(self) -> dict[str, Any]:
        return {"columns": list(COLUMNS), **self._seen.identity}

    @property
    def label(self) -> str:
        return (
            "Pearson's r of the judges' readings with the synthetic clip's exact animation, mean absolute "
            "error of head angles in degrees; the real row is the judges' ceiling"
        )

    def measure(self, clip: EvalClip) -> dict[str, float]:
        """r by control (NaN where the truth holds still), pose_error_deg, mouth_gain (spread made / true).

        Raises: Unscored where there is no truth or no face.
        """
        true = true_clip(clip.asked)
        if true is None:
            raise Unscored("no synthetic truth")
        animation = true.truth.animation
        assert animation is not None
        seen = self._seen(clip.frames)
        pose = true_pose(clip.asked)
        length = min(len(seen.controls), len(animation), len(pose))
        made, wanted = seen.controls[:length], animation.controls[:length]
        values = {name: _course(made, wanted, controls) for name, controls in COLUMNS.items()}
        if not speaking(true):
            values["mouth_r"] = float("nan")
        error = (seen.pose[:length, :3] - pose[:length, :3]).abs().mean(0) * DEGREES
        values |= {
            f"{axis}_error_deg": float(e) for axis, e in zip(("yaw", "pitch", "roll"), error, strict=True)
        }
        jaw = CONTROL_INDEX["jaw"]
        values["mouth_gain"] = float(made[:, jaw].std() / wanted[:, jaw].std().clamp(min=MOVING))
        return values


def true_clip(asked: dict[str, Any]) -> Clip | None:
    """The synthetic clip that a job file's ``truth`` names, without frames; None where it names none."""
    truth = asked.get("truth")
    if not truth:
        return None
    config = from_plain(ClipsConfig, truth["clips"], "truth.clips")
    return SyntheticClips(truth["split"], config).animation_only(int(truth["index"]))


def true_pose(asked: dict[str, Any]) -> Tensor:
    """The true head (T, 6) of a job file that has a ``truth``."""
    truth = asked["truth"]
    head = true_clip({"truth": {**truth, "index": truth.get("pose_index", truth["index"])}})
    assert head is not None and head.truth.animation is not None
    return head.truth.animation.pose


def _course(made: Tensor, wanted: Tensor, controls: tuple[str, ...]) -> float:
    columns = [CONTROL_INDEX[name] for name in controls]
    a, b = made[:, columns].mean(1), wanted[:, columns].mean(1)
    return float(pearson(a, b)) if float(b.std()) > MOVING else float("nan")
