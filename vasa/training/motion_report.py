"""How good a motion model is on clips it has not seen: numbers for the log and a picture of tracks. Pixels
are not looked at.

Everything is in normalised motion, so that rotations and codes weigh alike; no entry is known to be a jaw or
a lid here (that is measured on rendered frames).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from vasa.data.latent_cache import CONTROL_WIDTHS, LatentCache
from vasa.data.motion_windows import MotionWindows
from vasa.motion.diffusion import MotionDiffusion
from vasa.motion.windows import MotionGenerator
from vasa.records import POSE_NAMES, Conditions, MotionLayout
from vasa.training.motion_step import window_conditions

NUM_LEVELS = 8
"""Diffusion steps, evenly spread, at which the error of the X_0 estimate is measured."""
ROWS = 8
"""Tracks in the picture: all of the pose and the best-followed entries of the dynamics."""


@dataclass(slots=True)
class Tracks:
    """Normalised motion of the same clips: truth and sample (B, T, E), of a layout. hop_frames: where windows
    meet.
    """

    truth: Tensor
    sample: Tensor
    layout: MotionLayout
    hop_frames: int


class MotionReport:
    """Validation and preview of averaged models, on the first clips of a cache; the same draws every time."""

    def __init__(self, cache: LatentCache, num_clips: int, seed: int) -> None:
        self.cache, self.seed = cache, seed
        self.clips = list(range(min(num_clips, len(cache))))

    def validate(self, step: int, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        """x0_error of the estimate, and ``track_scores`` of sampled motion."""
        model = _motion_model(averages)
        return {"x0_error": self.x0_error(model), **track_scores(self.tracks(model))}

    def preview(self, step: int, averages: Mapping[str, nn.Module]) -> np.ndarray:
        """Picture (H, W, 3) uint8 of the first clip's true and sampled tracks."""
        model = _motion_model(averages)
        return draw_tracks(self.tracks(model, num_clips=1))

    @torch.no_grad()
    def x0_error(self, model: MotionDiffusion) -> float:
        """Mean squared error of the estimate of X_0 over NUM_LEVELS levels of noise, all conditions given."""
        config, device = model.config, model.normalizer.motion_mean.device
        windows = MotionWindows(
            self.cache,
            window_frames=config.window_frames,
            history_frames=config.history_frames,
            batch_size=4 * len(self.clips),
            seed=self.seed,
        ).batch_at(0)
        for name in windows.__dataclass_fields__:
            if isinstance(value := getattr(windows, name), Tensor):
                setattr(windows, name, value.to(device))
        conditions = window_conditions(windows, model.normalizer)
        x0 = model.normalizer.normalise(windows.motion)
        generator = torch.Generator().manual_seed(self.seed)
        errors = []
        for level in range(NUM_LEVELS):
            t = torch.full(
                (len(x0),),
                (2 * level + 1) * config.schedule.num_train_steps // (2 * NUM_LEVELS),
                device=device,
            )
            noise = torch.randn(x0.shape, generator=generator).to(device)
            errors.append(model.losses(x0, noise, t, conditions, windows.valid)["x0"])
        return float(torch.stack(errors).mean())

    @torch.no_grad()
    def tracks(self, model: MotionDiffusion, num_clips: int | None = None) -> Tracks:
        """Truth and samples of the first clips, cut to the shortest, under the clips' own conditions."""
        cache, clips = self.cache, self.clips[:num_clips]
        length = min(cache.clips[clip].num_frames for clip in clips)
        features = torch.stack([cache.features(clip, 0, 0, length) for clip in clips])
        controls = {name: [cache.control(clip, name) for clip in clips] for name in CONTROL_WIDTHS}
        conditions = Conditions(
            **{
                name: None
                if any(v is None for v in values)
                else torch.stack([v for v in values if v is not None])
                for name, values in controls.items()
            }
        )
        generators = [torch.Generator().manual_seed(self.seed + clip) for clip in clips]
        generator = MotionGenerator(model, cache.header.audio, cache.header.face_hash)
        sample = generator.generate_many(features, conditions, generators=generators)
        truth = torch.stack([cache.motion(clip, 0, length) for clip in clips]).to(sample.device)
        normalise = model.normalizer.normalise
        return Tracks(normalise(truth), normalise(sample), model.layout, model.config.hop_frames)


