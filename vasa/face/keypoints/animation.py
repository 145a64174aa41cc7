"""LivePortrait's and JoyVASA's rules: how a driving motion becomes keypoints of a source. Everything is per
clip: frame 0 of the driving is what relative motion is measured from.

    relative   R = R_i R_0^T R_s,  exp = exp_s + exp_i - exp_0,  scale = s_s s_i / s_0,  t = t_s + t_i - t_0
    absolute   R_i, exp_i and t_i take the source's place
    friendly   x = x_s + m (x_i - x_0), m from the volumes of both faces' keypoint hulls

then retargeting of eyes and lips, stitching, and a multiplier of the way from the source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import ConvexHull
from torch import Tensor

from vasa.face.keypoints.camera import rotation, transformed
from vasa.face.keypoints.config import AnimationConfig
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

    def __getitem__(self, index: slice) -> KeypointMotion:
        ratios = (None if part is None else part[index] for part in (self.eyes, self.lips))
        motion = self.turned[index], self.expression[index], self.scale[index], self.t[index]
        return KeypointMotion(*motion, *ratios)

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
    asked for. lip_rest (21, 3): the expression that a single driving picture is measured from.
    """

    config: AnimationConfig
    canonical: Tensor
    motion: KeypointMotion
    networks: Retargeting
    lip_rest: Tensor

    @property
    def source(self) -> Tensor:
        return self.motion.keypoints(self.canonical)

    def keypoints(self, driving: KeypointMotion, first: KeypointMotion | None = None) -> Tensor:
        """x (T, 21, 3) under driving frames. first: frame 0 of the clip that they belong to; None: theirs."""
        config, own, source = self.config, self.motion, self.source
        first = driving[:1] if first is None else first
        alone = config.single_picture
        if len(own) > 1:
            x = self._of_video(driving, first)
        elif config.species == "animal":
            x = self._animal(driving, first)
        else:
            x = self._moved(driving, first, alone).keypoints(self.canonical)
            if config.friendly and config.relative and not alone and config.species == "human":
                start = self._moved(first, first, alone).keypoints(self.canonical)
                x = source + (x - start) * hull_multiplier(source, start)
        x = self._retargeted(x, driving, source)
        return source + (x - source) * config.multiplier

    # ------------------------------------------------------------------ motion

    def _moved(self, driving: KeypointMotion, first: KeypointMotion, alone: bool) -> KeypointMotion:
        """The source's motion with the driving's in it."""
        config, own = self.config, self.motion
        count = len(driving)
        turned, expression = own.turned.expand(count, -1, -1), own.expression.expand(count, -1, -1)
        scale, t = own.scale.expand(count, -1), own.t.expand(count, -1)
        heads, region = config.region in ("all", "pose"), config.region
        if config.sound:
            return self._heard(driving, first)
        if not config.relative:
            if heads:
                turned, t = driving.turned, driving.t
            mask = region_mask(region).to(expression.device)
            expression = torch.where(mask, driving.expression, expression)
            return KeypointMotion(turned, expression, scale, t)
        if heads:
            if not alone:
                turned = driving.turned @ first.turned.transpose(1, 2) @ own.turned
                t = own.t + driving.t - first.t
            if region == "all" and not alone:
                scale = own.scale * driving.scale / first.scale
        if region != "pose":
            start = first.expression
            if alone:
                start = torch.zeros_like(start) if region == "eyes" else self.lip_rest.to(start)[None]
            change = driving.expression - start
            if region in ("lip", "eyes"):
                change = change * region_mask(region).to(change)
            expression = own.expression + change
        return KeypointMotion(turned, expression, scale, t)

    def _heard(self, driving: KeypointMotion, first: KeypointMotion) -> KeypointMotion:
        """JoyVASA's: the lips of generated motion count as they are, everything else from its first frame."""
        own, region = self.motion, self.config.region
        count = len(driving)
        turned, expression = own.turned.expand(count, -1, -1), own.expression.expand(count, -1, -1)
        if region in ("all", "pose"):
            turned = driving.turned @ first.turned.transpose(1, 2) @ own.turned
        change = driving.expression - first.expression
        if region in ("all", "exp"):
            lips = region_mask("lip").to(change.device)
            expression = torch.where(lips, driving.expression, own.expression + change)
        elif region == "lip":
            expression = own.expression + change * region_mask("lip").to(change)
        return KeypointMotion(
            turned, expression, own.scale * driving.scale / first.scale, own.t + driving.t - first.t
        )

    def _animal(self, driving: KeypointMotion, first: KeypointMotion) -> Tensor:
        """Always from the first frame, by the ratio of hulls; an animal's face is no person's."""
        own, source = self.motion, self.source

        def shown(frames: KeypointMotion) -> Tensor:
            scale = own.scale.expand(len(frames), -1)
            if not self.config.sound:
                return replace(frames, scale=scale).keypoints(self.canonical)
            turned = frames.turned @ first.turned.transpose(1, 2) @ own.turned
            expression = own.expression + frames.expression - first.expression
            t = own.t + frames.t - first.t
            return KeypointMotion(turned, expression, scale, t).keypoints(self.canonical)

        start = shown(first)
        return source + (shown(driving) - start) * hull_multiplier(source, start)

    def _of_video(self, driving: KeypointMotion, first: KeypointMotion) -> Tensor:
        """A source video, frame by frame: its own head under relative turns, smoothed over the clip."""
        config, own = self.config, self.motion
        count = len(own)
        mask = region_mask("all").to(own.expression.device)
        heads = config.region in ("all", "pose")
        if config.single_picture:
            expression = own.expression + driving.expression - self.lip_rest.to(driving.expression)
            expression = torch.where(mask, expression, own.expression)
            return replace(own, expression=expression).keypoints(self.canonical)
        driving = driving[:count]
        if config.relative:
            expression = own.expression + driving.expression - first.expression
            turned = driving.turned @ first.turned.transpose(1, 2) @ own.turned
        else:
            expression, turned = driving.expression, driving.turned
        if config.smooth > 0:
            expression, turned = smoothed(expression, config.smooth), smoothed(turned, config.smooth)
        if config.region != "pose":
            kept = mask if config.region in ("all", "exp") else region_mask(config.region).to(mask.device)
            expression = torch.where(kept, expression, own.expression)
        else:
            expression = own.expression
        moved = replace(own, expression=expression)
        if heads:
            moved = replace(moved, turned=turned, t=own.t if config.relative else driving.t)
        return moved.keypoints(self.canonical)

    # ------------------------------------------------------------------ corrections

    def _retargeted(self, x: Tensor, driving: KeypointMotion, source: Tensor) -> Tensor:
        config, networks = self.config, self.networks
        count = len(x)
        spread = source.expand(count, -1, -1)
        if config.eye_retargeting or config.lip_retargeting:
            x = spread if config.relative else x
            if config.eye_retargeting:
                own, wanted = _ratios(self.motion.eyes, "source"), _ratios(driving.eyes, "driving")
                x = x + networks.of_eyes(spread, own.expand(count, -1), wanted[:count, :1])
            if config.lip_retargeting:
                own, wanted = _ratios(self.motion.lips, "source"), _ratios(driving.lips, "driving")
                x = x + networks.of_lips(spread, own.expand(count, -1), wanted[:count])
        if config.stitching:
            x = networks.stitched(spread, x)
        if config.close_lips and config.relative:
            x = x + self._closing_lips(source)
        if config.open_source_eyes and self.motion.eyes is not None and len(self.motion) > 1:
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
