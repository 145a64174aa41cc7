"""Stage 1, wired: cache, model, teachers, step, previews, exports. The script calls ``train_face`` and
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vasa.checkpoint import Weights, load_into, load_weights, plain, save_weights
from vasa.data.config import FramePairsConfig
from vasa.data.frame_pairs import FramePairs
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.identity import IdentityNet
from vasa.training.face_config import TrainFaceRun
from vasa.training.face_report import sheet, validation
from vasa.training.face_step import FaceStep, freeze
from vasa.training.loop import Phase, train
from vasa.training.runtime import choose_device, to_device

PREVIEW_SAMPLES = 6


def held_out(pairs: FramePairsConfig, num_identities: int) -> FramePairs:
    """Frames of validation identities, all portraits, all driven by the other identity."""
    return FramePairs(
        replace(
            pairs,
            split="validation",
            num_identities=num_identities,
            randomised_share=0.0,
            cross_share=1.0,
            colour_jitter=0.0,
        )
    )


def train_face(run: TrainFaceRun) -> Path:
    """Trains the volumetric face space of a run; returns the exported file. The same run again resumes."""
    torch.manual_seed(run.loop.seed)
    pairs, judged = FramePairs(run.pairs), held_out(run.pairs, run.validation_identities)
    pairs.prepare()
    judged.prepare()
    model = FaceAutoencoder(run.face)
    if run.init is not None:
        load_into(model, load_weights(run.init), "face")
    if run.init_pose is not None:
        load_into(model.pose_encoder, _part(load_weights(run.init_pose), "pose_encoder."), "the pose encoder")
    if run.freeze_motion:
        freeze(model.pose_encoder)
        freeze(model.dynamics_encoder)
    device = choose_device(run.loop.device)
    losses = run.losses
    identity = IdentityNet.from_pretrained(losses.identity_teacher) if losses.identity_teacher else None
    expression = (
        ExpressionNet.from_pretrained(losses.expression_teacher) if losses.expression_teacher else None
    )
    step = FaceStep(
        model,
        losses,
        identity.to(device) if identity else None,
        expression.to(device) if expression else None,
    )
    exported = Path(run.run_dir) / "face.safetensors"

    def export(done: int, averages: Mapping[str, nn.Module]) -> None:
        meta = {
            "step": done,
            "samples": done * run.loop.batch_size,
            "init": str(run.init.name) if run.init else None,
        }
        save_weights(exported, averages["face"].state_dict(), model.describe(), meta)

    def preview(done: int, averages: Mapping[str, nn.Module]) -> np.ndarray:
        return sheet(averages["face"], to_device(judged.batch_at(0, PREVIEW_SAMPLES), device))  # type: ignore[arg-type]

    def validate(done: int, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        batches = [to_device(judged.batch_at(n + 1, 8), device) for n in range(run.validation_batches)]
        return validation(averages["face"], batches)  # type: ignore[arg-type]

    train(
        run.loop,
        [Phase("face", model, step, run.optimizer)],
        lambda number: pairs.batch_at(number, run.loop.batch_size),
        run.run_dir,
        ema={"face": model},
        export=export,
        preview=preview,
        validate=validate,
        config=plain(run),
    )
    return exported


def _part(weights: Weights, prefix: str) -> Weights:
    """The tensors under a prefix, without it."""
    return replace(
        weights,
        tensors={k.removeprefix(prefix): t for k, t in weights.tensors.items() if k.startswith(prefix)},
    )
