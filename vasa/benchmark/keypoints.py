"""What a frame of LivePortrait's space, and a step of JoyVASA's denoiser, take on one CPU thread: by the
plain graphs and by the optimised ones, in turns, with made-up weights of the published shapes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from vasa.benchmark.config import BenchmarkKeypointsRun
from vasa.benchmark.report import processor
from vasa.benchmark.timing import one_thread, seconds_of
from vasa.checkpoint import atomic_path, plain, versions
from vasa.face.keypoints.networks import KeypointNetworks
from vasa.face.keypoints.optimised import OptimisedGenerator, OptimisedWarping
from vasa.motion.joyvasa import JoyvasaModel
from vasa.motion.joyvasa_config import JoyvasaConfig
from vasa.motion.joyvasa_folded import window_estimates
from vasa.progress import counted

PLAIN = "plain fp32"
STEP = 25


@dataclass(frozen=True, slots=True)
class KeypointCost:
    """seconds: of the processor, medians. ratio: to the plain graph of the same part. psnr_db: against its
    result; None for itself.
    """

    part: str
    graph: str
    seconds: float
    ratio: float
    psnr_db: float | None


@torch.inference_mode()
def benchmark_keypoints(run: BenchmarkKeypointsRun) -> str:
    """Measures, writes keypoints.json and keypoints.md, and gives the latter's text."""
    torch.manual_seed(0)
    with one_thread():
        costs = [*_measured("frame", _frames(run.narrow), run.rounds)]
        costs += _measured("guided step of a window", _steps(), run.rounds)
    text = _markdown(run, costs)
    found = {"options": plain(run), "versions": versions(), "processor": processor()}
    found["costs"] = [asdict(cost) for cost in costs]
    for name, content in (("keypoints.json", json.dumps(found, indent=2) + "\n"), ("keypoints.md", text)):
        with atomic_path(run.output / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return text


def _frames(narrow: int) -> dict[str, Callable[[], Tensor]]:
    networks = KeypointNetworks(narrow=narrow).eval()
    warping, generator = networks.warping, networks.generator
    volume = torch.randn(1, 32 // narrow, 16 // narrow, 64, 64)
    source = torch.rand(1, 21, 3) - 0.5
    driving = source + 0.05 * torch.randn(1, 21, 3)
    calls: dict[str, Callable[[], Tensor]] = {
        PLAIN: lambda: generator(warping(volume, driving, source)[0]),
    }
    for name, precision in (("optimised fp32", torch.float32), ("optimised bf16", torch.bfloat16)):
        calls[name] = partial(
            _optimised, OptimisedWarping(warping, precision), OptimisedGenerator(generator, precision),
            volume, source, driving,
        )  # fmt: skip
    return calls


def _optimised(
    warping: OptimisedWarping, generator: OptimisedGenerator, volume: Tensor, source: Tensor, driving: Tensor
) -> Tensor:
    return generator(warping(warping.source(volume, source), driving)[0])


def _steps() -> dict[str, Callable[[], Tensor]]:
    model = JoyvasaModel(JoyvasaConfig()).eval()
    own = model.config
    given = (torch.randn(1, own.window_frames, own.width), *model.start(1))
    x_t = torch.randn(1, own.window_frames, own.motion_dim)
    graphs: dict[str, Callable[[Tensor, int], Any]] = {PLAIN: window_estimates(model, *given, plain=True)}
    for name, precision in (("folded fp32", torch.float32), ("folded bf16", torch.bfloat16)):
        graphs[name] = window_estimates(model, *given, precision=precision)
    return {name: partial(_step, estimates, x_t) for name, estimates in graphs.items()}


def _step(estimates: Callable[[Tensor, int], Any], x_t: Tensor) -> Tensor:
    found = estimates(x_t, STEP)
    return found if isinstance(found, Tensor) else torch.cat(list(found))


def _measured(part: str, calls: dict[str, Callable[[], Tensor]], rounds: int) -> list[KeypointCost]:
    results = {name: call() for name, call in calls.items()}  # warms up, too
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in counted(f"rounds of a {part}", range(rounds)):
        for name, call in calls.items():
            _, taken = seconds_of(call)
            times[name].append(taken.user + taken.system)
    base = median(times[PLAIN])
    costs = []
    for name, result in results.items():
        error = (result - results[PLAIN]).square().mean()
        span = results[PLAIN].max() - results[PLAIN].min()
        psnr = None if name == PLAIN else float(20 * span.log10() - 10 * error.clamp(min=1e-14).log10())
        seconds = median(times[name])
        costs.append(KeypointCost(part, name, seconds, seconds / base, psnr))
    return costs


def _markdown(run: BenchmarkKeypointsRun, costs: list[KeypointCost]) -> str:
    lines = [
        f"One thread of {processor()}, processor time, medians of {run.rounds} rounds in turns.",
        "",
        "| part | graph | seconds | of the plain one's | against its result, dB |",
        "|---|---|---|---|---|",
    ]
    for cost in costs:
        psnr = "" if cost.psnr_db is None else f"{cost.psnr_db:.1f}"
        lines.append(f"| {cost.part} | {cost.graph} | {cost.seconds:.3f} | {cost.ratio:.2f} | {psnr} |")
    return "\n".join(lines) + "\n"
