"""Motion as frames on the host: in batches of one shape, so that what a frame looks like depends on nothing
but itself; on CUDA as one recorded graph, whose pictures come over while the next are computed.

A convolution may sum in another order for another batch size, so a last, smaller batch would round otherwise
than the same frames of a longer video. And a network that meets one shape is planned once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vasa.device import fast_precision
from vasa.face.space import FaceSpace
from vasa.inference.generation import Portrait
from vasa.inference.overlap import ahead
from vasa.inference.speed import Speed

IN_FLIGHT = 2
"""Batches whose pictures are on their way from a CUDA device while the next is computed."""
WARM_UP = 3
"""Calls before a graph is recorded: libraries choose their algorithms, the allocator takes its memory."""


def full_batches(chunks: Iterable[Tensor], size: int) -> Iterator[tuple[Tensor, int]]:
    """Chunks (t, E) of one motion -> (batch (size, E), how many of its frames count), in order.

    What a chunk leaves over waits for the next one; the last batch is filled up with its own last frame.
    """
    waiting: Tensor | None = None
    for chunk in chunks:
        motion = chunk if waiting is None else torch.cat([waiting, chunk])
        whole = len(motion) // size * size
        for batch in motion[:whole].split(size) if whole else ():
            yield batch, size
        waiting = motion[whole:]
    if waiting is not None and len(waiting):
        yield filled(waiting, size), len(waiting)


def filled(motion: Tensor, size: int) -> Tensor:
    """Motion (t, E) with its last frame repeated: (size, E)."""
    return torch.cat([motion, motion[-1:].expand(size - len(motion), -1)])


def to_pixels(images: Tensor) -> Tensor:
    """Rendered images (B, 3, H, W) in [-1, 1] as frames, uint8 (B, H, W, 3), where they are."""
    pixels = (images.float() + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous()


@dataclass(slots=True)
class Pending:
    """Frames uint8 (B, H, W, 3) on the host, or on their way to it."""

    pixels: Tensor
    arrived: torch.cuda.Event | None = None

    def frames(self) -> np.ndarray:
        """Waits for them."""
        if self.arrived is None:
            return self.pixels.numpy()
        self.arrived.synchronize()
        return self.pixels.numpy().copy()  # the buffer is used again


class Replay:
    """A call on tensors of fixed shapes, recorded as a CUDA graph: the same kernels without the host between
    them. The result lies where that of the call before lay.
    """

    def __init__(self, call: Callable[[Tensor], Tensor], given: Tensor) -> None:
        self._given = given.clone()
        stream = torch.cuda.Stream(given.device)
        stream.wait_stream(torch.cuda.current_stream(given.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                call(self._given)
        torch.cuda.current_stream(given.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):  # others make motion
            self._result = call(self._given)

    def __call__(self, given: Tensor) -> Tensor:
        self._given.copy_(given)
        self._graph.replay()
        return self._result


def same_device(device: torch.device) -> Callable[[], None] | None:
    """For threads: what makes the CUDA device of this thread theirs, too."""
    return partial(torch.cuda.set_device, torch.cuda.current_device()) if device.type == "cuda" else None


class Landing:
    """Where pictures land on the host: buffers of bytes, of each shape one more than are under way, in turns.

    pinned: in memory that a CUDA device copies to by itself.
    """

    def __init__(self, pinned: bool) -> None:
        self._pinned = pinned
        self._buffers: dict[tuple[int, ...], deque[Tensor]] = {}

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        """The buffer of that shape that was given out longest ago."""
        buffers = self._buffers.setdefault(tuple(shape), deque())
        if len(buffers) <= IN_FLIGHT:
            buffers.append(torch.empty(shape, dtype=torch.uint8, pin_memory=self._pinned))
        else:
            buffers.rotate(-1)
        return buffers[-1]


class FrameMaker:
    """Of one portrait: motion (B, E) on the face's device -> Pending frames, uint8 from the device on.

    With graphs, on CUDA, every batch size is recorded when it first comes, where the face space allows it
    and no backdrop is asked for. recorder: what records; a test's may do without CUDA.
    """

    def __init__(
        self,
        face: FaceSpace,
        portrait: Portrait,
        device: torch.device,
        speed: Speed,
        recorder: Callable[[Callable[[Tensor], Tensor], Tensor], Callable[[Tensor], Tensor]] = Replay,
    ) -> None:
        self._face, self._portrait, self._device, self._speed = face, portrait, device, speed
        self._recorder = recorder
        self._recorded: dict[int, Callable[[Tensor], Tensor]] = {}
        self._landing = Landing(device.type == "cuda")
        self._replays = (
            speed.graphs
            and (device.type == "cuda" or recorder is not Replay)
            and portrait.backdrop is None
            and face.replayable(portrait.appearance)
        )

    def __call__(self, motion: Tensor) -> Pending:
        with torch.inference_mode(), fast_precision(self._device, self._speed.precision):
            if not self._replays:
                return self._sent(self._pixels(motion))
            count = len(motion)
            if count not in self._recorded:
                self._recorded[count] = self._recorder(self._pixels, motion)
            return self._sent(self._recorded[count](motion))

    def made(
        self, moved: Iterator[Tensor], batch_frames: int, timings: dict[str, float]
    ) -> Iterator[np.ndarray]:
        """Frames of chunks (t, E) of motion, in order. timings: seconds of ``render_s`` are added to. With
        overlap, motion is made in one thread and frames in another.
        """
        batches = full_batches(moved, batch_frames)
        if not self._speed.overlap:
            return self._shown(batches, timings)
        begin = same_device(self._device)
        beside = self._shown(ahead(batches, 2, "motion", begin), timings)
        return ahead(beside, 2 * batch_frames, "frames", begin)

    def _shown(
        self, batches: Iterator[tuple[Tensor, int]], timings: dict[str, float]
    ) -> Iterator[np.ndarray]:
        waiting: deque[tuple[Pending, int]] = deque()
        in_flight = IN_FLIGHT if self._device.type == "cuda" else 0
        try:
            for batch, count in batches:
                started = time.perf_counter()
                waiting.append((self(batch), count))
                timings["render_s"] += time.perf_counter() - started
                if len(waiting) > in_flight:
                    yield from self._arrived(*waiting.popleft(), timings)
            while waiting:
                yield from self._arrived(*waiting.popleft(), timings)
        finally:
            if isinstance(batches, Generator):
                batches.close()  # its thread must not wait for us

    def _arrived(self, pending: Pending, count: int, timings: dict[str, float]) -> Iterator[np.ndarray]:
        started = time.perf_counter()
        frames = pending.frames()[:count]
        timings["render_s"] += time.perf_counter() - started
        return self.around(frames)

    def around(self, frames: np.ndarray) -> Iterator[np.ndarray]:
        """Frames (B, H, W, 3) one by one, put back into the larger picture where there is one."""
        surround = self._portrait.surround
        return iter(frames) if surround is None else map(surround.around, frames)

    def _pixels(self, motion: Tensor) -> Tensor:
        images = self._face.render(self._portrait.appearance, motion).float()
        if self._portrait.backdrop is not None:
            images = self._portrait.backdrop.behind(images)
        return to_pixels(images)

    def _sent(self, pixels: Tensor) -> Pending:
        if pixels.device.type != "cuda":
            return Pending(pixels.cpu().clone() if self._replays else pixels.cpu())
        buffer = self._landing(pixels.shape)
        buffer.copy_(pixels, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return Pending(buffer, event)
