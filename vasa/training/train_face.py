"""Stage 1, wired: cache, model, teachers, step, previews, exports. The script calls ``train_face`` and
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vasa.checkpoint import plain, save_weights
from vasa.data.clip_pairs import ClipPairs
from vasa.data.config import FramePairsConfig
from vasa.data.frame_pairs import FacePairs, FramePairs
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.discriminator import MultiScaleDiscriminator
from vasa.training.change import ChangeTeacher
from vasa.training.driver_augment import to_float
from vasa.training.face_adversary import DiscriminatorStep
from vasa.training.face_config import TrainFaceRun
from vasa.training.face_files import check_files, load_initial
from vasa.training.face_report import sheet, validation
from vasa.training.face_step import FaceStep, freeze
from vasa.training.loop import Phase, train
from vasa.training.runtime import Runtime, start, to_device
from vasa.training.state import has_state
from vasa.training.teachers import Teachers, build_teachers

PREVIEW_SAMPLES = 6
CHANGE_BATCHES, CHANGE_PAIRS = 100, 48
"""Pairs whose changes the components are found from."""
TEACHER_OF = {
    "perceptual": "perceptual",
    "face": "face",
    "gaze": "gaze",
    "identity": "cross_identity",
    "expression": "expression",
}
"""Frozen networks, and the loss that each serves."""
Pairs = FramePairs | ClipPairs


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


def training_pairs(run: TrainFaceRun) -> Pairs:
    return ClipPairs(run.clips) if run.data == "clips" else FramePairs(run.pairs)


def near_pairs(run: TrainFaceRun) -> Pairs:
    """Neighbouring frames only: one pose, or nearly."""
    if run.data == "clips":
        return ClipPairs(replace(run.clips, near_share=1.0))
    return FramePairs(replace(run.pairs, twin_share=1.0))


def validation_pairs(run: TrainFaceRun) -> Pairs:
    """Of people that training does not show."""
    if run.validate_on_training:
        return training_pairs(run)
    if run.data == "clips":
        return ClipPairs(replace(run.clips, split="validation", colour_jitter=0.0, flip=False))
    return held_out(run.pairs, run.validation_identities)


def train_face(run: TrainFaceRun) -> Path:
    """Trains the volumetric face space of a run; returns the exported file. The same run again resumes."""
    weights = {name: getattr(run.losses, loss) for name, loss in TEACHER_OF.items()}
    check_files(run, weights)
    runtime = start(run.loop)  # seeds the new weights, too
    device = runtime.device
    teachers = build_teachers(run.teachers, weights, device, run.licence)
    model = FaceAutoencoder(run.face)
    load_initial(model, run)
    if run.freeze_motion:
        freeze(model.dynamics_encoder)
    if run.freeze_motion or run.freeze_pose:
        freeze(model.pose_encoder)
    pairs, judged = training_pairs(run), validation_pairs(run)
    pairs.prepare()
    judged.prepare()
    near = near_pairs(run)
    change = _change_teacher(run, model.to(device), near, runtime) if run.losses.change_steps > 0 else None
    phases = build_phases(run, model, teachers, change)
    exported = Path(run.run_dir) / "face.safetensors"

    def export(done: int, averages: Mapping[str, nn.Module]) -> Path:
        meta = {
            "step": done,
            "samples": done * run.loop.batch_size,
            "init": str(run.init.name) if run.init else None,
        }
        save_weights(exported, averages["face"].state_dict(), model.describe(), meta)
        return exported

    def preview(done: int, averages: Mapping[str, nn.Module]) -> np.ndarray:
        shown = to_device(judged.batch_at(0, PREVIEW_SAMPLES), device)
        return sheet(averages["face"], shown, size_at(run, done - 1))  # type: ignore[arg-type]

    def validate(done: int, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        batches = [to_device(judged.batch_at(n + 1, 8), device) for n in range(run.validation_batches)]
        return validation(averages["face"], batches, size_at(run, done - 1))  # type: ignore[arg-type]

    def batch_at(step: int, rows: slice) -> FacePairs:
        source = near if step < run.losses.change_steps else pairs
        return source.batch_at(step, run.loop.batch_size, rows)

    train(
        run.loop,
        phases,
        batch_at,
        run.run_dir,
        ema={"face": model},
        export=export,
        preview=preview,
        validate=validate,
        config=plain(run),
        runtime=runtime,
        by_rows=True,
    )
    return exported


def _change_teacher(
    run: TrainFaceRun, model: FaceAutoencoder, near: Pairs, runtime: Runtime
) -> ChangeTeacher:
    """Fitted to the first pairs of the run by the first process, so that all have the same; where a run goes
    on, its state holds what was found.
    """
    device = runtime.device
    teacher = ChangeTeacher(run.face, model.painter).to(device)
    if has_state(run.run_dir):
        return teacher

    def seen(number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        batch = to_device(near.batch_at(number, CHANGE_PAIRS), device)
        source, target = to_float(batch.source), to_float(batch.target)
        with torch.no_grad():
            return source, target, model.pose_code(torch.cat([source, target]))

    runtime.first_only(
        (lambda: teacher.fit(seen(number) for number in range(CHANGE_BATCHES))) if runtime.is_main else None
    )
    runtime.from_first(teacher.buffers())
    return teacher


def size_at(run: TrainFaceRun, step: int) -> int:
    """Pixels of the pictures at a step (resolution schedule)."""
    return run.low_size if step < run.low_steps else run.face.size


def build_phases(
    run: TrainFaceRun, model: FaceAutoencoder, teachers: Teachers, change: ChangeTeacher | None
) -> list[Phase]:
    """The generator's phase, and the discriminator's where a loss needs one."""
    trained = nn.ModuleDict({"face": model, "change": change}) if change else model
    discriminator = MultiScaleDiscriminator(run.discriminator) if run.losses.adversarial > 0 else None
    step = FaceStep(model, run.losses, partial(size_at, run), teachers, discriminator, change)
    phases = [Phase("face", trained, step, run.optimizer)]
    if discriminator:
        judge = DiscriminatorStep(discriminator, step)
        phases.append(Phase("discriminator", discriminator, judge, run.discriminator_optimizer))
    return phases
