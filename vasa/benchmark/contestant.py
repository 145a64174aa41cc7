"""One of two trees, in a process of its own: makes the same video several times and tells how long it took.

This file is run by its path while Python imports ``vasa`` from the tree that is measured, which may be older
than it: it uses nothing newer than ``Animator``, and answers in one line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

PATHS = ("image", "audio", "checkpoint")


def measured(given: dict[str, Any], videos: int, folder: Path) -> dict[str, Any]:
    """Seconds until the first video is there, which nobody counts as one, then of each of the next: of the
    wall and of all processors. given: options of infer.py by name.
    """
    begun = time.perf_counter()
    import vasa.inference.animate as own
    from vasa.inference.config import InferRun

    values: dict[str, Any] = {name: Path(value) if name in PATHS else value for name, value in given.items()}
    run = InferRun(**values)
    animator = own.Animator(own.load_face(run))
    animator.make(run, folder / "first.mp4")
    start_s, wall_s, cpu_s = time.perf_counter() - begun, [], []
    for number in range(videos):
        before, started = processors_s(), time.perf_counter()
        frames = animator.make(run, folder / f"{number}.mp4").generation.num_frames
        wall_s.append(time.perf_counter() - started)
        cpu_s.append(processors_s() - before)
    return {"from": own.__file__, "frames": frames, "start_s": start_s, "wall_s": wall_s, "cpu_s": cpu_s}


def processors_s() -> float:
    """Of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    options, count, where = sys.argv[1:]
    sys.stdout.write(json.dumps(measured(json.loads(options), int(count), Path(where))) + "\n")
