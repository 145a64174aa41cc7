"""What the golden values of LivePortrait and JoyVASA are checked through, by the plain graphs:

python tests/golden/check_golden.py tests/golden/adapter.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

from adapter_joyvasa import J, run_audio, run_denoiser, run_hubert, run_sample, schedule  # noqa: F401

from vasa.face.keypoints.animation import Animator, KeypointMotion
from vasa.face.keypoints.camera import headpose_degrees, rotation, transformed
from vasa.face.keypoints.config import RulesConfig
from vasa.face.keypoints.extractor import AppearanceExtractor as F  # noqa: F401
from vasa.face.keypoints.extractor import MotionExtractor as M  # noqa: F401
from vasa.face.keypoints.generator import SpadeGenerator as G  # noqa: F401
from vasa.face.keypoints.stitching import WIDTHS, KeypointMlp, Retargeting
from vasa.face.keypoints.stitching import stitch as stitched
from vasa.face.keypoints.warping import WarpingModule as W  # noqa: F401
from vasa.preprocess.landmark_frame import openings


def run_W(w: nn.Module, feature: Tensor, kp_source: Tensor, kp_driving: Tensor) -> dict[str, Tensor]:  # noqa: N802
    out, motion = w(feature, kp_driving, kp_source)
    return {"out": out, "deformation": motion.deformation, "occlusion_map": motion.occlusion}


def S(kind: str) -> nn.Module:  # noqa: N802
    return KeypointMlp(WIDTHS[kind])


def transform_keypoint(
    kp: Tensor, exp: Tensor, scale: Tensor, t: Tensor, pitch: Tensor, yaw: Tensor, roll: Tensor
) -> Tensor:
    return transformed(kp.view(-1, 21, 3), rotation(pitch, yaw, roll), exp.view(-1, 21, 3), scale, t)


def stitch(modules: dict[str, nn.Module], kp_source: Tensor, kp_driving: Tensor) -> Tensor:
    return stitched(modules["stitching"], kp_source, kp_driving)


def animate(project: str, case: dict[str, Any], ctx: dict[str, Any]) -> Tensor:
    """x_d (T, 21, 3) of one set of upstream's options, by our names for them."""
    is_video = ctx["video_u8"] is not None
    frames = ctx["video_u8"] or [ctx["source_u8"]]
    heads = ctx["M"](torch.stack([torch.from_numpy(f).float().permute(2, 0, 1) / 255 for f in frames]))
    pitch, yaw, roll = (headpose_degrees(heads[name]) for name in ("pitch", "yaw", "roll"))
    own = KeypointMotion.of_heads(heads, (pitch, yaw, roll))
    seen = np.asarray(ctx["video_lmk"] if is_video else ctx["source_lmk"]).reshape(len(frames), -1, 2)
    told = torch.from_numpy(np.stack([openings(points) for points in seen])).float()
    own.eyes, own.lips = told[:, :2], told[:, 2:]
    given = {name: torch.tensor(value).float() for name, value in ctx["template"].items()}
    driving = KeypointMotion(
        given["R"], given["exp"], given["scale"], given["t"], given.get("c_eyes"), given.get("c_lip")
    )
    networks = Retargeting()
    networks.stitching, networks.lip, networks.eye = (ctx["S"][name] for name in ("stitching", "lip", "eye"))
    rules = RulesConfig(
        region=case.get("animation_region", "all"),
        friendly=case.get("driving_option", "expression-friendly") == "expression-friendly",
        stitching=case.get("flag_stitching", True),
        close_lips=case.get("flag_normalize_lip", False),
        eye_retargeting=case.get("flag_eye_retargeting", False),
        lip_retargeting=case.get("flag_lip_retargeting", False),
        open_source_eyes=case.get("flag_source_video_eye_retargeting", False),
        multiplier=case.get("driving_multiplier", 1.0),
    )
    rest = torch.tensor(ctx["lip_array"]).float().view(21, 3) if len(driving) == 1 else None
    return Animator(
        rules,
        heads["kp"].view(-1, 21, 3),
        own,
        networks,
        "animal" if case.get("animal") else "human",
        case.get("flag_relative_motion", True),
        project == "joyvasa",
        rest,
    ).keypoints(driving)
