"""How well a person was learned: frames that were never learned from, made by the adapted checkpoint, by the
unadapted one and by copying, against what the video shows.

The protocol of a checkpoint's own table (data/trials.py): a clip is driven by itself from its first frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vasa.data.trials import to_float, to_uint8
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.person import Person
from vasa.face.volumetric.personal_face import PersonalFace
from vasa.metrics.correlation import pearson
from vasa.metrics.video import psnr, sharpness
from vasa.pretrained.judges import Judges
from vasa.records import CONTROL_INDEX
from vasa.training.personalise_step import Seen

CHUNK = 16
STILL_RAD = 0.035
"""Standard deviation of a true gaze, 2 degrees, below which a correlation with it says nothing."""


@dataclass(slots=True)
class Scores:
    """Of F unseen frames. dB in the face's box, means; gaze: Pearson's r of what the judge reads in made and
    true frames, yaw and pitch, adapted and unadapted; None where the true gaze stands still. true, unadapted,
    adapted: uint8 (F, 3, S, S).
    """

    copied_db: float
    unadapted_db: float
    adapted_db: float
    sharpness: float
    gaze: tuple[float | None, float | None]
    unadapted_gaze: tuple[float | None, float | None]
    true: Tensor
    unadapted: Tensor
    adapted: Tensor

    def numbers(self) -> dict[str, float | list[float | None]]:
        """As plain data, rounded."""
        return {
            "unseen_frames": len(self.true),
            "psnr_copied_db": round(self.copied_db, 2),
            "psnr_unadapted_db": round(self.unadapted_db, 2),
            "psnr_adapted_db": round(self.adapted_db, 2),
            "gain_over_copying_db": round(self.adapted_db - self.copied_db, 2),
            "gain_over_unadapted_db": round(self.adapted_db - self.unadapted_db, 2),
            "sharpness_of_true": round(self.sharpness, 3),
            "gaze_r": [_rounded(r) for r in self.gaze],
            "gaze_r_unadapted": [_rounded(r) for r in self.unadapted_gaze],
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


@torch.inference_mode()
def measure(
    space: FaceAutoencoder, person: Person, first: Tensor, points: Tensor, unseen: Seen, judges: Judges
) -> Scores:
    """first (3, S, S): the video's first frame, of which the unadapted checkpoint is given points (5, 2),
    too."""
    device = unseen.motion.device
    seen_points = points[None].to(device) if bool(points.isfinite().all()) else None
    appearance = space.encode(to_float(first[None]).to(device), seen_points)
    face = PersonalFace(space, person)
    someone = face.encode_person(space.size)
    made: dict[str, list[Tensor]] = {"unadapted": [], "adapted": []}
    for part in torch.arange(len(unseen), device=device).split(CHUNK):
        made["unadapted"].append(to_uint8(space.render(appearance, unseen.motion[part])).cpu())
        motion = face.motion(to_float(unseen.frames[part]))
        made["adapted"].append(to_uint8(face.render(someone, motion)).cpu())
    true, boxes = unseen.frames.cpu(), unseen.boxes.cpu()
    unadapted, adapted = (torch.cat(made[name]) for name in ("unadapted", "adapted"))
    copied = first[None].cpu().expand_as(true)
    said = [_gaze(judges, frames) for frames in (true, adapted, unadapted)]
    sharp = [float(sharpness(to_float(frames), boxes).mean()) for frames in (adapted, true)]

    def db(frames: Tensor) -> float:
        return float(psnr(to_float(frames), to_float(true), boxes).mean())

    return Scores(
        db(copied),
        db(unadapted),
        db(adapted),
        sharp[0] / max(sharp[1], 1e-9),
        _agreement(said[0], said[1]),
        _agreement(said[0], said[2]),
        true,
        unadapted,
        adapted,
    )


def _gaze(judges: Judges, frames: Tensor) -> Tensor:
    """Yaw and pitch (F, 2), radians, that the judge reads."""
    return judges.measure(frames).controls[:, [CONTROL_INDEX["gaze_yaw"], CONTROL_INDEX["gaze_pitch"]]]


def _agreement(true: Tensor, made: Tensor) -> tuple[float | None, float | None]:
    found = [
        None if float(t.std()) < STILL_RAD else float(pearson(t, m))
        for t, m in zip(true.unbind(1), made.unbind(1), strict=True)
    ]
    return found[0], found[1]
