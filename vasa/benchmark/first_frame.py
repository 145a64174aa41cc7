"""What startup.py runs in a process of its own: from nothing to the first frame, told in JSON.

Nothing heavy is imported before the clock is read.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main(checkpoint: str, device: str, size: str) -> None:
    """Writes seconds since the start: until everything is imported, loaded, the portrait ready, and the
    first frame there.
    """
    begun, seconds = time.perf_counter(), {}

    def passed(name: str) -> None:
        seconds[name] = time.perf_counter() - begun

    from vasa.inference.animate import load_face
    from vasa.inference.config import InferRun
    from vasa.inference.performance import heard, opened, performance, subject

    passed("import")
    run = InferRun(checkpoint=Path(checkpoint), device=device, size=int(size), seconds=2.0, batch_frames=1)
    face = load_face(run)
    passed("load")
    who = subject(run, face, opened(run))
    passed("portrait")
    generation = performance(run, face, who, heard(run)).generation
    next(iter(generation))
    passed("first frame")
    generation.close()
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
