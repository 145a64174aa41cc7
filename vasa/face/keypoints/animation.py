"""LivePortrait's and JoyVASA's rules: how a driving motion becomes keypoints of a source. Everything is per
clip: frame 0 of the driving is what relative motion is measured from.

    relative   R = R_i R_0^T R_s,  exp = exp_s + exp_i - exp_0,  scale = s_s s_i / s_0,  t = t_s + t_i - t_0
    absolute   R_i, exp_i and t_i take the source's place
    friendly   x = x_s + m (x_i - x_0), m from the volumes of both faces' keypoint hulls

then retargeting of eyes and lips, stitching, and a multiplier of the way from the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from scipy.spatial import ConvexHull
from torch import Tensor

from vasa.face.keypoints.camera import rotation, transformed
from vasa.face.keypoints.config import RulesConfig
from vasa.face.keypoints.extractor import NUM_KEYPOINTS
from vasa.face.keypoints.smoothing import smoothed
from vasa.face.keypoints.stitching import Retargeting

LIP_POINTS = (6, 12, 14, 17, 19, 20)
EYE_POINTS = (11, 13, 15, 16, 18)
FREE_POINTS = (1, 2, 6, *range(11, 21))
FREE_PARTS = ((3, 1), (4, 1), (5, 2), (8, 2), (9, 1), (9, 2))
"""Points, and single axes of others, whose expression holds no head pose."""
OPEN_LIPS = 0.03
"""Lip ratio of a source from which on its lips are closed first, where that is asked for."""
CLOSED_EYES, OPEN_EYES = 0.18, 0.39
"""Mean eye ratio of a source video's first frame below which its eyes are opened to the second."""


@dataclass(slots=True)
class KeypointMotion:
    """T frames as M reads them: turned (T, 3, 3), expression (T, 21, 3), scale (T, 1), t (T, 3). eyes (T, 2)
    and lips (T, 1): ratios of openings, where landmarks were seen.
    """

    turned: Tensor
    expression: Tensor
    scale: Tensor
    t: Tensor
    eyes: Tensor | None = None
    lips: Tensor | None = None

    def __len__(self) -> int:
        return len(self.turned)

    def __getitem__(self, index: slice | Tensor) -> KeypointMotion:
        ratios = (None if part is None else part[index] for part in (self.eyes, self.lips))
        motion = self.turned[index], self.expression[index], self.scale[index], self.t[index]
        return KeypointMotion(*motion, *ratios)

    @staticmethod
    def joined(parts: Sequence[KeypointMotion]) -> KeypointMotion:
        """One behind the other, with ratios if the first has them."""
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(parts[0])}
        given = {name: torch.cat(column) for name, column in columns.items() if column[0] is not None}
        return KeypointMotion(**given)

    def keypoints(self, canonical: Tensor) -> Tensor:
        """x (T, 21, 3) of canonical keypoints (1, 21, 3) or (T, 21, 3)."""
        return transformed(canonical, self.turned, self.expression, self.scale, self.t)

    @staticmethod
    def of_heads(heads: dict[str, Tensor], degrees: tuple[Tensor, Tensor, Tensor]) -> KeypointMotion:
        """Of what M gives, with its pitch, yaw and roll."""
        expression = heads["exp"].view(-1, NUM_KEYPOINTS, 3)
        return KeypointMotion(rotation(*degrees), expression, heads["scale"], heads["t"])


def region_mask(region: str) -> Tensor:
    """(21, 3) bool: what of an expression a region takes."""
    mask = torch.zeros(NUM_KEYPOINTS, 3, dtype=torch.bool)
    if region in ("all", "exp"):
        mask[list(FREE_POINTS)] = True
        for point, axis in FREE_PARTS:
            mask[point, axis] = True
    elif region in ("lip", "eyes"):
        mask[list(LIP_POINTS if region == "lip" else EYE_POINTS)] = True
    return mask


def hull_multiplier(source: Tensor, driving: Tensor) -> float:
    """Square root of the ratio of the volumes of two hulls, keypoints (1, 21, 3): how much larger the source
    is.
    """
    volumes = [ConvexHull(points[0].cpu().numpy().astype(np.float64)).volume for points in (source, driving)]
    return float(np.sqrt(volumes[0]) / np.sqrt(volumes[1]))


