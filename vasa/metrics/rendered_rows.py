"""Rows of a checkpoint's table that are measured on rendered people and synthetic speech, where the truth
is known.

Each value stands beside the same judge's value on true renders: the ceiling. Receives frames, never a model
of ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vasa.data.trials import AskedClip, Reenactment, ReenactmentTrial, SpokenClip, speaking, to_float
from vasa.metrics.correlation import mean_over_clips, pearson, share_of_ceiling, shuffled_over_clips
from vasa.metrics.identity import change_share, distance_between_people, verification_accuracy
from vasa.metrics.pose import DEGREES, axis_errors, error_beyond_judge, jitter_ratio
from vasa.metrics.report import Row
from vasa.metrics.video import psnr
from vasa.pretrained.judges import Judges, Measurement
from vasa.records import CONTROL_INDEX

JAW = CONTROL_INDEX["jaw"]
KINDS = ("self", "cross", "swap")
DYNAMICS = (
    ("blink", ("blink_left", "blink_right"), 0.9),
    ("jaw", ("jaw",), 0.9),
    ("lip width", ("lip_width",), 0.75),
    ("smile", ("smile",), 0.75),
    ("gaze x", ("gaze_yaw",), 0.85),
    ("gaze y", ("gaze_pitch",), 0.85),
)
"""Name, controls averaged, and the share of the judge's own r that must reach the pixels."""


def reenactment_rows(made: Reenactment, judges: Judges, psnr_gain_db: float) -> list[Row]:
    """Picture quality, pose, dynamics and disentanglement on unseen people."""
    trial = made.trial
    seen = {f"true_{kind}": judges.measure(getattr(trial, f"true_{kind}")) for kind in KINDS}
    seen |= {f"made_{kind}": judges.measure(getattr(made, f"made_{kind}")) for kind in KINDS}
    return [
        *_picture_rows(made, psnr_gain_db),
        _pose_row(trial, seen),
        *_dynamics_rows(trial, seen),
        *_swap_rows(trial, seen),
    ]


def _picture_rows(made: Reenactment, psnr_gain_db: float) -> list[Row]:
    trial = made.trial
    true, source = to_float(trial.true_self), to_float(trial.source)
    copied = psnr(source, true).mean()
    own = psnr(to_float(made.made_self), true).mean()
    cross = psnr(to_float(made.made_cross), to_float(trial.true_cross)).mean()
    return [
        Row(
            name="self-reenactment: PSNR gain over copying the source",
            value=float(own - copied),
            unit="dB",
            target=psnr_gain_db,
            note=f"{float(own):.2f} dB against {float(copied):.2f} dB",
        ),
        Row(
            name="cross-reenactment against true cross renders, below self",
            value=float(own - cross),
            unit="dB",
            target=1.0,
            at_most=True,
            note=f"{float(cross):.2f} dB",
        ),
    ]


def _pose_row(trial: ReenactmentTrial, seen: dict[str, Measurement]) -> Row:
    pose = trial.animation.pose
    wanted = torch.cat([pose, pose.roll(-1, 0)])
    made = torch.cat([seen["made_self"].pose, seen["made_cross"].pose])
    true = torch.cat([seen["true_self"].pose, seen["true_cross"].pose])
    beyond, _ = error_beyond_judge(made, true, wanted)
    own = ", ".join(f"{float(e):.1f}" for e in axis_errors(true, wanted))
    total = ", ".join(f"{float(e):.1f}" for e in axis_errors(made, wanted))
    return Row(
        name="head pose against the driver, worst axis, beyond the judge's own error",
        value=beyond,
        unit="degrees",
        target=3.0,
        at_most=True,
        ceiling=f"{own} degrees",
        note=f"yaw, pitch, roll in all: {total} degrees",
    )


def _dynamics_rows(trial: ReenactmentTrial, seen: dict[str, Measurement]) -> Iterator[Row]:
    controls = trial.animation.controls
    wanted = torch.cat([controls, controls.roll(-1, 0)])
    made = torch.cat([seen["made_self"].controls, seen["made_cross"].controls])
    true = torch.cat([seen["true_self"].controls, seen["true_cross"].controls])
    lids = _column(wanted, ("blink_left", "blink_right"))
    for name, columns, target in DYNAMICS:
        keep = lids < 0.5 if name.startswith("gaze") else torch.ones_like(lids, dtype=torch.bool)
        values = [_column(x, columns)[keep] for x in (made, true, wanted)]
        share, ceiling = share_of_ceiling(*values)
        yield Row(
            name=f"dynamics reaching the pixels: {name}, share of the judge's r",
            value=float(share),
            target=target,
            ceiling=f"r {float(ceiling):.2f}",
            note="where the eyes are open" if name.startswith("gaze") else "",
        )


