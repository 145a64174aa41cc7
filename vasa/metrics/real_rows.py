"""Rows of a checkpoint's table that are measured on real recordings, clips and photographs.

There is no truth here but the pixels and the sound. Receives frames, never a model of ours.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vasa.data.trials import Photograph, RealClip, Recording, SpokenClip, speaking, to_float
from vasa.metrics.correlation import pearson
from vasa.metrics.report import Row
from vasa.metrics.sync import opening_against_energy, silent_frames
from vasa.metrics.video import psnr, sharpness
from vasa.pretrained.detector import Detector
from vasa.pretrained.judges import Judges
from vasa.records import CONTROL_INDEX

JAW = CONTROL_INDEX["jaw"]
CLOSED = 0.2
"""Jaw opening below which a mouth counts as closed."""


def recording_rows(
    recordings: list[Recording], spoken: list[SpokenClip], judges: Judges, missing: str
) -> list[Row]:
    """Mouths that open with real speech and close in silence.

    spoken: synthetic clips, whose own mouths say how well any mouth follows loudness.
    """
    names = (
        "real recordings: mouth opening against speech energy",
        "real recordings: mouth closed in silence, of silent frames",
    )
    if not recordings:
        return [Row(name=name, value=None, note=missing) for name in names]
    opening = [judges.measure(r.made).controls[:, JAW] for r in recordings]
    each = [opening_against_energy(o, r.audio) for o, r in zip(opening, recordings, strict=True)]
    silent = torch.cat([o[silent_frames(r.audio)] for o, r in zip(opening, recordings, strict=True)])
    note = ", ".join(f"{r.name} {value:.2f}" for r, value in zip(recordings, each, strict=True))
    mean = sum(each) / len(each)
    return [
        Row(
            name=names[0], value=mean, unit="r", target=0.5, ceiling=_own_mouths(spoken), note=f"mean; {note}"
        ),
        Row(
            name=names[1],
            value=100 * float((silent < CLOSED).float().mean()) if len(silent) else None,
            unit="%",
            target=95.0,
            note=f"{len(silent)} frames, jaw below {CLOSED}, mean {float(silent.mean()):.2f}"
            if len(silent)
            else "no silence",
        ),
    ]


def _own_mouths(clips: list[SpokenClip]) -> str:
    animated = [(c.clip.truth.animation, c.clip.audio) for c in clips if speaking(c.clip)]
    own = [opening_against_energy(a.controls[:, JAW], audio) for a, audio in animated if a is not None]
    return f"r {_mean(own):.2f} of true mouths of synthetic speech" if own else ""


def real_clip_rows(clips: list[RealClip], missing: str) -> list[Row]:
    """Self-reenactment of real video against copying and against the untrained warp; means of clips."""
    names = (
        "real clips: PSNR in the face box, gain over copying the first frame",
        "real clips: PSNR in the face box, gain over the untrained warp",
        "real clips: the untrained warp's gain over copying (baseline)",
        "real clips: sharpness in the face box, of the untrained warp's",
    )
    if not clips:
        return [Row(name=name, value=None, note=missing) for name in names]
    copied = [_face_psnr(c, c.source[None].expand_as(c.true)) for c in clips]
    made = [_face_psnr(c, c.made) for c in clips]
    each = _each([c.name for c in clips], [m - c for m, c in zip(made, copied, strict=True)])
    note = f"{_mean(made):.2f} against {_mean(copied):.2f} dB; {each}"
    rows = [Row(name=names[0], value=_mean(made) - _mean(copied), unit="dB", target=2.5, note=note)]
    warps = [c.warped for c in clips if c.warped is not None]
    if len(warps) < len(clips):
        return rows + [
            Row(name=n, value=None, note="this face space has no untrained warp") for n in names[1:]
        ]
    warped = [_face_psnr(c, w) for c, w in zip(clips, warps, strict=True)]
    sharp = [_sharpness(c.made, c.boxes) / _sharpness(w, c.boxes) for c, w in zip(clips, warps, strict=True)]
    gain = _mean(warped) - _mean(copied)
    return [
        *rows,
        Row(name=names[1], value=_mean(made) - _mean(warped), unit="dB", target=0.0),
        Row(name=names[2], value=gain, unit="dB", note=f"{_mean(warped):.2f} dB"),
        Row(name=names[3], value=_mean(sharp), target=0.95),
    ]


def _face_psnr(clip: RealClip, frames: Tensor) -> float:
    return float(psnr(to_float(frames), to_float(clip.true), clip.boxes).mean())


def _sharpness(frames: Tensor, boxes: Tensor) -> float:
    return float(sharpness(to_float(frames), boxes).mean().clamp(min=1e-9))


def photograph_rows(
    photographs: list[Photograph], judges: Judges, detector: Detector | None, missing: str
) -> list[Row]:
    """Photographs and paintings: sharpness, faces found again, commanded turns, mouths with sound."""
    names = (
        "photographs: sharpness of the face, of the source's",
        "photographs: face found again, of all frames",
        "photographs: commanded against measured yaw within 15 degrees",
        "photographs: mouth opens with the audio, against the mouth that belongs to it",
    )
    if not photographs:
        return [Row(name=name, value=None, note=missing) for name in names]
    sharp, turned, opening, found = [], [], [], []
    for photo in photographs:
        box = photo.box[None]
        kept = _sharpness(photo.made, box.expand(len(photo.made), -1))
        sharp.append(kept / _sharpness(photo.source[None], box))
        turned.append(float(pearson(judges.measure(photo.turned).pose[:, 0], photo.commanded_yaw)))
        jaw = judges.measure(photo.made).controls[:, JAW]
        opening.append(float(pearson(jaw, photo.jaw)))
        if detector is not None:
            found += [bool(detector.detect(_pixels(f))) for f in torch.cat([photo.made[::5], photo.turned])]
    labels = [photo.name for photo in photographs]
    again = 100 * sum(found) / len(found) if found else None
    by = f"{len(found)} frames, by {detector.name}" if detector is not None else "no detector was given"
    return [
        Row(name=names[0], value=_mean(sharp), target=0.85, note=_each(labels, sharp)),
        Row(name=names[1], value=again, unit="%", target=99.0, note=by),
        Row(name=names[2], value=_mean(turned), unit="r", target=0.9, note=_each(labels, turned)),
        Row(name=names[3], value=_mean(opening), unit="r", target=0.5, note=_each(labels, opening)),
    ]


def _pixels(frame: Tensor) -> np.ndarray:
    return frame.permute(1, 2, 0).contiguous().numpy()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _each(names: list[str], values: list[float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in zip(names, values, strict=True))
