"""What it costs: ``python scripts/benchmark.py face=[fast,default]``, ``all``, ``data`` or ``keypoints``.

``all`` measures videos end to end, live talks, frames, keypoint systems and start-up; ``all vs=COMMIT``
compares this tree's speed with a commit's.
``face`` (default) counts and times the named files of configs/face, on one CPU thread and, where there is
one, on a CUDA device. ``data`` preprocesses recordings (``root=VIDEOS``: yours), then reads them as training
does. ``keypoints`` times LivePortrait's renderer and JoyVASA's denoiser. Every one writes .json and
.md into ``output``.
"""

import sys
from collections.abc import Sequence

from vasa.benchmark.config import BenchmarkAllRun, BenchmarkDataRun, BenchmarkKeypointsRun, BenchmarkRun
from vasa.config import load, main


@main("benchmark")
def face(cfg: BenchmarkRun) -> None:
    from vasa.benchmark.report import markdown, measure

    configs = {name: load("train_face", [f"face={name}"]).face for name in cfg.faces}
    sys.stdout.write(markdown(measure(cfg, configs)))


@main("benchmark_all")
def everything(cfg: BenchmarkAllRun) -> None:
    from vasa.benchmark.everything import benchmark_all
    from vasa.benchmark.revisions import benchmark_revisions

    sys.stdout.write(benchmark_all(cfg, load) if cfg.vs is None else benchmark_revisions(cfg))


@main("benchmark_data")
def data(cfg: BenchmarkDataRun) -> None:
    from vasa.benchmark.data import benchmark_data

    sys.stdout.write(benchmark_data(cfg))


@main("benchmark_keypoints")
def keypoints(cfg: BenchmarkKeypointsRun) -> None:
    from vasa.benchmark.keypoints import benchmark_keypoints

    sys.stdout.write(benchmark_keypoints(cfg))


def run(arguments: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if arguments is None else arguments)
    doors = {"face": face, "all": everything, "data": data, "keypoints": keypoints}
    door = doors.get(given[0]) if given else None
    door(given[1:]) if door else face(given)


if __name__ == "__main__":
    run()
