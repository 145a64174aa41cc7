"""What a frame costs, and what data costs: ``python scripts/benchmark.py face=[fast,default]``, or ``data``.

``face`` (default) counts operations, memory and traffic of the named files of configs/face, times them on one
CPU thread and, where there is one, on a CUDA device. ``python scripts/benchmark.py data`` preprocesses
recordings (``root=VIDEOS``: yours) and says what each step takes, then reads the clips as training does. Both
write .json and .md into ``output`` and print the tables.
"""

import sys
from collections.abc import Sequence

from vasa.benchmark.config import BenchmarkDataRun, BenchmarkRun
from vasa.config import load, main


@main("benchmark")
def face(cfg: BenchmarkRun) -> None:
    from vasa.benchmark.report import markdown, measure

    configs = {name: load("train_face", [f"face={name}"]).face for name in cfg.faces}
    sys.stdout.write(markdown(measure(cfg, configs)))


@main("benchmark_data")
def data(cfg: BenchmarkDataRun) -> None:
    from vasa.benchmark.data import benchmark_data

    sys.stdout.write(benchmark_data(cfg))


def run(arguments: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["data"]:
        data(given[1:])
    else:
        face(given[1:] if given[:1] == ["face"] else given)


if __name__ == "__main__":
    run()
