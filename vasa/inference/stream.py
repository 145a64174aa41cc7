"""A portrait that speaks while it is spoken to: sound in, frames out, without an end that anybody knows.

    talk = LiveTalk(face, portrait, options)
    talk.push(samples)            # from any thread, in blocks of any size
    for moment in talk:           # blocks until the next frame is due
        show(moment.frame, moment.sound)

The same generators as for files, lazily: sound becomes features, windows of motion, edited motion, frames.
One thread makes motion, a second decodes it hop by hop, and the caller's keeps the pace; each waits for the
other with a hop between them. With a pace a frame comes no sooner than its time, and frames that would come
too late are not decoded.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vasa.inference.config import InferRun, LivePlan
from vasa.inference.control_edits import edits_for
from vasa.inference.edits import Edit
from vasa.inference.generation import Portrait
from vasa.inference.live_asked import LiveAsked
from vasa.inference.live_features import LiveFeatures, live_features
from vasa.inference.live_sound import LiveSound
from vasa.inference.live_times import LiveTimes
from vasa.inference.pipeline import TalkingFace
from vasa.inference.rendering import FrameMaker, filled, same_device
from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME, VIDEO_FPS

FRAME_S = 1 / VIDEO_FPS
HOPS_AHEAD = 1
"""Hops of motion that may wait to be decoded, and hops of frames that may wait to be shown."""
LATE_FRAMES = 2
"""Frames behind its time after which a frame is not decoded; and how much later than the first frame of a
talk came, all that follow are due: what a hop may take longer than the first."""


@dataclass(slots=True)
class Moment:
    """40 ms of a talk. frame: uint8 (H, W, 3) RGB. sound: float32 (640,) at AUDIO_HZ, what is heard with it;
    silence where nobody spoke. late: the frame before is shown again, because this one was not ready.
    """

    number: int
    frame: np.ndarray
    sound: np.ndarray
    late: bool = False


@dataclass(slots=True)
class _Hop:
    """motion (t, E) of the next frames, the sound under them (t * 640,), and when the last sound that it had
    to wait for was there.
    """

    motion: Tensor
    sound: np.ndarray
    there_at: float


@dataclass(slots=True)
class _Piece:
    """Frames from ``number`` on, None where it was too late to decode one; the sound (t, 640) under
    them. begins: it is the first of a hop.
    """

    number: int
    frames: list[np.ndarray | None]
    sound: np.ndarray
    there_at: float
    begins: bool


def live_edits(face: TalkingFace, portrait: Portrait, options: InferRun, asked: LiveAsked) -> list[Edit]:
    """What generated motion goes through in a talk, and in a file that is made like one."""
    own = edits_for(options, asked, face.face, portrait)
    return face.chain(portrait, own, options.pose, 1.0, options.keypoints)


class LiveTalk:
    """One talk. options: as for infer.py, of which those of a live talk count (controls, seed, guidance,
    steps). patience_s: how long sound is waited for before the face idles; None: it waits. pace: frames come
    at 25 a second at most and late ones are dropped; without, as fast as they are made, all of them.
    """

    def __init__(
        self,
        face: TalkingFace,
        portrait: Portrait,
        options: InferRun,
        plan: LivePlan | None = None,
        patience_s: float | None = 0.2,
        pace: bool = True,
    ) -> None:
        """Raises: ValueError for options that a talk cannot heed, or a checkpoint that cannot talk so."""
        self._face, self._portrait, self._pace = face, portrait, pace
        self._plan = plan or options.plan
        self._asked = LiveAsked(options)
        self._sound, self._times = LiveSound(patience_s), LiveTimes()
        self._edits, self._options = live_edits(face, portrait, options, self._asked), options
        self._taken = [(0, 0.0)]  # (frames of sound taken, when the last of them was there), the newest last
        self._heard = np.empty(0, np.float32)  # sound of frames that are not given out yet
        self._motion = face.speak_live(
            self._features(),
            self._asked.conditions(face.motion.config.sampler.neutral),
            self._asked.seed,
            options.steps,
            self._asked.guidance,
            self._plan,
        )
        self._maker = FrameMaker(face.face, portrait, face.device, face.speed)
        self._hops: queue.Queue[_Hop | None] = queue.Queue(HOPS_AHEAD)
        self._pieces: queue.Queue[_Piece | None] = queue.Queue(HOPS_AHEAD * len(self._parts(1)))
        self._begun: float | None = None  # when frame 0 was due, once it is known
        self._stopped = threading.Event()
        self._started = False
        self._warm_up()

    # ------------------------------------------------------------------ what is said

    def push(self, samples: np.ndarray) -> None:
        """Sound (N,) at AUDIO_HZ to be spoken after what was pushed before. Raises: as ``LiveSound.push``."""
        self._sound.push(samples)

    def interrupt(self) -> None:
        """Stops speaking: what was pushed and not made into motion is forgotten. What is under way is still
        shown: hop + lookahead + right frames, and of sound that was pushed ahead of its time up to five hops.
        """
        self._sound.interrupt()

    def set(self, **changes: object) -> None:
        """Controls from now on, in the units of the options. Raises: as ``LiveAsked.set``."""
        self._asked.set(**changes)

    def close(self) -> None:
        """No more is said: the talk ends after what was."""
        self._sound.close()

    def stop(self) -> None:
        """Ends the talk at once."""
        self._stopped.set()
        self._sound.interrupt()
        self._sound.close()

    def statistics(self) -> dict[str, float]:
        """See ``LiveTimes.as_dict``."""
        return self._times.as_dict()

    def _warm_up(self) -> None:
        """Makes and shows a hop that nobody sees: whatever is done first takes seconds longer."""
        silent = live_features(self._face.speech, np.zeros(AUDIO_HZ, np.float32), self._plan, VIDEO_FPS)
        asked = self._asked.conditions(self._face.motion.config.sampler.neutral)
        with torch.inference_mode():
            made = self._face.speak_live(
                iter([silent]), asked, 0, self._options.steps, self._asked.guidance, self._plan
            )
            motion = next(made).to(self._face.device)
            for edit in live_edits(self._face, self._portrait, self._options, self._asked):
                motion = edit(motion, 0)
        for count in dict.fromkeys((*self._parts(0), *self._parts(1), self._plan.hop)):
            self._maker(self._portrait.motion.expand(count, -1).contiguous()).frames()

    # ------------------------------------------------------------------ the motion's thread

    def _features(self) -> Iterator[Tensor]:
        live, taken = LiveFeatures(self._face.speech, self._plan), 0
        while not self._stopped.is_set():
            with self._times.measured("wait"):
                block = self._sound.take(self._plan.hop)
            if block is None:
                break
            taken += -(-len(block.samples) // SAMPLES_PER_FRAME)
            self._taken = [*self._taken[-8:], (taken, block.there_at)]
            self._heard = np.concatenate([self._heard, block.samples])
            with self._times.measured("features"):
                pieces = live.push(block.samples)
            yield from pieces
        if not self._stopped.is_set():
            yield from live.finish()

    def _make(self) -> None:
        made = 0
        try:
            while True:
                before, started = self._times.busy_s("wait", "features"), time.perf_counter()
                with torch.inference_mode():
                    motion = self._next(made)
                if motion is None:
                    break
                waited = self._times.busy_s("wait", "features") - before
                self._times.add("denoise", time.perf_counter() - started - waited)
                length = len(motion) * SAMPLES_PER_FRAME
                sound, self._heard = self._heard[:length], self._heard[length:]
                made += len(motion)
                if not self._put(
                    self._hops, _Hop(motion, np.pad(sound, (0, length - len(sound))), self._there(made))
                ):
                    return
        finally:
            self._put(self._hops, None)

    def _next(self, made: int) -> Tensor | None:
        try:
            motion = next(self._motion, None)
        except ValueError:
            if self._taken[-1][0]:
                raise
            motion = None  # the talk was closed before anything was said in it
        if motion is None:
            return None
        motion = motion.to(self._face.device)
        for edit in self._edits:
            motion = edit(motion, made)
        if not bool(motion.isfinite().all()):
            raise FloatingPointError("the motion has values that are not finite; no frame is made of them.")
        return motion

    def _there(self, stop: int) -> float:
        """When the sound was there that frames up to ``stop`` had to wait for."""
        needed = stop + self._plan.lookahead + self._plan.right
        return next((at for taken, at in self._taken if taken >= needed), self._taken[-1][1])

    def _put(self, queued: queue.Queue[Any], item: Any) -> bool:
        while not self._stopped.is_set():
            try:
                queued.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    # ------------------------------------------------------------------ the decoder's thread

    def _decode(self) -> None:
        number = 0
        try:
            while (hop := self._taken_from(self._hops)) is not None:
                self._sound_was_late(hop, number)
                sounds, place = hop.sound.reshape(-1, SAMPLES_PER_FRAME), 0
                counts = iter(self._parts(number) if self._pace else ())
                while place < len(hop.motion):  # the last may be longer than others
                    count = next(counts, self._plan.hop)
                    motion, sound = hop.motion[place : place + count], sounds[place : place + count]
                    frames = self._in_time(motion, number, count)
                    if not self._put(
                        self._pieces, _Piece(number, frames, sound, hop.there_at, begins=place == 0)
                    ):
                        return
                    number, place = number + len(motion), place + len(motion)
        finally:
            self._put(self._pieces, None)

    def _parts(self, number: int) -> list[int]:
        """How many frames of a hop that begins with frame ``number`` are decoded at once: the very first
        alone, as somebody waits for it; then halves, so that a hop's first frames need not wait for its
        last. A GPU takes it whole: one shape, recorded once.
        """
        hop = self._plan.hop
        if self._face.device.type != "cpu":
            return [hop]
        first = 1 if number == 0 else -(-hop // 2)
        return [first, hop - first] if hop > first else [first]

    def _sound_was_late(self, hop: _Hop, number: int) -> None:
        """Moves the clock on where a hop waited for its sound longer than its frame had time."""
        if self._begun is not None and hop.there_at > self._begun + (number - 1) * FRAME_S:
            self._begun = max(self._begun, time.perf_counter() + (LATE_FRAMES - number) * FRAME_S)

    def _in_time(self, motion: Tensor, number: int, count: int) -> list[np.ndarray | None]:
        """Frames of motion (t, E), those from ``number`` on, without those that come too late by now. count:
        of such parts; where another shape would be recorded or compiled anew, they are filled up to it.
        """
        started, begun, skipped = time.perf_counter(), self._begun, 0
        if self._pace and begun is not None:
            behind = started - (begun + number * FRAME_S)
            skipped = min(max(0, math.ceil(behind / FRAME_S - LATE_FRAMES)), len(motion))
        wanted = motion[skipped:]
        if not len(wanted):
            return [None] * skipped
        anew = self._face.device.type != "cpu" or self._face.speed.compile
        whole = filled(wanted, count) if anew else wanted
        frames = list(self._maker.around(self._maker(whole).frames()[: len(wanted)]))
        for _ in frames:
            self._times.add("decode", (time.perf_counter() - started) / len(frames))
        return [*[None] * skipped, *frames]

    # ------------------------------------------------------------------ the caller's thread

    def __iter__(self) -> Iterator[Moment]:
        """Moments in order, until the talk is closed and spoken, or stopped. Iterate once.

        Raises: what went wrong while motion or frames were made.
        """
        if self._started:
            raise RuntimeError("a talk is gone through once; begin another.")
        self._started = True
        with ThreadPoolExecutor(2, "live talk", initializer=same_device(self._face.device)) as executor:
            working = [executor.submit(work) for work in (self._make, self._decode)]
            try:
                yield from self._moments()
            finally:
                self.stop()
            for work in working:
                work.result()  # raises what went wrong there

    def _moments(self) -> Iterator[Moment]:
        last, there_at = self._portrait.picture, 0.0  # sound ahead of its time is there when that has come
        while (piece := self._taken_from(self._pieces)) is not None:
            if piece.begins:
                there_at = max(there_at + self._plan.hop * FRAME_S, piece.there_at)
                waited = time.perf_counter() - (there_at if self._pace else piece.there_at)
                self._times.add("total", waited)
                if piece.number == 0:
                    self._times.first_frame_s = waited
                    self._begun = time.perf_counter() + LATE_FRAMES * FRAME_S
            for place, (frame, sound) in enumerate(zip(piece.frames, piece.sound, strict=True)):
                number, late = piece.number + place, frame is None
                last = last if frame is None else frame
                if self._pace and number and self._begun is not None:
                    time.sleep(max(0.0, self._begun + number * FRAME_S - time.perf_counter()))
                self._times.frames, self._times.drops = number + 1, self._times.drops + late
                yield Moment(number, last, sound, late)
                if self._stopped.is_set():
                    return

    def _taken_from(self, queued: queue.Queue[Any]) -> Any:
        """The next item, None at the end."""
        while not self._stopped.is_set():
            try:
                return queued.get(timeout=0.1)
            except queue.Empty:
                continue
        return None
