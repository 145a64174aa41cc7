"""What a frame costs: ``python scripts/benchmark.py face=[fast,default]``.

Counts operations, memory and traffic of the named files of configs/face, times them on one CPU thread and,
where there is one, on a CUDA device. Writes ``face.json`` and ``face.md`` into ``output``; prints the table.
"""

import sys

from vasa.benchmark.config import BenchmarkRun
from vasa.config import load, main


@main("benchmark")
def run(cfg: BenchmarkRun) -> None:
    from vasa.benchmark.report import markdown, measure

    configs = {name: load("train_face", [f"face={name}"]).face for name in cfg.faces}
    sys.stdout.write(markdown(measure(cfg, configs)))


if __name__ == "__main__":
    run()