def _swap_rows(trial: ReenactmentTrial, seen: dict[str, Measurement]) -> list[Row]:
    def turn(after: str, before: str) -> Tensor:
        return (seen[after].pose - seen[before].pose)[:, :3].abs().mean(0) * DEGREES

    between = distance_between_people(seen["true_self"].identity, trial.people)
    made = change_share(seen["made_self"].identity, seen["made_swap"].identity, between)
    true = change_share(seen["true_self"].identity, seen["true_swap"].identity, between)
    both = torch.cat([seen["true_self"].identity, seen["true_swap"].identity])
    verified = verification_accuracy(both, torch.cat([trial.people, trial.people]))
    return [
        Row(
            name="z_dyn swapped at fixed pose: change of pose, worst axis",
            value=float(turn("made_swap", "made_self").max()),
            unit="degrees",
            target=1.5,
            at_most=True,
            ceiling=f"{float(turn('true_swap', 'true_self').max()):.1f} degrees",
        ),
        Row(
            name="z_dyn swapped at fixed pose: change of identity, of the distance between people",
            value=100 * made,
            unit="%",
            target=5.0,
            at_most=True,
            ceiling=f"{100 * true:.1f} %; tells people apart in {100 * verified:.1f} % of pairs",
            note="cosine distance",
        ),
    ]


def _column(controls: Tensor, names: tuple[str, ...]) -> Tensor:
    return controls[:, [CONTROL_INDEX[name] for name in names]].mean(1)


# Speech


def speech_rows(clips: list[SpokenClip], judges: Judges) -> list[Row]:
    """Mouth opening against the clip's own animation, its control with shuffled speech, and jitter."""
    measured = [judges.measure(clip.made).controls[:, JAW] for clip in clips]
    animations = [clip.clip.truth.animation for clip in clips]
    wanted = [a.controls[:, JAW] for a in animations if a is not None]
    spoken = [i for i, clip in enumerate(clips) if speaking(clip.clip)]
    measured_s, wanted_s = [measured[i] for i in spoken], [wanted[i] for i in spoken]
    true = [
        (judges.measure(c.true).controls[:, JAW], wanted[i])
        for i, c in enumerate(clips)
        if c.true is not None and i in spoken
    ]
    ceiling = f"r {mean_over_clips([t for t, _ in true], [w for _, w in true]):.2f}" if true else ""
    tracks = [a.pose for a in animations if a is not None]
    note = f"mean over {len(spoken)} clips in which somebody speaks"
    return [
        Row(
            name="audio-driven mouth opening on unseen speech",
            value=mean_over_clips(measured_s, wanted_s),
            unit="r",
            target=0.85,
            ceiling=ceiling,
            note=note,
        ),
        Row(
            name="the same against another clip's speech",
            value=shuffled_over_clips(measured_s, wanted_s),
            unit="r",
            target=0.15,
            at_most=True,
        ),
        Row(
            name="jitter of the generated head against true motion",
            value=jitter_ratio([clip.track for clip in clips], tracks),
            unit="times",
            target=1.5,
            at_most=True,
        ),
    ]


def condition_rows(asked: list[AskedClip], true: list[AskedClip], judges: Judges) -> list[Row]:
    """What was asked for against what the frames show, over clips."""
    made_r, true_r = _responses(asked, judges), _responses(true, judges)
    targets = {"gaze": 0.8, "distance": 0.95, "emotion": 0.7}
    return [
        Row(
            name=f"{name} asked for against what frames show",
            value=made_r[name],
            unit="r",
            target=target,
            ceiling=f"r {true_r[name]:.2f}",
            note=f"{len(asked)} clips",
        )
        for name, target in targets.items()
    ]


def _responses(clips: list[AskedClip], judges: Judges) -> dict[str, float]:
    """r over clips:

    The worse of gaze yaw and pitch; distance, as asked relative to the portrait's framing; and emotion
    weights over clips and emotions.
    """
    gaze, distance, emotion = [], [], []
    for clip in clips:
        seen = judges.measure(clip.made)
        open_eyed = _column(seen.controls, ("blink_left", "blink_right")) < 0.4
        frames = seen.controls[open_eyed] if open_eyed.any() else seen.controls
        gaze.append(frames[:, :2].mean(0))
        distance.append(seen.pose[:, 5].neg().exp().mean() / clip.framing)
        emotion.append(judges.felt(seen))
    asked_gaze = torch.stack([c.gaze for c in clips])
    asked_emotion = torch.stack([c.emotion for c in clips])[:, 1:]
    return {
        "gaze": float(pearson(torch.stack(gaze), asked_gaze).min()),
        "distance": float(pearson(torch.stack(distance), torch.stack([c.distance for c in clips]))),
        "emotion": float(pearson(torch.stack(emotion)[:, 1:].flatten(), asked_emotion.flatten())),
    }


def speed_row(clips: list[SpokenClip]) -> Row:
    """Frames of motion and rendering per second of one core's time."""
    frames = sum(len(clip.made) for clip in clips)
    seconds = sum(clip.seconds for clip in clips)
    return Row(
        name="frames per second on one CPU core, rendering included",
        value=frames / seconds if seconds > 0 else math.nan,
        target=25.0,
        note="sound to frames, core seconds, without writing the video",
    )
