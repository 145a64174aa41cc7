"""What each judge minimises.

A judge step joins a network, its augmentation and its loss; the loop does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.data.emotion_clips import EmotionClips, emotion_clips
from vasa.data.judge_pools import FrameSampler, Pool
from vasa.pretrained.emotion import EmotionNet
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.identity import IdentityNet
from vasa.pretrained.landmarks import LandmarkNet
from vasa.records import CONTROL_INDEX, CONTROL_NAMES
from vasa.training.capp_step import CappStep
from vasa.training.judge_augment import JudgeBatch, augment
from vasa.training.judge_config import JudgeConfig
from vasa.training.matte_step import MatteStep
from vasa.training.runtime import mix
from vasa.training.syncnet_step import SyncStep
from vasa.training.video_net_step import VideoNetStep

CONTROL_SCALE = (0.2, 0.15, 0.35, 0.35, 0.4, 0.3, 0.25, 0.35, 0.25, 0.25, 0.4)
"""About one standard deviation of each control in training: errors are measured in it."""
IDENTITY_SCALE, IDENTITY_MARGIN = 20.0, 0.2
"""Of the cosine softmax with margin (CosFace, Wang et al.

2018, eq. 4; theirs are 64 and 0.35, for millions of faces).
"""


def build_step(
    config: JudgeConfig, pools: list[Pool], batch_size: int, pool_dir: Path | None = None
) -> JudgeStep | EmotionStep | CappStep | SyncStep | VideoNetStep | MatteStep:
    """The step of a judge of any kind, its network fresh from the torch seed in force.

    pool_dir: where rendered clips are kept; for videos.
    """
    if config.kind == "emotion":
        return EmotionStep(config, emotion_clips(config.emotion_clips), batch_size)
    if config.kind == "capp":
        return CappStep(config, batch_size)
    if config.kind == "syncnet":
        return SyncStep(config, batch_size)
    if config.kind == "video":
        assert pool_dir is not None
        return VideoNetStep(config, pool_dir, batch_size)
    if config.kind == "matte":
        return MatteStep(config, FrameSampler(pools, batch_size, config.seed))
    return JudgeStep(config, FrameSampler(pools, batch_size, config.seed))


class JudgeStep:
    """Batches and losses of one judge.

    `module` holds what is trained: the network, and for identity its classifier.
    """

    def __init__(self, config: JudgeConfig, frames: FrameSampler) -> None:
        self.config, self.frames = config, frames
        self.network: nn.Module = {
            "landmarks": lambda: LandmarkNet(config.landmarks),
            "expression": lambda: ExpressionNet(config.regions),
            "identity": lambda: IdentityNet(config.identity),
        }[config.kind]()
        self.people = nn.Linear(config.identity.embedding_dim, frames.num_people, bias=False)
        self.module = nn.ModuleDict({"network": self.network})
        if config.kind == "identity":
            self.module["people"] = self.people

    def batch_at(self, step: int) -> JudgeBatch:
        """The augmented batch of a step: a pure function of (seed, step)."""
        generator = torch.Generator().manual_seed(mix(self.config.seed, step, 1))
        batch = augment(self.frames.batch(step), self.config.augment, generator)
        if self.config.kind != "landmarks":
            batch.landmarks = shake(batch.landmarks, self.config.augment.landmark_noise, generator)
        return batch

    def loss(self, batch: JudgeBatch, step: int) -> dict[str, Tensor]:
        """Scalars by name; `total` is their sum."""
        parts = {
            "landmarks": self._landmarks,
            "expression": self._expression,
            "identity": self._identity,
        }[self.config.kind](batch)
        return {"total": torch.stack(list(parts.values())).sum(), **parts}

    def _landmarks(self, batch: JudgeBatch) -> dict[str, Tensor]:
        out = self.network(batch.images)
        face = batch.is_face
        return {
            "points": _mean(point_error(out.landmarks, batch.landmarks, batch.pose), face) * 10,
            "pose": _mean((out.pose - batch.pose).abs().mean(-1), face) * 2,
            "confidence": F.binary_cross_entropy_with_logits(out.confidence, face) * 0.2,
        }

    def _expression(self, batch: JudgeBatch) -> dict[str, Tensor]:
        controls = self.network(batch.images, batch.landmarks)
        error = (controls - batch.controls) / controls.new_tensor(CONTROL_SCALE)
        huber = F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=0.5)
        return {"controls": (huber * visible_controls(batch.controls)).mean()}

    def _identity(self, batch: JudgeBatch) -> dict[str, Tensor]:
        embedding = self.network(batch.images, batch.landmarks)
        cosine = F.linear(embedding, F.normalize(self.people.weight.float(), dim=-1))
        margin = F.one_hot(batch.person, cosine.shape[-1]) * IDENTITY_MARGIN
        return {"identity": F.cross_entropy(IDENTITY_SCALE * (cosine - margin), batch.person)}


@dataclass(slots=True)
class EmotionBatch:
    """controls (B, 11): means of stretches as the expression judge would read them. emotion (B, 8)."""

    controls: Tensor
    emotion: Tensor


class EmotionStep:
    """Batches and loss of the emotion judge:

    True expressions of clips, under what the expression judge gets wrong.
    """

    def __init__(self, config: JudgeConfig, clips: EmotionClips, batch_size: int) -> None:
        self.config, self.clips, self.batch_size = config, clips, batch_size
        self.network = EmotionNet(config.emotion)
        self.module = nn.ModuleDict({"network": self.network})

    def batch_at(self, step: int) -> EmotionBatch:
        """A pure function of (seed, step)."""
        generator = torch.Generator().manual_seed(mix(self.config.seed, step, 1))
        chosen = torch.randint(len(self.clips.emotion), (self.batch_size,), generator=generator)
        controls, emotion = self.clips.stretch(chosen, self.config.stretch_frames, generator)
        noise = torch.randn(tuple(controls.shape), generator=generator)
        return EmotionBatch(controls + noise * torch.tensor(self.config.reading_noise), emotion)

    def loss(self, batch: EmotionBatch, step: int) -> dict[str, Tensor]:
        """Cross-entropy against the weights."""
        log_weights = self.network.logits(batch.controls).log_softmax(-1)
        return {"total": -(batch.emotion * log_weights).sum(-1).mean()}


def point_error(predicted: Tensor, wanted: Tensor, pose: Tensor) -> Tensor:
    """Mean distance (B,) of landmarks, in units of the face's size, over those that lie in the picture."""
    inside = (wanted.abs() <= 1).all(-1).float()
    distance = F.smooth_l1_loss(predicted, wanted, reduction="none", beta=0.02).sum(-1) / pose[:, 5:6].exp()
    return (distance * inside).sum(-1) / inside.sum(-1).clamp(min=1)


def visible_controls(controls: Tensor) -> Tensor:
    """Weights (B, 11) of the controls' errors: a gaze behind closed lids cannot be seen."""
    weights = torch.ones_like(controls)
    closed = controls[:, [CONTROL_INDEX["blink_left"], CONTROL_INDEX["blink_right"]]].amin(1).clamp(0, 1)
    for name in ("gaze_yaw", "gaze_pitch"):
        weights[:, CONTROL_NAMES.index(name)] = (1 - closed).square()
    return weights


def shake(landmarks: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Landmarks (B, 68, 2) as a network would find them:

    All shifted together, and each a little by itself.
    """
    together = torch.randn((len(landmarks), 1, 2), generator=generator) * noise
    each = torch.randn(tuple(landmarks.shape), generator=generator) * noise
    return landmarks + 0.7 * together + 0.7 * each


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)
