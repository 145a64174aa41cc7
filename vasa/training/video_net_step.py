"""How the small video network learns, and what it is worth: it says what a window shows, and what is wrong.

From the same features, each by one linear map: the doses of eight faults (video_faults.py), the mean and the
speed of pose and controls in the frames as shown, a thumbnail, and whose face it is. What is linear in the
features moves their mean or covariance, so a Fréchet distance feels it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.data.video_pools import VideoPool
from vasa.metrics.correlation import pearson
from vasa.metrics.frechet import frechet_distance
from vasa.metrics.fvd import WINDOW
from vasa.metrics.identity import verification_accuracy
from vasa.pretrained.video_net import VideoNet
from vasa.training.judge_config import JudgeConfig
from vasa.training.runtime import mix
from vasa.training.video_faults import FAULTS, shown, spoil

CLEAN_SHARE, SECOND_SHARE = 0.35, 0.3
"""Of windows: without any fault; with a second one beside the first."""
THUMBNAIL = 8
"""px each way."""
PERSON_SCALE = 12.0
"""Of the cosine softmax over people."""
WEIGHTS = {"faults": 1.5, "motion": 1.0, "look": 1.0, "person": 0.05, "spread": 0.3}
DOSE_SCALE = 0.2
"""About one standard deviation of a dose in training: errors are measured in it."""
SCORED_DOSES = (0.25, 0.5, 1.0)
CHUNK = 16


@dataclass(slots=True)
class VideoBatch:
    """windows (B, 3, T, S, S) in [-1, 1]; doses (B, 8) of FAULTS; motion (B, 34): means and speeds of pose
    and controls, in standard deviations; person (B,).
    """

    windows: Tensor
    doses: Tensor
    motion: Tensor
    person: Tensor


class VideoNetStep:
    """Batches, loss and scores. ``module``: the network and the linear maps that read its features."""

    def __init__(self, config: JudgeConfig, pools: Path, batch_size: int) -> None:
        self.config, self.batch_size = config, batch_size
        self.pool = VideoPool(config.video_clips, pools / "video_train")
        self.held_out = VideoPool(config.video_validation, pools / "video_validation")
        for pool in (self.pool, self.held_out):
            if pool.config.size != config.video.size or pool.config.frames < WINDOW:
                raise ValueError(
                    f"video pool: {pool.config.frames} frames of {pool.config.size} px; the network wants at "
                    f"least {WINDOW} of {config.video.size} px."
                )
        raw = torch.stack(
            [motion_of(self.pool, clip, torch.arange(WINDOW)) for clip in range(len(self.pool))]
        )
        self.motion_mean, self.motion_std = raw.mean(0), raw.std(0).clamp(min=1e-3)
        self.network = VideoNet(config.video)
        width = config.video.features_dim
        self.heads = nn.ModuleDict(
            {
                "faults": nn.Linear(width, len(FAULTS)),
                "motion": nn.Linear(width, raw.shape[1]),
                "look": nn.Linear(width, 3 * THUMBNAIL**2),
                "person": nn.Linear(width, self.pool.config.num_people, bias=False),
            }
        )
        self.module = nn.ModuleDict({"network": self.network, "heads": self.heads})

    def batch_at(self, step: int) -> VideoBatch:
        """A pure function of (seed, step): every clip once in each pass, in a fresh order."""
        size, total = self.batch_size, len(self.pool)
        positions, orders, rows = range(step * size, (step + 1) * size), {}, []
        for epoch in {position // total for position in positions}:
            generator = torch.Generator().manual_seed(mix(self.config.seed, epoch, 2))
            orders[epoch] = torch.randperm(total, generator=generator).tolist()
        for position in positions:
            generator = torch.Generator().manual_seed(mix(self.config.seed, position, 3))
            rows.append(self._row(orders[position // total][position % total], generator))
        windows, doses, motion, person = zip(*rows, strict=True)
        return VideoBatch(*(torch.stack(part) for part in (windows, doses, motion, person)))

    def loss(self, batch: VideoBatch, step: int) -> dict[str, Tensor]:
        """Scalars by name; `total` is their weighted sum."""
        features = self.network(batch.windows)
        with torch.autocast(features.device.type, enabled=False):
            weight = F.normalize(self.heads["person"].get_parameter("weight"), dim=-1)
            cosine = F.linear(F.normalize(features, dim=-1), weight)
            parts = {
                "faults": F.smooth_l1_loss(self.heads["faults"](features), batch.doses / DOSE_SCALE),
                "motion": F.smooth_l1_loss(self.heads["motion"](features), batch.motion),
                "look": F.mse_loss(self.heads["look"](features), thumbnails(batch.windows)),
                "person": F.cross_entropy(PERSON_SCALE * cosine, batch.person),
                # No direction may dwarf the others, whatever the linear maps would like.
                "spread": (features.std(0) - 1).square().mean() + features.mean(0).square().mean(),
            }
        total = torch.stack([WEIGHTS[name] * value for name, value in parts.items()]).sum()
        return {"total": total, **parts}

    @torch.no_grad()
    def scores(self, module: nn.Module) -> dict[str, float]:
        """What the network is worth on held-out people. module: as ``self.module``, averaged.

        r of each fault's dose and of the motion; verification of people; and, for each fault and dose, how
        far half of the people is from the other half's clean windows, over how far it is without the fault.
        """
        network, heads = module.get_submodule("network"), module.get_submodule("heads")
        assert isinstance(heads, nn.ModuleDict)
        pool, rows = self.held_out, range(len(self.held_out))
        drawn = [self._row(clip, _generator(clip), pool) for clip in rows]
        features = _features(network, [row[0] for row in drawn])
        doses, motion = (torch.stack([row[k] for row in drawn]) for k in (1, 2))
        read = {name: pearson(heads["faults"].cpu()(features), doses)[i] for i, name in enumerate(FAULTS)}
        found = {f"{name} r": float(value) for name, value in read.items()}
        found["motion r"] = float(pearson(heads["motion"].cpu()(features), motion).mean())
        clean = _features(network, [self._window(c, {}, _generator(c), pool)[0] for c in rows])
        found["verification"] = verification_accuracy(F.normalize(clean, dim=-1), pool.person)
        first, second = pool.person % 2 == 0, pool.person % 2 == 1
        floor = frechet_distance(clean[first], clean[second])
        for name in FAULTS:
            for dose in SCORED_DOSES:
                windows = [self._window(c, {name: dose}, _generator(c), pool)[0] for c in rows if first[c]]
                distance = frechet_distance(_features(network, windows), clean[second])
                found[f"{name} {dose:g}, distance over floor"] = distance / floor
        return {f"held_out/{name}": value for name, value in found.items()}

    def _row(
        self, clip: int, generator: torch.Generator, pool: VideoPool | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One window with faults: (3, T, S, S), doses, motion, person."""
        pool = pool or self.pool
        doses = draw_doses(generator)
        window, order = self._window(clip, doses, generator, pool)
        motion = (motion_of(pool, clip, order) - self.motion_mean) / self.motion_std
        return window, torch.tensor([doses.get(name, 0.0) for name in FAULTS]), motion, pool.person[clip]

    def _window(
        self, clip: int, doses: dict[str, float], generator: torch.Generator, pool: VideoPool
    ) -> tuple[Tensor, Tensor]:
        """A window (3, T, S, S) in [-1, 1] of a clip with faults, and which of its frames it shows."""
        order = shown(doses, WINDOW, pool.config.frames - WINDOW, generator)
        other = int(torch.randint(len(pool), (), generator=generator))
        frames = pool.frames(clip, order).float() / 255
        drifting = pool.frames(other, order).float() / 255 if "drift" in doses else frames
        return spoil(frames, doses, drifting, generator).transpose(0, 1) * 2 - 1, order


