"""A video instead of a photograph: its head motion and background stay, lips and expression follow the sound.

Every frame is encoded anew and shown under its own motion, but for what the sound is to change, and what is
made goes back into the whole frame: a mask around the lower face where only that speaks. So all else is the
frame itself. Sound that lasts longer than the video meets it going back and forth, without a jump. Memory
does not grow with either; frames of 1920 px at most.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vasa.device import fast_precision
from vasa.inference.driving import as_tensor
from vasa.inference.edits import Edit, finite
from vasa.inference.face_video import FaceVideo
from vasa.inference.generation import Generation, Portrait
from vasa.inference.pipeline import TalkingFace
from vasa.inference.regions import REGION_CONTROLS
from vasa.inference.retarget import DRIVER_REST
from vasa.inference.source_frames import even, looked_through, put_back, strengths, swinging
from vasa.preprocess.crop import Crop, cut
from vasa.records import CONTROL_HIGH, CONTROL_INDEX, CONTROL_LOW

RESTS = 24
"""Frames from which the mouth's rest is taken."""
ACROSS_LIPS, BEYOND = ("lip_width", "lip_pucker", "smile"), 0.1
"""What the sound may do to the lips' width: so much beyond what the video mostly shows of this person, or
lips that are wide open in a frame would be squeezed into a slit."""


@dataclass(slots=True)
class SourceVideo:
    """portrait: its first frame with a face. rest: (1, 11) controls of the mouth when it says nothing. low,
    high: (1, 11), between which controls that speak stay.
    """

    video: FaceVideo
    portrait: Portrait
    rest: Tensor
    low: Tensor
    high: Tensor
    size: int

    @classmethod
    def open(cls, path: Path, face: TalkingFace, size: int) -> SourceVideo:
        """Looks through a video. Raises: FileNotFoundError; ValueError where it shows no face."""
        video, portrait = looked_through(path, face, size)
        return cls(video, portrait, *_mouth(video, face), size)


@torch.inference_mode()
def _mouth(video: FaceVideo, face: TalkingFace) -> tuple[Tensor, Tensor, Tensor]:
    """The rest of a speaking mouth, the median of what has two sides, the lowest fifth of what opens; and
    the lowest and highest of controls: how far this mouth is seen to go across, and a little more. Up and
    down it may go as far as any.
    """
    seen = np.flatnonzero(video.seen)
    some = seen[np.linspace(0, len(seen) - 1, min(len(seen), RESTS)).astype(int)]
    space = face.face
    pictures = [
        cut(next(video.frames(n, n + 1)), video.crop(n, space.size, space.size)) for n in some.tolist()
    ]
    controls = space.controls(space.motion(as_tensor(np.stack(pictures), face.device)))
    rest, low, high = torch.zeros_like(controls[:1]), *_limits(controls)
    for name in REGION_CONTROLS["lips"]:
        values = controls[:, CONTROL_INDEX[name]]
        limit = DRIVER_REST.get(name)
        value = values.median() if limit is None else values.quantile(0.2).clamp(0, limit)
        rest[0, CONTROL_INDEX[name]] = value
    return rest, low, high


