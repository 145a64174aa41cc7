"""JoyVASA's published files, read as data: motion_generator_*.pt and motion_template.pkl."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from vasa.checkpoint import CheckpointError, load_into
from vasa.motion.joyvasa import JoyvasaModel
from vasa.motion.joyvasa_config import SCHEDULES, HubertSizes, JoyvasaConfig
from vasa.motion.joyvasa_sampler import DiffusionSchedule
from vasa.motion.joyvasa_template import JoyvasaNormalizer
from vasa.motion.joyvasa_windows import STRUCTURAL, JoyvasaMotion
from vasa.pretrained.third_party import read_torch_file

ALLOWED: list[Any] = [Namespace, (PurePosixPath, "pathlib.PosixPath")]
"""All that the file's pickle may name besides tensors: upstream saves its command line in it."""
WEIGHT_NORM = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}
"""Older spelling of the weight norm of HuBERT's positional convolution -> ours."""
UNREAD = "denoising_net.TE.pe"
"""Dropped by upstream's own loading; a table that follows from its size."""
BUFFER_TOLERANCE = 1e-4


def load_published(checkpoint: str | Path, template: str | Path, position: str = "legacy") -> JoyvasaMotion:
    """The published motion model with its statistics, on the CPU.

    position: "legacy" for files trained before upstream's fix of 2025-12-09, the released one among them;
    "fixed" for later ones. Raises: FileNotFoundError; CheckpointError, PickleFileError naming the file and
    what is wrong with it.
    """
    args, tensors = read_checkpoint(checkpoint)
    name = str(checkpoint)
    config = config_of(args, tensors, position, name)
    model = JoyvasaModel(config)
    own = {key: value for key, value in model.state_dict().items() if key.startswith(STRUCTURAL)}
    _check_buffers(own, tensors, name)
    load_into(model, {**tensors, **own}, f"JoyVASA's motion model from {name}")
    return JoyvasaMotion(model, JoyvasaNormalizer.from_template(template))


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(arguments it was trained with, tensors) of a published file, tensors under our spelling and on the
    CPU.

    Nothing that a file names is run but what ``ALLOWED`` lists. Raises: FileNotFoundError, CheckpointError.
    """
    content = read_torch_file(path, "JoyVASA's motion model", ALLOWED)
    tensors = content.get("model") if isinstance(content, dict) else None
    args = content.get("args") if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"{path} has no state dict under 'model'; wanted JoyVASA's motion model.")
    if not isinstance(args, Namespace):
        raise CheckpointError(f"{path} has no arguments under 'args'; wanted JoyVASA's motion model.")
    return vars(args), {_our_spelling(key): value for key, value in tensors.items() if key != UNREAD}


def _our_spelling(key: str) -> str:
    stem, _, last = key.rpartition(".")
    return f"{stem}.{WEIGHT_NORM[last]}" if last in WEIGHT_NORM else key


def config_of(
    args: Mapping[str, Any], tensors: Mapping[str, Tensor], position: str, name: str
) -> JoyvasaConfig:
    """Sizes from the tensors' shapes, checked against the arguments that upstream reads (motion_feat_dim,
    n_motions, n_prev_motions, feature_dim, n_diff_steps); its others, n_layers among them, have no effect
    there.

    Raises: CheckpointError.
    """
    net, heard = "denoising_net.", "audio_encoder."
    conv = f"{heard}encoder.pos_conv_embed.conv.parametrizations.weight.original1"
    project = f"{heard}feature_projection.projection.weight"
    needed = (
        f"{net}feature_proj.weight",
        f"{net}alignment_mask",
        f"{net}PE.pe",
        f"{net}transformer.layers.0.linear1.weight",
        "start_motion_feat",
        "diffusion_sched.betas",
        f"{heard}encoder.layers.0.feed_forward.intermediate_dense.weight",
        conv,
        project,
    )
    if missing := [key for key in needed if key not in tensors]:
        raise CheckpointError(f"{name} lacks {', '.join(missing)}; wanted JoyVASA's motion model.")
    width, motion_dim = tensors[f"{net}feature_proj.weight"].shape
    history = tensors["start_motion_feat"].shape[1]
    sizes = {
        "motion_feat_dim": motion_dim,
        "n_prev_motions": history,
        "n_motions": len(tensors[f"{net}alignment_mask"]) - history,
        "feature_dim": width,
        "n_diff_steps": len(tensors["diffusion_sched.betas"]) - 1,
    }
    for key, size in sizes.items():
        if args.get(key, size) != size:
            raise CheckpointError(f"{name} says {key}={args[key]}, but its tensors are of {key}={size}.")
    hubert_width, conv_width = tensors[project].shape
    grouped, kernel = tensors[conv].shape[1:]
    return JoyvasaConfig(
        motion_dim=motion_dim,
        window_frames=sizes["n_motions"],
        history_frames=history,
        width=width,
        num_layers=_layers(tensors, f"{net}transformer.layers."),
        feedforward=len(tensors[f"{net}transformer.layers.0.linear1.weight"]),
        position_rows=tensors[f"{net}PE.pe"].shape[1],
        num_steps=sizes["n_diff_steps"],
        schedule=_schedule_of(tensors["diffusion_sched.betas"], name),
        target=str(args.get("target", "sample")),
        position=position,
        hubert=HubertSizes(
            width=hubert_width,
            num_layers=_layers(tensors, f"{heard}encoder.layers."),
            feedforward=len(tensors[f"{heard}encoder.layers.0.feed_forward.intermediate_dense.weight"]),
            conv_width=conv_width,
            position_kernel=kernel,
            position_groups=hubert_width // grouped,
        ),
    )


def _layers(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(int(key.removeprefix(prefix).split(".")[0]) for key in tensors if key.startswith(prefix))


def _schedule_of(betas: Tensor, name: str) -> str:
    for schedule in SCHEDULES:
        if torch.allclose(DiffusionSchedule(schedule, len(betas) - 1).betas, betas, atol=BUFFER_TOLERANCE):
            return schedule
    raise CheckpointError(f"{name} has betas of none of the schedules {', '.join(SCHEDULES)}.")


def _check_buffers(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], name: str) -> None:
    """Buffers that the file holds must be those that its sizes imply: the folded window relies on the mask.
    Raises: CheckpointError.
    """
    for key, value in own.items():
        found = tensors.get(key)
        if found is not None and (
            found.shape != value.shape
            or not torch.allclose(found.float(), value.float(), atol=BUFFER_TOLERANCE, rtol=0)
        ):
            raise CheckpointError(
                f"{name} holds another {key} than a model of its sizes has; it is not JoyVASA's."
            )
