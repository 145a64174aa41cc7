"""The table of costs: ours beside those of other systems, which were measured elsewhere."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vasa.benchmark.config import BenchmarkRun
from vasa.benchmark.cost import count
from vasa.benchmark.gpu import gpu_figures
from vasa.benchmark.timing import Seconds, cpu_times
from vasa.checkpoint import atomic_path, plain, versions
from vasa.face.config import FaceConfig
from vasa.progress import counted


@dataclass(frozen=True, slots=True)
class Peer:
    """Another renderer at 512 x 512, per frame: millions of weights, GFLOP, MiB, GB, seconds of one CPU
    thread (user and system together) in fp32 and bf16. None: not measured.
    """

    name: str
    weights: float
    gflop: float
    peak_mib: float | None
    traffic_gb: float | None
    fp32_s: float | None
    bf16_s: float | None


PEERS = (
    Peer("LivePortrait; also JoyVASA's and Ditto's renderer", 100.9, 1233.7, 586, 9.2, 8.50, 4.19),
    Peer("IMTalker, driven by sound", 67.5, 123.8, 1573, 18.7, 6.74, 3.94),
    Peer("EMOPortraits", 46.1, 1016, 786, None, 7.68, 4.59),
    Peer("SadTalker, 512", 111.2, 4813, 2560, None, 41, None),
    Peer("MegaPortrait-hack, warp and decoder", 50.0, 505, None, None, 3.4, None),
)
PEER_NOTE = (
    "Other systems: their own code with random weights, one thread of an AMD EPYC (Zen 5), torch 2.13, "
    "measured elsewhere and not in this run; their seconds do not compare with those of another machine, "
    "their operations do. Peak there is that of the CPU allocator. Nothing here speaks of image quality."
)
NOTE = (
    "Per frame: what runs for every frame of a video, batch 1. FLOP: 2 x multiply-adds of convolutions and "
    "matrix products. Peak: activations alive at once, without weights. Traffic: what all operations read "
    "and write, each tensor once (eager). Peak and traffic in fp32. Seconds: of one CPU thread, user + "
    "system, median of rounds in turns; bf16 by autocast."
)


def measure(run: BenchmarkRun, configs: Mapping[str, FaceConfig]) -> dict[str, Any]:
    """Counts and times every config, and writes face.json and face.md. configs: by name."""
    times = cpu_times(configs, run.rounds) if run.rounds else {}
    results = {
        name: {
            "size": config.size,
            **asdict(count(config)),
            "cpu_s": {key: asdict(value) for key, value in times.get(name, {}).items()},
            "gpu": gpu_figures(config, run.gpu_batch, run.gpu_seconds) if torch.cuda.is_available() else None,
        }
        for name, config in counted("configs counted", configs.items(), len(configs))
    }
    report = {"results": results, "peers": [asdict(peer) for peer in PEERS], "context": _context(run)}
    for name, text in (("face.json", json.dumps(report, indent=1) + "\n"), ("face.md", markdown(report))):
        with atomic_path(run.output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return report


def _context(run: BenchmarkRun) -> dict[str, Any]:
    return {
        "config": plain(run),
        "versions": versions(),
        "cpu": processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processor() -> str:
    """What this machine calls it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    context, results = report["context"], report["results"]
    lines = [
        f"torch {torch.__version__} on {context['cpu']}, one thread; GPU: {context['gpu'] or 'none'}.",
        NOTE,
        "",
        "| per frame | M weights | GFLOP | peak MiB | traffic GB | CPU s fp32 | bf16 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in results.items():
        frame = found["frame"]
        lines.append(
            f"| **{name}** ({found['size']} px) | {frame['parameters'] / 1e6:.1f} "
            f"| {frame['flops'] / 1e9:.1f} | {frame['peak'] / 2**20:.0f} | {frame['traffic'] / 1e9:.2f} "
            f"| {_cpu(found, 'frame_fp32')} | {_cpu(found, 'frame_bf16')} |"
        )
    lines += [
        f"| {p['name']} (measured elsewhere) | {p['weights']} | {p['gflop']:g} | {_known(p['peak_mib'])} "
        f"| {_known(p['traffic_gb'])} | {_known(p['fp32_s'])} | {_known(p['bf16_s'])} |"
        for p in report["peers"]
    ]
    lines += [
        "",
        PEER_NOTE,
        "",
        "| once a portrait | M weights in all | GFLOP | peak MiB | traffic GB | CPU s fp32, one run |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in results.items():
        source = found["source"]
        lines.append(
            f"| {name} | {found['parameters'] / 1e6:.1f} | {source['flops'] / 1e9:.1f} "
            f"| {source['peak'] / 2**20:.0f} | {source['traffic'] / 1e9:.2f} | {_cpu(found, 'source_fp32')} |"
        )
    return "\n".join([*lines, "", *_gpu_lines(results, context)])


def _gpu_lines(results: dict[str, Any], context: dict[str, Any]) -> list[str]:
    measured = {name: found["gpu"] for name, found in results.items() if found["gpu"]}
    if not measured:
        return []
    batch = context["config"]["gpu_batch"]
    columns = {
        "frames/s, 1": ("fps_batch_1", 1),
        "1, graph": ("fps_graph_batch_1", 1),
        f"frames/s, {batch}": (f"fps_batch_{batch}", 1),
        f"{batch}, graph": (f"fps_graph_batch_{batch}", 1),
        f"GB, {batch}": (f"memory_batch_{batch}", 1e-9),
        "% of bf16 rate": ("frame_share", 100),
        "training samples/s": ("samples_per_s", 1),
        "training GB": ("training_memory", 1e-9),
        "training % of bf16 rate": ("training_share", 100),
    }
    lines = [
        f"On {context['gpu']}, bf16 autocast, frames one at a time and {batch} at a time:",
        "",
        "| | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name, found in measured.items():
        values = [f"{found[key] * unit:.3g}" if key in found else "-" for key, unit in columns.values()]
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return [*lines, ""]


def _cpu(found: dict[str, Any], key: str) -> str:
    seconds = found["cpu_s"].get(key)
    if not seconds:
        return "-"
    taken = Seconds(**seconds)
    return f"{taken.user:.2f} + {taken.system:.2f}"


def _known(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
