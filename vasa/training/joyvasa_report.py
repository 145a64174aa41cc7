"""How good a JoyVASA denoiser is on clips that it has not seen: the scores and picture of ``motion_report``,
in the face space's raw motion, normalised by the validation clips' own statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from vasa.data.latent_cache import LatentCache
from vasa.data.window_pairs import WindowPairs
from vasa.motion.joyvasa import JoyvasaModel
from vasa.motion.joyvasa_template import to_keypoints
from vasa.motion.joyvasa_windows import JoyvasaMotion
from vasa.training.joyvasa_step import JoyvasaBatch, JoyvasaStep
from vasa.training.motion_report import NUM_LEVELS, Tracks, draw_tracks, track_scores


class JoyvasaReport:
    """Validation and preview of averaged models, on the first clips of a cache; the same draws every time."""

    def __init__(
        self,
        cache: LatentCache,
        num_clips: int,
        seed: int,
        generator_of: Callable[[JoyvasaModel], JoyvasaMotion],
        step_of: Callable[[JoyvasaModel, WindowPairs], JoyvasaStep],
    ) -> None:
        """generator_of, step_of: a model as what draws motion, and as what is trained."""
        self.cache, self.seed = cache, seed
        self.clips = list(range(min(num_clips, len(cache))))
        self._generator_of, self._step_of = generator_of, step_of

    def validate(self, step: int, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        """x0_error of the estimate, and ``track_scores`` of sampled motion."""
        model = _joyvasa(averages)
        return {"x0_error": self.x0_error(model), **track_scores(self.tracks(model))}

    def preview(self, step: int, averages: Mapping[str, nn.Module]) -> np.ndarray:
        """Picture (H, W, 3) uint8 of the first clip's true and sampled tracks."""
        return draw_tracks(self.tracks(_joyvasa(averages), num_clips=1))

    @torch.no_grad()
    def x0_error(self, model: JoyvasaModel) -> float:
        """Mean squared error of the estimate over NUM_LEVELS levels of noise, the sound given and whole."""
        config, errors = model.config, []
        pairs = WindowPairs(
            [self.cache], window_frames=config.window_frames, batch_size=len(self.clips), seed=self.seed
        )
        step = self._step_of(model, pairs)
        batch = step.batch_at(0)
        batch.draws.has_audio.fill_(True)
        batch.draws.cut.fill_(config.window_frames)
        for level in range(NUM_LEVELS):
            batch.draws.step.fill_(1 + (2 * level + 1) * config.num_steps // (2 * NUM_LEVELS))
            errors.append(step.terms(_on(batch, model.start_motion_feat.device))["all"])
        return float(torch.stack(errors).mean())

    @torch.no_grad()
    def tracks(self, model: JoyvasaModel, num_clips: int | None = None) -> Tracks:
        """Truth and samples of the first clips, cut to the shortest."""
        cache, clips = self.cache, self.clips[:num_clips]
        length = min(cache.clips[clip].num_frames for clip in clips)
        drawn, generator = [], self._generator_of(model)
        for clip in clips:
            features = generator.speech.features(cache.audio(clip), length)
            noise = torch.Generator().manual_seed(self.seed + clip)
            drawn.append(torch.cat(list(generator.generate(features, generator=noise))).cpu())
        sample = to_keypoints(torch.stack(drawn))
        truth = torch.stack([cache.motion(clip, 0, length) for clip in clips])
        layout, hop = cache.header.layout, model.config.window_frames
        return Tracks(self._normalised(truth), self._normalised(sample), layout, hop)

    def _normalised(self, motion: Tensor) -> Tensor:
        mean, deviation = (self.cache.statistics[f"motion_{name}"] for name in ("mean", "std"))
        return (motion - mean) / deviation.clamp(min=1e-6)


def _joyvasa(averages: Mapping[str, nn.Module]) -> JoyvasaModel:
    model = averages["motion"]
    assert isinstance(model, JoyvasaModel)
    return model


def _on(batch: JoyvasaBatch, device: torch.device) -> JoyvasaBatch:
    """A batch where a model is."""
    for part in (batch.windows, batch.draws):
        for name in part.__dataclass_fields__:
            if isinstance(value := getattr(part, name), Tensor):
                setattr(part, name, value.to(device))
    return batch
