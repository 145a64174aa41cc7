"""How long it takes until something happens: a bare Python, ``infer.py --help``, a first frame.

Each in fresh processes, in turns; bare Python is the measure of the machine's mood, so what counts is how
much longer the others take in the same run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from vasa.progress import Progress

ROOT = Path(__file__).resolve().parent.parent.parent
BARE, HELP, FIRST = "bare Python", "infer.py --help", "first frame"
STEPS = ("import", "load", "portrait", "first frame")


@dataclass(frozen=True, slots=True)
class Start:
    """Medians, seconds of the wall. over_bare_s: more than bare Python in the same rounds. until: of a first
    frame, when its steps were done.
    """

    what: str
    seconds: float
    over_bare_s: float
    times_bare: float
    until: dict[str, float]


def measure_startup(checkpoint: Path, device: str, size: int, rounds: int) -> list[Start]:
    """Raises: OSError where one of the processes fails, with its last words."""
    module = ["-m", "vasa.benchmark.first_frame", str(checkpoint.resolve()), device, str(size)]
    calls = {BARE: ["-c", "pass"], HELP: [str(ROOT / "scripts" / "infer.py"), "--help"], FIRST: module}
    seconds: dict[str, list[float]] = {what: [] for what in calls}
    told: list[dict[str, float]] = []
    shown = Progress("starts", (rounds + 1) * len(calls))
    with tempfile.TemporaryDirectory(prefix="vasa-startup-") as folder, shown:
        environment = fresh_environment(ROOT, Path(folder))
        for turn in range(rounds + 1):
            for place, (what, arguments) in enumerate(calls.items()):
                taken, said = _run(arguments, environment)
                if turn:  # the first only fills the caches of the disk and of compiled modules
                    seconds[what].append(taken)
                    told += [json.loads(said)] if what == FIRST else []
                shown(turn * len(calls) + place + 1)
    until = {step: median(one[step] for one in told) for step in STEPS}
    return [_start(what, seconds[what], seconds[BARE], until if what == FIRST else {}) for what in calls]


def _start(what: str, taken: list[float], bare: list[float], until: dict[str, float]) -> Start:
    pairs = list(zip(taken, bare, strict=True))
    over, times = median(a - b for a, b in pairs), median(a / b for a, b in pairs)
    return Start(what, median(taken), over, times, until)


def fresh_environment(tree: Path, bytecode: Path) -> dict[str, str]:
    """Of a process that imports ``vasa`` from a tree. Compiled modules are kept in a folder of their own, as
    an installation keeps them, whatever this process was told about writing them.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(tree), "PYTHONPYCACHEPREFIX": str(bytecode)}


def _run(arguments: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Seconds that a Python took, and what it said."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    taken = time.perf_counter() - started
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise OSError(f"python {' '.join(arguments)} ended with code {done.returncode}: {last}")
    return taken, done.stdout