def draw_doses(generator: torch.Generator) -> dict[str, float]:
    """None, one or two of FAULTS with a dose above 0, small ones a little more often."""
    chance, second, *u = torch.rand(4, generator=generator).tolist()
    count = 0 if chance < CLEAN_SHARE else 2 if second < SECOND_SHARE else 1
    chosen = torch.randperm(len(FAULTS), generator=generator)[:count].tolist()
    return {FAULTS[index]: 0.05 + 0.95 * u[place] ** 1.3 for place, index in enumerate(chosen)}


def motion_of(pool: VideoPool, clip: int, order: Tensor) -> Tensor:
    """Mean and mean absolute change of pose and controls over the frames of a clip as shown: (34,)."""
    track = torch.cat([pool.pose[clip], pool.controls[clip]], -1)[order]
    return torch.cat([track.mean(0), track.diff(dim=0).abs().mean(0)])


def thumbnails(windows: Tensor) -> Tensor:
    """The mean frame of windows (B, 3, T, S, S), 8x8 px: (B, 192)."""
    return F.adaptive_avg_pool2d(windows.mean(2), THUMBNAIL).flatten(1)


def _generator(clip: int) -> torch.Generator:
    return torch.Generator().manual_seed(mix(clip, 4))


def _features(network: nn.Module, windows: list[Tensor]) -> Tensor:
    device = next(network.parameters()).device
    chunks = [torch.stack(windows[i : i + CHUNK]) for i in range(0, len(windows), CHUNK)]
    return torch.cat([network(chunk.to(device)).float().cpu() for chunk in chunks])
