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
from vasa.face.keypoints.space import KeypointFace, from_raw, to_raw
from vasa.inference.driving import as_tensor
from vasa.inference.edits import Edit, finite
from vasa.inference.face_video import FaceVideo
from vasa.inference.generation import Generation, Portrait
from vasa.inference.keypoint_edit import as_motion
from vasa.inference.pipeline import TalkingFace
from vasa.inference.source_frames import even, looked_through, put_back, strengths, swinging, swung
from vasa.preprocess.crop import cut

READ_AT_ONCE = 16
"""Frames whose motion is read together."""


@dataclass(slots=True)
class KeypointVideo:
    """portrait: its first frame with a face. size: px, largest side of the square that is rendered."""

    video: FaceVideo
    portrait: Portrait
    size: int
    _own: tuple[Tensor, KeypointMotion] | None = None

    @classmethod
    def open(cls, path: Path, face: TalkingFace, size: int) -> KeypointVideo:
        """Looks through a video. Raises: FileNotFoundError; ValueError where it shows no face."""
        return cls(*looked_through(path, face, size), size)

    def own(self, space: KeypointFace, device: torch.device) -> tuple[Tensor, KeypointMotion]:
        """Canonical keypoints (T, 21, 3) and motion of its frames, each in its own square; where the face is
        not seen, those of the nearest frame that shows it. Read once.
        """
        if self._own is None:
            parts = [self._read(start, space, device) for start in range(0, len(self.video), READ_AT_ONCE)]
            missing = distance_transform_edt(~self.video.seen, return_distances=False, return_indices=True)
            held = torch.from_numpy(missing[0].astype(np.int64)).to(device)
            canonical = torch.cat([part[0] for part in parts])[held]
            self._own = canonical, KeypointMotion.joined([part[1] for part in parts])[held]
        return self._own

    def _read(self, start: int, space: KeypointFace, device: torch.device) -> tuple[Tensor, KeypointMotion]:
        stop = min(start + READ_AT_ONCE, len(self.video))
        frames = enumerate(self.video.frames(start, stop), start)
        pictures = [cut(frame, self.video.crop(n, space.size, self.size)) for n, frame in frames]
        return space.read(as_tensor(np.stack(pictures), device))


@dataclass(slots=True)
class Driver:
    """What a source video follows. motion: raw, chunks (t, 69) of ``num_frames``. reference (1, 69): what
    relative motion is measured from; None: its first frame. is_sound: it was made of sound, so lips count as
    they are.
    """

    motion: Iterator[Tensor]
    num_frames: int
    reference: Tensor | None = None
    seed: int = 0
    is_sound: bool = False


def follow(
    face: TalkingFace,
    space: KeypointFace,
    source: KeypointVideo,
    driver: Driver,
    rules: RulesConfig,
    nearer: Tensor,
    pose: str = "relative",
    edits: Sequence[Edit] = (),
    recorder: Edit | None = None,
) -> Generation:
    """A source video that follows: frames of its own height and width. Motion made of sound that is longer
    than it meets it back and forth; else the shorter of the two ends it.

    nearer (T,): added to log scale. edits: of the driver's motion, before it is the video's. recorder: sees
    the motion that is shown, before stitching.
    """
    num_frames = driver.num_frames if driver.is_sound else min(driver.num_frames, len(source.video))
    timings = {"portrait_s": source.portrait.seconds, "motion_s": 0.0, "render_s": 0.0}
    shape = even(next(source.video.frames(0, 1))).shape[:2]
    film = _Film(face, space, source, rules, pose == "relative", timings)
    frames = film.frames(driver, num_frames, nearer, edits, recorder)
    return Generation(source.portrait, num_frames, driver.seed, timings, (shape[0], shape[1]), frames)


@dataclass(slots=True)
class _Film:
    face: TalkingFace
    space: KeypointFace
    source: KeypointVideo
    rules: RulesConfig
    relative: bool
    timings: dict[str, float]

    def frames(
        self,
        driver: Driver,
        num_frames: int,
        nearer: Tensor,
        edits: Sequence[Edit],
        recorder: Edit | None,
    ) -> Iterator[np.ndarray]:
        started, video = time.perf_counter(), self.source.video
        with torch.inference_mode():
            first, driving = self._driven(driver, num_frames, edits)
            motion = self._moved(driving, first, driver.is_sound, nearer, recorder)
        self.timings["motion_s"] += time.perf_counter() - started
        strength = strengths(video.seen)
        for place, (number, frame) in enumerate(swinging(video, num_frames)):
            started = time.perf_counter()
            whole = even(frame)
            if strength[number] > 0:
                whole = self._frame(whole, number, motion[place : place + 1], strength[number])
            self.timings["render_s"] += time.perf_counter() - started
            yield whole

    def _driven(self, driver: Driver, num_frames: int, edits: Sequence[Edit]) -> tuple[Tensor, Tensor]:
        """What motion is measured from (1, 69), and all of the driver's (num_frames, 69)."""
        chunks, made, first = [], 0, driver.reference
        for chunk in driver.motion:
            chunk = chunk.to(self.face.device)
            first = chunk[:1].clone() if first is None else first.to(chunk)
            for edit in edits:
                chunk = edit(chunk, made)
            chunks.append(finite(chunk))
            made += len(chunk)
            if made >= num_frames:
                break
        assert first is not None
        return first, torch.cat(chunks)[:num_frames]

    def _moved(
        self, driving: Tensor, first: Tensor, is_sound: bool, nearer: Tensor, recorder: Edit | None
    ) -> Tensor:
        """Raw motion (T, 69) whose keypoints are those of the rules, stitched and all."""
        canonical, own = self.source.own(self.space, self.face.device)
        order = torch.from_numpy(swung(len(self.source.video), len(driving))).to(self.face.device)
        animator = Animator(
            self.rules,
            canonical[order],
            own[order],
            self.space.retargeting,
            relative=self.relative,
            sound=is_sound,
        )
        moved = animator.moved(from_raw(driving), from_raw(first))
        # smoothed turns are no rotations any more: what that does to keypoints becomes expression
        motion = as_motion(to_raw(moved), moved.keypoints(animator.canonical), animator.canonical)
        motion[:, self.space.layout.scale] += nearer[: len(motion), None].to(motion)
        if recorder is not None:
            recorder(motion, 0)
        shown = from_raw(motion)
        x = animator.corrected(shown.keypoints(animator.canonical), shown)
        return finite(as_motion(motion, x, animator.canonical))

    @torch.inference_mode()
    def _frame(self, frame: np.ndarray, number: int, motion: Tensor, strength: float) -> np.ndarray:
        """One whole frame (H, W, 3) with the face under raw motion (1, 69)."""
        space, device = self.space, self.face.device
        crop = self.source.video.crop(number, space.size, self.source.size)
        canonical, own = self.source.own(space, device)
        one = torch.tensor([number], device=device)
        pixels = as_tensor(cut(frame, crop)[None], device)
        appearance = space.hold_edges(space.encode_known(pixels, canonical[one], own[one]))
        with fast_precision(device):
            image = space.render(appearance, motion).float()
        lower = self.face.aligner.points_of(frame, crop) if self.rules.region == "lip" else None
        return put_back(frame, crop, image, strength, lower)
