"""What a stage-1 run reads before it trains: all that is missing is told at once; weights to start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vasa.checkpoint import CheckpointError, Weights, load_into, load_weights
from vasa.data.manifest import MANIFEST
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.training.face_config import TrainFaceRun
from vasa.training.teachers import missing_teachers

TRAINS_POSE = "python scripts/train_face.py experiment=pose_teacher"
OF_POSE = ("pose_widths", "pose_blocks", "encoder_input")
"""Fields of FaceConfig that E_pose is made by."""


def check_files(run: TrainFaceRun, weights: Mapping[str, float]) -> None:
    """Before anything is built. weights: of the losses, by the teacher that each looks through.

    Raises: FileNotFoundError naming all that is missing, each with its cure; ValueError for a licence.
    """
    told = []
    if run.init is not None and not run.init.is_file():
        told.append(f"init={run.init} does not exist; train it, or name another.")
    if run.init_pose is not None and not run.init_pose.is_file():
        told.append(f"init_pose={run.init_pose} does not exist; `{TRAINS_POSE}` trains one, or name another.")
    if run.data == "clips" and not (run.clips.root / MANIFEST).is_file():
        told.append(
            f"clips.root={run.clips.root} has no {MANIFEST}; `python scripts/preprocess.py data.root=VIDEOS "
            f"out={run.clips.root} size={run.clips.size}` makes it, or name a folder that it made."
        )
    teachers = missing_teachers(run.teachers, weights, run.licence)
    told += [teachers] if teachers else []
    if told:
        raise FileNotFoundError(" ".join(told))


def load_initial(model: FaceAutoencoder, run: TrainFaceRun) -> None:
    """The weights that a run starts from. Raises: CheckpointError where they are of another face."""
    if run.init is not None:
        load_into(model, load_weights(run.init), "face")
    if run.init_pose is not None:
        weights = load_weights(run.init_pose)
        _check_pose(model, weights)
        load_into(model.pose_encoder, _part(weights, "pose_encoder."), "the pose encoder")


def _check_pose(model: FaceAutoencoder, weights: Weights) -> None:
    """Also what the tensors do not show: an encoder that saw other sizes says other poses."""
    theirs, ours = weights.config.get("face", {}), model.describe()["face"]
    others = [name for name in OF_POSE if theirs.get(name) != ours[name]]
    if others:
        said = ", ".join(f"{name} {theirs.get(name)}, wanted {ours[name]}" for name in others)
        raise CheckpointError(
            f"init_pose={weights.path} has the pose encoder of another face size: {said}; name another, or "
            f"`{TRAINS_POSE} face=...` trains one, with this run's face=."
        )


def _part(weights: Weights, prefix: str) -> Weights:
    """The tensors under a prefix, without it."""
    return replace(
        weights,
        tensors={k.removeprefix(prefix): t for k, t in weights.tensors.items() if k.startswith(prefix)},
    )
