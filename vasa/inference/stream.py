"""A portrait that speaks while it is spoken to: sound in, frames out, without an end that anybody knows.

    talk = LiveTalk(face, portrait, options)
    talk.push(samples)            # from any thread, in blocks of any size
    for moment in talk:           # blocks until the next frame is due
        show(moment.frame, moment.sound)

The same generators as for files, lazily: sound becomes features, windows of motion, edited motion, frames.
One thread makes motion while the caller's decodes; each waits for the other with little between them. With a
pace a frame comes no sooner than its time, and frames that would come too late are not decoded.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vasa.device import fast_precision
from vasa.inference.config import InferRun, LivePlan
from vasa.inference.control_edits import edits_for
from vasa.inference.edits import Edit
from vasa.inference.generation import Portrait
from vasa.inference.live_asked import LiveAsked
from vasa.inference.live_features import LiveFeatures, live_features
from vasa.inference.live_sound import LiveSound
from vasa.inference.live_times import LiveTimes
from vasa.inference.pipeline import TalkingFace
from vasa.inference.rendering import to_frames
from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME, VIDEO_FPS

FRAME_S = 1 / VIDEO_FPS
HOPS_AHEAD = 2
"""Hops of motion that may wait to be decoded."""
LATE_FRAMES = 2
"""Frames behind its time after which a frame is not decoded."""
_log = logging.getLogger(__name__)


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
    """motion (t, E) of the next frames, the sound under them, and when the last sound that it had to wait for
    was there.
    """

    motion: Tensor
    sound: np.ndarray
    there_at: float


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
        self._hops: queue.Queue[_Hop | None] = queue.Queue(HOPS_AHEAD)
        self._stopped = threading.Event()
        self._started = False
        self._warm_up()

    # ------------------------------------------------------------------ what is said

    def push(self, samples: np.ndarray) -> None:
        """Sound (N,) at AUDIO_HZ to be spoken after what was pushed before. Raises: as ``LiveSound.push``."""
        self._sound.push(samples)

    def interrupt(self) -> None:
        """Stops speaking: what was pushed and not made into motion is forgotten. What is under way, at most
        hop + lookahead + right frames and HOPS_AHEAD hops, is still shown.
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
        self._decoded(self._portrait.motion)

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
                if not self._put(_Hop(motion, np.pad(sound, (0, length - len(sound))), self._there(made))):
                    return
        finally:
            self._put(None)

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

    def _put(self, hop: _Hop | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._hops.put(hop, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    # ------------------------------------------------------------------ the caller's thread

    def __iter__(self) -> Iterator[Moment]:
        """Moments in order, until the talk is closed and spoken, or stopped. Iterate once.

        Raises: what went wrong while motion was made.
        """
        if self._started:
            raise RuntimeError("a talk is gone through once; begin another.")
        self._started = True
        with ThreadPoolExecutor(1, "motion of a live talk") as executor:
            making = executor.submit(self._make)
            try:
                yield from self._moments()
            finally:
                self.stop()
            making.result()  # raises what went wrong there

    def _moments(self) -> Iterator[Moment]:
        begun: float | None = None  # when frame 0 was due
        number, last = 0, self._portrait.picture
        while (hop := self._next_hop()) is not None:
            now = time.perf_counter()
            if begun is None:
                begun = now
            elif hop.there_at > begun + (number - 1) * FRAME_S:
                begun = max(begun, now - number * FRAME_S)  # it was the sound that came late
            sounds = hop.sound.reshape(-1, SAMPLES_PER_FRAME)
            for place, sound in enumerate(sounds):
                due = begun + number * FRAME_S
                behind = time.perf_counter() - due
                late = self._pace and behind > LATE_FRAMES * FRAME_S
                if not late:
                    with self._times.measured("decode"):
                        last = self._decoded(hop.motion[place : place + 1])
                if place == 0:
                    self._times.add("total", time.perf_counter() - hop.there_at)
                    if number == 0:
                        self._times.first_frame_s = time.perf_counter() - hop.there_at
                        begun = time.perf_counter()
                elif self._pace:
                    time.sleep(max(0.0, due - time.perf_counter()))
                self._times.frames, self._times.drops = number + 1, self._times.drops + late
                yield Moment(number, last, sound, late)
                if self._stopped.is_set():
                    return
                number += 1

    def _next_hop(self) -> _Hop | None:
        while not self._stopped.is_set():
            try:
                hop = self._hops.get(timeout=0.1)
            except queue.Empty:
                continue
            return hop
        return None

    def _decoded(self, motion: Tensor) -> np.ndarray:
        portrait, face = self._portrait, self._face
        with torch.inference_mode(), fast_precision(face.device, face.precision):
            image = face.face.render(portrait.appearance, motion).float()
            if portrait.backdrop is not None:
                image = portrait.backdrop.behind(image)
            frame = to_frames(image)[0]
        return frame if portrait.surround is None else portrait.surround.around(frame)