def _limits(controls: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest controls (1, 11) for a person who shows some (T, 11)."""
    low, high = (controls.new_tensor([limits]) for limits in (CONTROL_LOW, CONTROL_HIGH))
    across = [CONTROL_INDEX[name] for name in ACROSS_LIPS]
    low[:, across] = torch.maximum(controls.quantile(0.1, 0) - BEYOND, low)[:, across]
    high[:, across] = torch.minimum(controls.quantile(0.9, 0) + BEYOND, high)[:, across]
    return low, high


def dub(
    face: TalkingFace,
    source: SourceVideo,
    motion: Iterator[Tensor],
    num_frames: int,
    keep: Sequence[str] = ("head", "eyes", "brows"),
    edits: Sequence[Edit] = (),
    recorder: Edit | None = None,
    seed: int = 0,
) -> Generation:
    """A source video under other lips: frames of its own height and width.

    motion: raw, of the motion model (t, E), as for a portrait; ``edits`` change it in order. keep: what stays
    as the video has it. recorder: sees what is shown at last.
    """
    timings = {"portrait_s": source.portrait.seconds, "motion_s": 0.0, "render_s": 0.0}
    shape = even(next(source.video.frames(0, 1))).shape[:2]
    frames = _Dub(face, source, keep, edits, recorder, timings).frames(motion, num_frames)
    return Generation(source.portrait, num_frames, seed, timings, shape, frames)


class _Dub:
    def __init__(
        self,
        face: TalkingFace,
        source: SourceVideo,
        keep: Sequence[str],
        edits: Sequence[Edit],
        recorder: Edit | None,
        timings: dict[str, float],
    ) -> None:
        self._face, self._source, self._timings = face, source, timings
        self._edits, self._recorder = edits, recorder
        self._keep_head = "head" in keep
        spoken = [name for name in REGION_CONTROLS if name not in keep]
        names = [control for name in spoken for control in REGION_CONTROLS[name]]
        self._spoken = [CONTROL_INDEX[name] for name in names]
        self._whole = not self._keep_head or spoken != ["lips"]
        self._strength = strengths(source.video.seen)

    def frames(self, motion: Iterator[Tensor], num_frames: int) -> Iterator[np.ndarray]:
        shown = swinging(self._source.video, num_frames)
        made = 0
        while True:
            started = time.perf_counter()
            chunk = next(motion, None)
            if chunk is None:
                return
            chunk = chunk.to(self._face.device)
            for edit in self._edits:
                chunk = edit(chunk, made)
            self._timings["motion_s"] += time.perf_counter() - started
            for one in finite(chunk).split(1):
                if (place := next(shown, None)) is None:
                    return
                number, frame = place
                yield self._frame(frame, number, one, made)
                made += 1

    @torch.inference_mode()
    def _frame(self, frame: np.ndarray, number: int, spoken: Tensor, place: int) -> np.ndarray:
        """One whole frame (H, W, 3) with the face that speaks."""
        started, space = time.perf_counter(), self._face.face
        crop = self._source.video.crop(number, space.size, self._source.size)
        points = self._face.aligner.points_of(frame, crop)
        pixels = as_tensor(cut(frame, crop)[None], self._face.device)
        seen = None if points is None else as_points(crop, points, self._face.device)
        appearance = space.encode(pixels, seen, speaking=True)
        motion = self._merged(space.own_motion(appearance), spoken)
        if self._recorder is not None:
            self._recorder(motion, place)
        whole = even(frame)
        strength = self._strength[number]
        if strength > 0:
            with fast_precision(self._face.device, self._face.speed.precision):
                image = space.render(space.hold_edges(appearance), motion).float()
            whole = put_back(whole, crop, image, strength, None if self._whole else points)
        self._timings["render_s"] += time.perf_counter() - started
        return whole

    def _merged(self, own: Tensor, spoken: Tensor) -> Tensor:
        """A frame's own motion (1, E) with what speaks out of the motion model's (1, E)."""
        space, layout = self._face.face, self._face.face.layout
        source = self._source
        said = (space.controls(spoken) + source.rest).clamp(source.low, source.high)
        controls = space.controls(own).clone()
        controls[:, self._spoken] = said[:, self._spoken]
        motion = space.set_controls(own, controls)
        if not self._keep_head:
            motion[:, layout.pose] += spoken[:, layout.pose]
        return motion


def as_points(crop: Crop, points: np.ndarray, device: torch.device) -> Tensor:
    """Points (5, 2) in pixels of a photograph as those of its crop: (1, 5, 2), image coordinates."""
    return torch.from_numpy(crop.to_crop(points)).float().to(device)[None]
