"""What the golden values of JoyVASA's motion side are checked through: the kit's names in front, ours behind.

Run by ``check_golden.py`` and by tests/motion/test_joyvasa_golden.py.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from vasa.motion.joyvasa import JoyvasaModel
from vasa.motion.joyvasa_config import JoyvasaConfig
from vasa.motion.joyvasa_folded import window_estimates
from vasa.motion.joyvasa_hubert import hidden_states
from vasa.motion.joyvasa_sampler import DiffusionSchedule, DynamicThreshold, ancestral_sample


def J(motion_feat_dim: int, n_prev_motions: int, pe: str, target: str = "sample") -> JoyvasaModel:  # noqa: N802
    """A model of the released sizes, or of those of upstream's training script."""
    config = JoyvasaConfig(
        motion_dim=motion_feat_dim, history_frames=n_prev_motions, position=pe, target=target
    )
    return JoyvasaModel(config)


def run_denoiser(
    j: JoyvasaModel, motion: Tensor, audio: Tensor, prev_motion: Tensor, prev_audio: Tensor, step: Tensor
) -> Tensor:
    """(N, P + L, D) by the graph as published."""
    return j.denoising_net(motion, audio, prev_motion, prev_audio, step)


def run_audio(j: JoyvasaModel, wave: Tensor) -> Tensor:
    """(1, 100, 256) of a window of 64,000 samples."""
    return j.audio_features(wave, 100)


def run_hubert(j: JoyvasaModel, wave: Tensor) -> Tensor:
    """(1, 200, 768)."""
    return hidden_states(j.audio_encoder, wave, 100)


def run_sample(
    j: JoyvasaModel,
    audio_feat: Tensor,
    x_T: Tensor,
    z: Callable[[int], Tensor],
    *,
    cfg_scale: float | None = None,
    prev_motion: Tensor | None = None,
    prev_audio: Tensor | None = None,
    flexibility: float = 0.0,
    dynamic_threshold: tuple[float, float, float] | None = None,
    plain: bool = False,
) -> Tensor:
    """(1, 100, D) after 50 steps, by the folded window unless ``plain``."""
    start_motion, start_audio = j.start(1)
    estimates = window_estimates(
        j,
        audio_feat,
        start_motion if prev_motion is None else prev_motion,
        start_audio if prev_audio is None else prev_audio,
        guided=cfg_scale is not None,
        plain=plain,
    )
    return ancestral_sample(
        estimates,
        x_T,
        z,
        j.diffusion_sched,
        guidance_scale=cfg_scale,
        flexibility=flexibility,
        threshold=None if dynamic_threshold is None else DynamicThreshold(*dynamic_threshold),
        target=j.config.target,
    )


def schedule(mode: str, n: int) -> dict[str, Tensor]:
    """The five buffers of a schedule of n steps."""
    return dict(DiffusionSchedule(mode, n).named_buffers())
