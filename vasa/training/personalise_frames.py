"""What is known of a person's frames, which of them are kept, and the person that is made of these."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.checkpoint import Weights, load_into
from vasa.data.person_video import PersonVideo
from vasa.data.trials import to_float
from vasa.face.config import PersonConfig
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.person import LOWER_WEIGHTS, UPPER_WEIGHTS, Person
from vasa.metrics.video import sharpness
from vasa.pretrained.crops import face_boxes
from vasa.pretrained.judges import Judges
from vasa.pretrained.landmarks import LandmarkNet
from vasa.records import CONTROL_INDEX, POSE_NAMES
from vasa.training.personalise_step import Seen

CHUNK = 32
LANDMARK_LOOKS = 32
"""Frames that a person's neutral landmarks are the mean of."""
IDENTITY_LOOKS = 8
BLURRED = 0.5
"""Of the median sharpness, below which a frame is not kept."""
MIN_SPREAD = 1e-3
SELDOM = 0.02
"""Share of the frames on either side whose controls count as never shown: readings err."""
CODE_ROOM = 0.1
"""How far beyond what a video shows codes may go, of its range."""
AT_EASE = {
    "blink_left": 2.0,
    "blink_right": 2.0,
    "jaw": 2.0,
    "gaze_yaw": 1.0,
    "gaze_pitch": 1.0,
    "smile": 0.3,
}
"""What a portrait had better not show, and how much it matters against a radian of turning."""


@torch.no_grad()
def look_at(video: PersonVideo, space: FaceAutoencoder, landmarks: LandmarkNet, device: torch.device) -> Seen:
    """Every frame's motion, controls and face."""
    motions, points = [], []
    for part in video.frames.split(CHUNK):
        images = to_float(part).to(device)
        motions.append(space.motion(images))
        points.append(landmarks.predict(images).landmarks)
    motion, found = torch.cat(motions), torch.cat(points)
    return Seen(
        video.frames.to(device),
        motion,
        space.controls(motion),
        face_boxes(found),
        found,
        video.numbers.to(device),
    )


@torch.no_grad()
def check_one_person(name: str, video: PersonVideo, judges: Judges, least: float) -> None:
    """Raises: ValueError where some frames do not look like the person in the others. least: the cosine that
    each must have to the mean of the others; 0 does not look.
    """
    if least <= 0:
        return
    places = torch.linspace(0, len(video) - 1, min(IDENTITY_LOOKS, len(video))).round().long()
    looks = judges.measure(video.frames[places]).identity
    likeness = F.cosine_similarity(looks, looks.sum(0) - looks, dim=-1)
    if float(likeness.min()) < least:
        raise ValueError(
            f"video {name!r} does not seem to show one person: a frame is like the others by "
            f"{float(likeness.min()):.2f}, wanted {least:g}; give one uncut shot of the person alone, or set "
            "same_person=0 if it is."
        )


def choose_kept(seen: Seen, config: PersonConfig) -> list[int]:
    """Frames to keep, ascending: the one nearest to all, then always the one least like those chosen; none
    that is blurred, as long as there are others.
    """
    pose = seen.motion[:, : len(POSE_NAMES)] * config.pose_weight
    counts = seen.controls.new_tensor([UPPER_WEIGHTS, LOWER_WEIGHTS]).amax(0)
    place = torch.cat([pose, seen.controls * counts], 1)
    sharp = sharpness(to_float(seen.frames), seen.boxes)
    usable = sharp >= BLURRED * sharp.median()
    if int(usable.sum()) <= config.near + 1:
        usable = torch.ones_like(usable)
    chosen = [int((place - place.median(0).values).norm(dim=1).masked_fill(~usable, torch.inf).argmin())]
    nearest = (place - place[chosen[0]]).norm(dim=1)
    while len(chosen) < min(config.frames, int(usable.sum())):
        chosen.append(int(nearest.masked_fill(~usable, -torch.inf).argmax()))
        nearest = torch.minimum(nearest, (place - place[chosen[-1]]).norm(dim=1))
    return sorted(chosen)


def choose_portrait(motion: Tensor, controls: Tensor) -> int:
    """Of frames (K), the one that is most at ease: looking ahead, eyes open, mouth closed."""
    unease = motion[:, :3].norm(dim=1)
    for name, weight in AT_EASE.items():
        unease = unease + weight * controls[:, CONTROL_INDEX[name]].abs()
    return int(unease.argmin())


@torch.no_grad()
def build_person(
    config: PersonConfig,
    space: FaceAutoencoder,
    weights: Weights,
    seen: Seen,
    kept: Sequence[int],
    fine: Tensor,
) -> Person:
    """An untrained person of the learned frames ``seen``. weights: those that ``space`` was loaded from.
    fine:
    the kept frames, uint8 (K, 3, H, H).
    """
    places = torch.tensor(kept, device=seen.motion.device)
    person = Person(config, space.config, len(kept), fine.shape[-1]).to(places.device)
    for name in ("pose_encoder", "dynamics_encoder"):
        own = {k.removeprefix(f"{name}."): t for k, t in weights.tensors.items() if k.startswith(f"{name}.")}
        load_into(person.get_submodule(name), own, f"the {name}")
    person.dynamics_encoder.reading.requires_grad_(False)
    looks = torch.linspace(0, len(seen) - 1, min(LANDMARK_LOOKS, len(seen))).round().long().to(places.device)
    found = [space.encode(to_float(seen.frames[part])).landmarks for part in looks.split(CHUNK // 2)]
    motion = seen.motion
    standard = (motion - motion.mean(0)) / motion.std(0).clamp(min=MIN_SPREAD)
    low, high = standard.amin(0), standard.amax(0)
    room = CODE_ROOM * (high - low)
    person.frames.copy_(fine)
    person.motion.copy_(motion[places])
    person.controls.copy_(seen.controls[places])
    person.least.copy_(seen.controls.quantile(SELDOM, 0))
    person.most.copy_(seen.controls.quantile(1 - SELDOM, 0))
    person.landmarks.copy_(torch.cat(found).mean(0, keepdim=True))
    person.mean.copy_(motion.mean(0))
    person.spread.copy_(motion.std(0).clamp(min=MIN_SPREAD))
    person.low.copy_(low - room)
    person.high.copy_(high + room)
    person.portrait.fill_(choose_portrait(motion[places], seen.controls[places]))
    return person


@torch.no_grad()
def settle(person: Person) -> None:
    """After training: the kept frames' motion as the trained encoders see it."""
    person.motion.copy_(person.read(person.pixels_at(person.size).small))
    person.controls.copy_(person.said(person.motion))
    person.eval().requires_grad_(False)
