"""The frozen networks that stage 1's losses look through: found, checked and built, or refused in a sentence.

A term whose weight is 0 needs none. Published networks are taken from where their publishers' tools keep
them; this project's own stand in for each of them (``teachers.face=standin``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vasa.losses.perceptual import EyeFeatureLoss, FaceFeatureLoss, FeatureLoss
from vasa.pretrained.arcface import ArcFaceNet
from vasa.pretrained.config import STANDIN, TEACHERS, TeachersConfig
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.gaze import GazeFeatures
from vasa.pretrained.identity import IdentityNet
from vasa.pretrained.registry import NETWORKS, check_licence
from vasa.pretrained.standins import face_features, gaze_features, image_features
from vasa.pretrained.store import check, place_of
from vasa.pretrained.vgg import FaceFeatures, ImageNetFeatures

PUBLISHED = {
    "perceptual": "vgg19",
    "face": "vgg_face",
    "gaze": "rt_gene",
    "identity": "arcface_w600k_r50",
    "expression": "teacher_expression",
}
OURS = {
    "perceptual": "landmarks",
    "face": "teacher_identity",
    "gaze": "teacher_expression",
    "identity": "teacher_identity",
    "expression": "teacher_expression",
}
"""Names in the registry of what serves each teacher."""
_BUILD: dict[tuple[str, bool], Callable[[Path], nn.Module]] = {
    ("perceptual", False): lambda path: FeatureLoss(ImageNetFeatures.from_published(path)),
    ("perceptual", True): lambda path: FeatureLoss(image_features(path)),
    ("face", False): lambda path: FaceFeatureLoss(FaceFeatures.from_published(path)),
    ("face", True): lambda path: FaceFeatureLoss(face_features(path)),
    ("gaze", False): lambda path: EyeFeatureLoss(GazeFeatures.from_published(path)),
    ("gaze", True): lambda path: EyeFeatureLoss(gaze_features(path)),
    ("identity", False): ArcFaceNet,
    ("identity", True): IdentityNet.from_pretrained,
    ("expression", True): ExpressionNet.from_pretrained,
}
"""(teacher, whether ours) -> what builds it from its file."""


@dataclass(slots=True)
class Teachers:
    """Frozen networks, built only where a term's weight is above 0."""

    perceptual: Callable[..., Tensor] | None = None  # (image, target, mask=None) -> L_IN
    face: Callable[..., Tensor] | None = None  # (image, target, points, mask=None) -> L_face
    gaze: Callable[..., Tensor] | None = None  # (image, target, points) -> L_gaze
    identity: Callable[..., Tensor] | None = None  # (images, points) -> unit vectors (B, E)
    expression: Callable[..., Tensor] | None = None  # (images, points) -> controls (B, 11)


def build_teachers(
    config: TeachersConfig,
    weights: Mapping[str, float],
    device: torch.device | str = "cpu",
    licence: str = "any",
) -> Teachers:
    """Frozen networks for the terms that have a weight.

    weights: by name of the teacher (of TEACHERS); one that is left out is 0. licence: see check_licence; a
    file given by hand counts as what it stands for.
    Raises: ValueError for a licence; FileNotFoundError saying what to put where, for all that is missing;
    CheckpointError when a file is another one.
    """
    unknown = [name for name in weights if name not in TEACHERS]
    if unknown:
        raise ValueError(f"teachers {unknown} are unknown; wanted some of {', '.join(TEACHERS)}.")
    missing = missing_teachers(config, weights, licence)
    if missing:
        raise FileNotFoundError(missing)
    paths = _paths(config, weights)
    for path in set(paths.values()):
        check(path)
    built = {name: _BUILD[name, _is_ours(config, name)](path) for name, path in paths.items()}
    return Teachers(**{n: m.eval().requires_grad_(False).to(device) for n, m in built.items()})


def missing_teachers(config: TeachersConfig, weights: Mapping[str, float], licence: str = "any") -> str:
    """One sentence on the files that are needed and missing; empty when all are there.

    Arguments as of ``build_teachers``. Raises: ValueError for a licence.
    """
    paths = _paths(config, weights)
    check_licence([network_of(config, name) for name in paths], licence)
    missing = {name: path for name, path in paths.items() if not path.is_file()}
    return _cure(config, missing) if missing else ""


def network_of(config: TeachersConfig, name: str) -> str:
    """Name in the registry of the network that serves a teacher."""
    return OURS[name] if _is_ours(config, name) else PUBLISHED[name]


def _is_ours(config: TeachersConfig, name: str) -> bool:
    """Of the files, only ours are safetensors."""
    given = getattr(config, name) or ""
    return given == STANDIN or given.endswith(".safetensors") or PUBLISHED[name] == OURS[name]


def _paths(config: TeachersConfig, weights: Mapping[str, float]) -> dict[str, Path]:
    """Of what is needed."""
    return {name: _path(config, name) for name in TEACHERS if weights.get(name, 0) > 0}


def _path(config: TeachersConfig, name: str) -> Path:
    given = getattr(config, name)
    if given is not None and given != STANDIN:
        return Path(given).expanduser()
    place = place_of(NETWORKS[network_of(config, name)], config.judges)
    assert place is not None, "every teacher has a usual place"
    return place


def _cure(config: TeachersConfig, missing: Mapping[str, Path]) -> str:
    """One sentence: what is missing, how it comes there, how to go without."""
    said = ", ".join(f"teachers.{name} ({path})" for name, path in missing.items())
    networks = {name: network_of(config, name) for name in missing}
    ours = sorted({n for n in networks.values() if NETWORKS[n].is_ours})
    theirs = sorted({n for n in networks.values() if not NETWORKS[n].is_ours})
    cures = []
    if theirs:
        cures.append(f"`python scripts/weights.py action=fetch names=[{','.join(theirs)}]` downloads them")
        cures.append(f"{' '.join(NETWORKS[n].instead for n in theirs)} needs no download")
    if ours:
        cures.append(
            f"`python scripts/train_judges.py only=[{','.join(ours)}]` trains this project's own in some "
            "minutes of one core"
        )
    return f"Frozen networks are missing: {said}; {'; '.join(cures)}."
