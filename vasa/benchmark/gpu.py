"""Speed and memory on a CUDA device: frames, with and without CUDA graphs, and training, in bf16 autocast."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vasa.benchmark.cost import count, ready_face
from vasa.benchmark.step import PLAIN, pictures, whole_step
from vasa.benchmark.training_cost import step_cost
from vasa.face.config import FaceConfig
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.training.config import OptimizerConfig
from vasa.training.optim import build_optimizer

MATRIX_SIDE = 8192
"""Of the square bf16 matrices whose product tells the device's real rate."""
WARM_UP = 5
"""Calls before the clock starts: libraries choose their algorithms, the allocator takes its memory."""


def calls_per_second(call: Callable[[], Any], seconds: float) -> float:
    for _ in range(WARM_UP):
        call()
    torch.cuda.synchronize()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(5):
            call()
        done += 5
        torch.cuda.synchronize()
    return done / (time.perf_counter() - start)


def matrix_rate(seconds: float) -> float:
    """FLOP/s of large bf16 matrix products on this device."""
    a = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device="cuda", dtype=torch.bfloat16)
    return 2 * MATRIX_SIDE**3 * calls_per_second(lambda: a @ a, seconds)


def as_graph(call: Callable[[], Tensor]) -> Callable[[], None]:
    """The same kernels without the host in between."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


@torch.no_grad()
def _frames(config: FaceConfig, batch: int, seconds: float) -> dict[str, float]:
    """Frames/s of one portrait and memory (bytes), for single frames and batches."""
    face = ready_face(config).cuda()
    face.quicken(torch.bfloat16)
    found: dict[str, float] = {}
    image = torch.rand(1, 3, config.size, config.size, device="cuda") * 2 - 1
    with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
        portrait = face.ready(face.encode(image))
        for size in dict.fromkeys((1, batch)):
            motion = face.own_motion(portrait).expand(size, -1).contiguous()
            torch.cuda.reset_peak_memory_stats()

            def frame(m: Tensor = motion) -> Tensor:
                return face.render(portrait, m)

            found[f"fps_batch_{size}"] = size * calls_per_second(frame, seconds)
            found[f"memory_batch_{size}"] = float(torch.cuda.max_memory_allocated())
            if face.replayable(portrait):
                found[f"fps_graph_batch_{size}"] = size * calls_per_second(as_graph(frame), seconds)
    return found


def _training(config: FaceConfig, batch: int, seconds: float) -> dict[str, float]:
    """Samples/s, FLOP/s and memory (bytes) of whole steps (generator and discriminator, no swaps) on pictures
    that are there already.
    """
    torch.manual_seed(0)
    step = whole_step(FaceAutoencoder(config).cuda())
    assert step.discriminator is not None
    modules = (step.face, step.discriminator)
    trained = ([w for w in module.parameters() if w.requires_grad] for module in modules)
    adams = [build_optimizer(weights, OptimizerConfig()) for weights in trained]
    shown = pictures(batch, config.size, "cuda")

    def once() -> None:
        for adam, loss in zip(adams, (step.loss, step.verdict), strict=True):
            adam.zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16):
                value = loss(shown, PLAIN)
            value.backward()
            adam.step()

    torch.cuda.reset_peak_memory_stats()
    rate = batch * calls_per_second(once, seconds)
    flops = step_cost(config).flops(swapped=0)
    return {
        "samples_per_s": rate,
        "training_flops_per_s": rate * flops,
        "training_memory": float(torch.cuda.max_memory_allocated()),
    }


def gpu_figures(config: FaceConfig, batch: int, seconds: float) -> dict[str, float]:
    """Everything for one config; shares are of the device's own bf16 matrix rate."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        rate = matrix_rate(seconds)
        found = {"matrix_rate": rate, **_frames(config, batch, seconds)}
        torch.cuda.empty_cache()
        found |= _training(config, batch, seconds)
    finally:
        torch.backends.cudnn.benchmark = before
        torch.cuda.empty_cache()
    flops = count(config).frame.flops
    found["frame_share"] = found[f"fps_batch_{batch}"] * flops / rate
    found["training_share"] = found["training_flops_per_s"] / rate
    return found
