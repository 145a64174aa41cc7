"""A video instead of a photograph in a keypoint space: its face follows a driver, or its lips a sound.

The motion of every frame is read first, some frames at a time, and LivePortrait's rules for a source video
are applied to all of it at once, as smoothing wants it: numbers, 0.5 kB a frame. Then each frame is encoded
anew, rendered and put back into the whole frame; no frames are kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from vasa.device import fast_precision
from vasa.face.keypoints.animation import Animator, KeypointMotion
from vasa.face.keypoints.config import RulesConfig
from vasa.face.keypoints.resting import resting_expression
from vasa.face.keypoints.space import KeypointFace, from_raw, to_raw
from vasa.inference.asked import Asked
from vasa.inference.driving import as_tensor
from vasa.inference.edits import Edit, finite
from vasa.inference.face_video import FaceVideo
from vasa.inference.generation import Generation, Portrait
from vasa.inference.keypoint_edit import Driver, as_motion
from vasa.inference.keypoint_framing import DriverFraming, DriverOpenings, check_openings, wants_openings
from vasa.inference.pipeline import TalkingFace
from vasa.inference.source_frames import even, looked_through, put_back, strengths, swinging, swung
from vasa.preprocess.crop import cut

READ_AT_ONCE = 16
"""Frames whose motion is read together."""


@dataclass(slots=True)
class KeypointVideo:
    """portrait: its first frame with a face. size: px of the square that is rendered."""

    video: FaceVideo
    portrait: Portrait
    size: int
    framing: DriverFraming
    _own: tuple[Tensor, KeypointMotion] | None = None

    @classmethod
    def open(cls, path: Path, face: TalkingFace, size: int, rules: RulesConfig) -> KeypointVideo:
        """Looks through a video. Raises: FileNotFoundError; ValueError where it shows no face."""
        framing = DriverFraming(face.landmarks, rules, is_source=True)
        return cls(*looked_through(path, face, size, framing.square), size, framing)

    def own(
        self, space: KeypointFace, device: torch.device, openings: bool = False
    ) -> tuple[Tensor, KeypointMotion]:
        """Canonical keypoints (T, 21, 3) and motion of its frames, each in its own square, with ``openings``
        of eyes and lips; where the face is not seen, those of the nearest frame that shows it. Read once.
        """
        if self._own is None or (openings and self._own[1].eyes is None):
            told = DriverOpenings(self.framing) if openings else None
            starts = range(0, len(self.video), READ_AT_ONCE)
            parts = [self._read(start, space, device, told) for start in starts]
            missing = distance_transform_edt(~self.video.seen, return_distances=False, return_indices=True)
            held = torch.from_numpy(missing[0].astype(np.int64)).to(device)
            canonical = torch.cat([part[0] for part in parts])[held]
            self._own = canonical, KeypointMotion.joined([part[1] for part in parts])[held]
        return self._own

    def _read(
        self, start: int, space: KeypointFace, device: torch.device, told: DriverOpenings | None
    ) -> tuple[Tensor, KeypointMotion]:
        pictures, openings = [], []
        stop = min(start + READ_AT_ONCE, len(self.video))
        for number, frame in enumerate(self.video.frames(start, stop), start):
            crop = self.video.crop(number, self.size, self.size)
            pictures.append(cut(frame, crop))
            if told is not None:
                openings.append(told.of_frame(frame, crop))
        canonical, motion = space.read(as_tensor(np.stack(pictures), device))
        if openings:
            ratios = torch.from_numpy(np.stack(openings)).to(canonical)
            motion.eyes, motion.lips = ratios[:, :2], ratios[:, 2:]
        return canonical, motion


def follow(
    face: TalkingFace,
    space: KeypointFace,
    source: KeypointVideo,
    motion: Iterator[Tensor],
    num_frames: int,
    driver: Driver,
    rules: RulesConfig,
    *,
    asked: Asked,
    pose: str = "relative",
    edits: Sequence[Edit] = (),
    recorder: Edit | None = None,
    seed: int = 0,
) -> Generation:
    """A source video that follows raw motion (t, 69): frames of its own height and width. Motion made of
    sound that is longer than it meets it back and forth, one picture is held; else the shorter of the two
    ends it.

    asked: whose distance is kept. edits: of the driver's motion, before it is the video's; where one picture
    drives, which moves no head, of the video's own. recorder: sees what is shown, before stitching.
    Raises: ValueError where rules want openings of eyes or lips that are not known.
    """
    tells = source.framing.landmarks.tells_openings
    check_openings(rules, space.species, pose == "relative", tells, driver.name, driver.tells)
    if driver.alone and (pose == "absolute" or rules.region == "pose"):
        raise ValueError(
            f"{driver.name} is one frame, of which a video takes the expression alone: its head stays; leave "
            "pose=absolute and keypoints.region=pose out."
        )
    if driver.alone and rules.smooth not in (0, RulesConfig().smooth):
        raise ValueError(
            f"keypoints.smooth is given, but {driver.name} is one frame that is held and needs none; leave "
            "it out."
        )
    length = len(source.video)
    num_frames = num_frames if driver.sound else length if driver.alone else min(num_frames, length)
    timings = {"portrait_s": source.portrait.seconds, "motion_s": 0.0, "render_s": 0.0}
    shape = even(next(source.video.frames(0, 1))).shape[:2]
    film = _Film(face, space, source, driver, rules, pose == "relative", edits, timings)
    frames = film.frames(motion, -asked.at("distance", 0, num_frames).log(), recorder)
    return Generation(source.portrait, num_frames, seed, timings, (shape[0], shape[1]), frames)


@dataclass(slots=True)
class _Film:
    face: TalkingFace
    space: KeypointFace
    source: KeypointVideo
    driver: Driver
    rules: RulesConfig
    relative: bool
    edits: Sequence[Edit]
    timings: dict[str, float]

    def frames(self, motion: Iterator[Tensor], nearer: Tensor, recorder: Edit | None) -> Iterator[np.ndarray]:
        """nearer (T,): added to log scale."""
        started, video, num_frames = time.perf_counter(), self.source.video, len(nearer)
        with torch.inference_mode():
            first, driving = self._driven(motion, num_frames)
            shown = self._moved(driving, first, nearer, recorder)
        self.timings["motion_s"] += time.perf_counter() - started
        strength = strengths(video.seen)
        for place, (number, frame) in enumerate(swinging(video, num_frames)):
            started = time.perf_counter()
            whole = even(frame)
            if strength[number] > 0:
                whole = self._frame(whole, number, shown[place : place + 1], strength[number])
            self.timings["render_s"] += time.perf_counter() - started
            yield whole

    def _driven(self, motion: Iterator[Tensor], num_frames: int) -> tuple[Tensor, Tensor]:
        """What motion is measured from (1, 69), and all of the driver's (num_frames, 69)."""
        chunks, made, first = [], 0, self.driver.reference
        if self.driver.alone:
            only = finite(next(motion)[:1].to(self.face.device))
            return only, only.expand(num_frames, -1)
        for chunk in motion:
            chunk = chunk.to(self.face.device)
            first = chunk[:1].clone() if first is None else first.to(chunk)
            for edit in self.edits:
                chunk = edit(chunk, made)
            chunks.append(finite(chunk))
            made += len(chunk)
            if made >= num_frames:
                break
        assert first is not None
        return first, torch.cat(chunks)[:num_frames]

    def _moved(self, driving: Tensor, first: Tensor, nearer: Tensor, recorder: Edit | None) -> Tensor:
        """Raw motion (T, 69) whose keypoints are those of the rules, stitched and all."""
        alone, wanted = self.driver.alone, wants_openings(self.rules)
        canonical, own = self.source.own(self.space, self.face.device, wanted)
        order = torch.from_numpy(swung(len(self.source.video), len(driving))).to(self.face.device)
        animator = Animator(
            self.rules,
            canonical[order],
            own[order],
            self.space.retargeting,
            relative=self.relative,
            sound=self.driver.sound,
            lip_rest=resting_expression() if alone else None,
        )
        moved = animator.moved(from_raw(driving), from_raw(first))
        # smoothed turns are no rotations any more: what that does to keypoints becomes expression
        motion = as_motion(to_raw(moved), moved.keypoints(animator.canonical), animator.canonical)
        motion[:, self.space.layout.scale] += nearer[: len(motion), None].to(motion)
        for edit in self.edits if alone else ():
            motion = edit(motion, 0)
        if recorder is not None:
            recorder(motion, 0)
        shown = from_raw(motion)
        if self.driver.openings is not None:
            told = self.driver.openings.take(0, 1 if alone else len(motion)).to(motion)
            told = told.expand(len(motion), -1)
            shown.eyes, shown.lips = told[:, :2], told[:, 2:]
        x = animator.corrected(shown.keypoints(animator.canonical), shown)
        return finite(as_motion(motion, x, animator.canonical))

    @torch.inference_mode()
    def _frame(self, frame: np.ndarray, number: int, motion: Tensor, strength: float) -> np.ndarray:
        """One whole frame (H, W, 3) with the face under raw motion (1, 69)."""
        space, device = self.space, self.face.device
        crop = self.source.video.crop(number, self.source.size, self.source.size)
        canonical, own = self.source.own(space, device)
        one = torch.tensor([number], device=device)
        pixels = as_tensor(cut(frame, crop)[None], device)
        appearance = space.hold_edges(space.encode_known(pixels, canonical[one], own[one]))
        with fast_precision(device, self.face.speed.precision):
            image = space.render(appearance, motion).float()
        lower = self.face.aligner.points_of(frame, crop) if self.rules.region == "lip" else None
        return put_back(frame, crop, image, strength, lower)