def _motion_model(averages: Mapping[str, nn.Module]) -> MotionDiffusion:
    model = averages["motion"]
    assert isinstance(model, MotionDiffusion)
    return model


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's r (E,) over clips and time of (B, T, E), each clip about its own mean."""
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum((0, 1)) / (a.square().sum((0, 1)) * b.square().sum((0, 1))).sqrt().clamp(min=1e-8)


def track_scores(tracks: Tracks) -> dict[str, float]:
    """What sampled tracks have in common with true ones.

    r_dynamics, r_dynamics_top: mean correlation over the entries of z_dyn, and over its best fifth (what
    sound explains). pose_jitter, dynamics_jitter: root mean square second difference over the true one.
    pose_amplitude, dynamics_amplitude: the same for the deviation from a clip's mean. join: mean first
    difference of all entries where two windows meet, over that elsewhere.
    """
    truth, sample, layout = tracks.truth, tracks.sample, tracks.layout
    r = correlation(sample, truth)[layout.dynamics].sort(descending=True).values
    scores = {"r_dynamics": float(r.mean()), "r_dynamics_top": float(r[: max(1, len(r) // 5)].mean())}
    for name, part in (("pose", layout.pose), ("dynamics", layout.dynamics)):
        scores[f"{name}_jitter"] = _rms_ratio(
            sample[..., part].diff(n=2, dim=1), truth[..., part].diff(n=2, dim=1)
        )
        scores[f"{name}_amplitude"] = _rms_ratio(
            sample[..., part] - sample[..., part].mean(1, keepdim=True),
            truth[..., part] - truth[..., part].mean(1, keepdim=True),
        )
    hop = tracks.hop_frames
    change = sample.diff(dim=1).abs().mean((0, 2))  # (T - 1,)
    joins = torch.arange(hop - 1, len(change), hop)
    if len(joins):
        inside = torch.ones(len(change), dtype=torch.bool)
        inside[joins] = False
        scores["join"] = float(change[joins].mean() / change[inside].mean().clamp(min=1e-8))
    return scores


def _rms_ratio(sample: Tensor, truth: Tensor) -> float:
    return float((sample.square().mean() / truth.square().mean().clamp(min=1e-12)).sqrt())


def draw_tracks(tracks: Tracks, width: int = 1000, row: int = 90) -> np.ndarray:
    """Picture (ROWS x row, width, 3) uint8: truth grey, sample blue, one row per entry, thin lines where
    windows meet.
    """
    layout = tracks.layout
    r = correlation(tracks.sample, tracks.truth)
    pose = list(range(layout.pose.start, layout.pose.stop))[:3]
    ranked = sorted(range(layout.dynamics.start, layout.dynamics.stop), key=lambda i: -float(r[i]))
    entries = [*pose, *ranked][:ROWS]
    image = Image.new("RGB", (width, row * len(entries)), "white")
    pen = ImageDraw.Draw(image)
    truth, sample = tracks.truth[0].cpu(), tracks.sample[0].cpu()
    x = np.linspace(0, width - 1, len(truth))
    for number, entry in enumerate(entries):
        middle, top = (number + 0.5) * row, number * row
        for join in range(tracks.hop_frames, len(truth), tracks.hop_frames):
            pen.line([(x[join], top), (x[join], top + row)], fill=(225, 225, 225))
        for values, colour in ((truth, (150, 150, 150)), (sample, (30, 90, 220))):
            y = middle - values[:, entry].clamp(-3, 3).numpy() * row / 6.5
            pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=colour, width=2)
        name = POSE_NAMES[entry] if entry < len(POSE_NAMES) else f"z_dyn {entry - layout.dynamics.start}"
        pen.text((4, top + 3), f"{name}  r {float(r[entry]):.2f}", fill=(0, 0, 0))
    return np.asarray(image)