@dataclass(slots=True)
class Animator:
    """Rules for one source: canonical (1, 21, 3) or one a frame, motion: its own, with ratios where they are
    asked for. relative: to the driving's first frame; else in its place. sound: the driving was made of
    sound, JoyVASA's rules. lip_rest (21, 3): the driving is one picture, and its expression is measured from
    that.
    """

    config: RulesConfig
    canonical: Tensor
    motion: KeypointMotion
    networks: Retargeting
    species: str = "human"
    relative: bool = True
    sound: bool = False
    lip_rest: Tensor | None = None

    def __post_init__(self) -> None:
        if self.config.region == "auto":
            self.config = replace(self.config, region="all")

    @property
    def source(self) -> Tensor:
        return self.motion.keypoints(self.canonical)

    def keypoints(self, driving: KeypointMotion, first: KeypointMotion | None = None) -> Tensor:
        """x (T, 21, 3) under driving frames. first: frame 0 of the clip that they belong to; None: theirs."""
        first = driving[:1] if first is None else first
        return self.corrected(self.scaled(self.moved(driving, first), first), driving)

    # ------------------------------------------------------------------ motion

    def moved(self, driving: KeypointMotion, first: KeypointMotion) -> KeypointMotion:
        """The source's motion with the driving's in it, frame by frame."""
        if len(self.motion) > 1:
            return self._of_video(driving, first)
        if self.species == "animal":
            return self._animal(driving, first)
        if self.sound:
            return self._heard(driving, first)
        return self._relative(driving, first) if self.relative else self._absolute(driving)

    def _absolute(self, driving: KeypointMotion) -> KeypointMotion:
        own, region = self.motion, self.config.region
        heads = region in ("all", "pose")
        mask = region_mask(region).to(own.expression.device)
        expression = torch.where(mask, driving.expression, own.expression)
        count = len(driving)
        turned = driving.turned if heads else own.turned.expand(count, -1, -1)
        t = driving.t if heads else own.t.expand(count, -1)
        return KeypointMotion(turned, expression, own.scale.expand(count, -1), t)

    def _relative(self, driving: KeypointMotion, first: KeypointMotion) -> KeypointMotion:
        own, region, count, alone = self.motion, self.config.region, len(driving), self.lip_rest is not None
        turned, expression = own.turned.expand(count, -1, -1), own.expression.expand(count, -1, -1)
        scale, t = own.scale.expand(count, -1), own.t.expand(count, -1)
        if region in ("all", "pose") and not alone:
            turned = driving.turned @ first.turned.transpose(1, 2) @ own.turned
            t = own.t + driving.t - first.t
            if region == "all":
                scale = own.scale * driving.scale / first.scale
        if region != "pose":
            start = first.expression
            if self.lip_rest is not None:
                start = torch.zeros_like(start) if region == "eyes" else self.lip_rest.to(start)[None]
            change = driving.expression - start
            if region in ("lip", "eyes"):
                change = change * region_mask(region).to(change)
            expression = own.expression + change
        return KeypointMotion(turned, expression, scale, t)

    def _heard(self, driving: KeypointMotion, first: KeypointMotion) -> KeypointMotion:
        """JoyVASA's: the lips of generated motion count as they are, all else from its first frame."""
        own, region = self.motion, self.config.region
        count = len(driving)
        turned, expression = own.turned.expand(count, -1, -1), own.expression.expand(count, -1, -1)
        if region in ("all", "pose"):
            turned = driving.turned @ first.turned.transpose(1, 2) @ own.turned
        change = driving.expression - first.expression
        lips = region_mask("lip").to(change.device)
        if region in ("all", "exp"):
            expression = torch.where(lips, driving.expression, own.expression + change)
        elif region == "lip":
            expression = own.expression + change * lips
        scale = own.scale * driving.scale / first.scale
        return KeypointMotion(turned, expression, scale, own.t + driving.t - first.t)

    def _animal(self, driving: KeypointMotion, first: KeypointMotion) -> KeypointMotion:
        """An animal's face is no person's: ``finished`` takes only the way from the first frame of this."""
        own = self.motion
        scale = own.scale.expand(len(driving), -1)
        if not self.sound:
            return replace(driving, scale=scale)
        turned = driving.turned @ first.turned.transpose(1, 2) @ own.turned
        expression = own.expression + driving.expression - first.expression
        return KeypointMotion(turned, expression, scale, own.t + driving.t - first.t)

    def _of_video(self, driving: KeypointMotion, first: KeypointMotion) -> KeypointMotion:
        """A source video, frame by frame: its own head under relative turns, smoothed over the clip. Lips
        made of sound count as they are, whatever the video says at the time.
        """
        config, own = self.config, self.motion
        mask = region_mask("all").to(own.expression.device)
        kept = mask if config.region in ("all", "exp") else region_mask(config.region).to(mask.device)
        if self.lip_rest is not None:
            change = driving.expression - self.lip_rest.to(driving.expression)
            return replace(own, expression=own.expression + torch.where(kept, change, 0.0))
        driving = driving[: len(own)]
        expression, turned, t = driving.expression, driving.turned, driving.t
        if self.relative:
            expression = own.expression + expression - first.expression
            turned, t = turned @ first.turned.transpose(1, 2) @ own.turned, own.t
        if self.sound:
            expression = torch.where(region_mask("lip").to(mask.device), driving.expression, expression)
        if config.smooth > 0:
            expression, turned = smoothed(expression, config.smooth), smoothed(turned, config.smooth)
        if config.region == "pose":
            expression = own.expression
        moved = replace(own, expression=torch.where(kept, expression, own.expression))
        return replace(moved, turned=turned, t=t) if config.region in ("all", "pose") else moved

    def scaled(self, moved: KeypointMotion, first: KeypointMotion) -> Tensor:
        """x (T, 21, 3) of what ``moved`` gave, the way from its first frame brought to the source's face."""
        source, x = self.source, moved.keypoints(self.canonical)
        if not self._is_scaled:
            return x
        start = self.moved(first, first).keypoints(self.canonical)
        return source + (x - start) * hull_multiplier(source, start)

    def corrected(self, x: Tensor, driving: KeypointMotion) -> Tensor:
        """x (T, 21, 3) retargeted, stitched and multiplied. driving: frames with their ratios, where eyes or
        lips are retargeted.
        """
        source = self.source
        x = self._retargeted(x, driving, source)
        return source + (x - source) * self.config.multiplier

    @property
    def _is_scaled(self) -> bool:
        if len(self.motion) > 1:
            return False
        friendly = self.config.friendly and self.relative and self.lip_rest is None
        return self.species == "animal" or friendly

    # ------------------------------------------------------------------ corrections

    def _retargeted(self, x: Tensor, driving: KeypointMotion, source: Tensor) -> Tensor:
        config, networks = self.config, self.networks
        count = len(x)
        spread = source.expand(count, -1, -1)
        if config.eye_retargeting or config.lip_retargeting:
            x = spread if self.relative else x
            if config.eye_retargeting:
                own, wanted = _ratios(self.motion.eyes, "source"), _ratios(driving.eyes, "driving")
                x = x + networks.of_eyes(spread, own.expand(count, -1), wanted[:count, :1])
            if config.lip_retargeting:
                own, wanted = _ratios(self.motion.lips, "source"), _ratios(driving.lips, "driving")
                x = x + networks.of_lips(spread, own.expand(count, -1), wanted[:count])
        if config.stitching:
            x = networks.stitched(spread, x)
        if config.close_lips and self.relative:
            x = x + self._closing_lips(source)
        if config.open_source_eyes and len(self.motion) > 1:
            x = x + self._opening_eyes(source)
        return x

    def _closing_lips(self, source: Tensor) -> Tensor:
        """Offsets that close the lips of a source, in every frame of it in which they are open."""
        lips = _ratios(self.motion.lips, "source")
        closing = self.networks.of_lips(source, lips, torch.zeros_like(lips))
        return closing * (lips >= OPEN_LIPS)[..., None]

    def _opening_eyes(self, source: Tensor) -> Tensor:
        """Offsets that hold a source video's eyes as open as in its first frame."""
        eyes = _ratios(self.motion.eyes, "source")
        wanted = eyes[:1].mean(1, keepdim=True)
        wanted = torch.where(wanted < CLOSED_EYES, torch.full_like(wanted, OPEN_EYES), wanted)
        return self.networks.of_eyes(source, eyes, wanted.expand(len(source), -1))


def _ratios(found: Tensor | None, whose: str) -> Tensor:
    if found is None:
        raise ValueError(
            f"the {whose} has no ratios of its eyes and lips, which retargeting needs; give landmarks, or "
            "leave eye_retargeting and lip_retargeting out."
        )
    return found
