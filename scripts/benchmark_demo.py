"""Recomputes the table of a checkpoint's numbers: ``python scripts/benchmark_demo.py``.

Writes ``benchmark.json`` and ``benchmark.md`` into ``outputs/benchmark_demo`` and prints the table.
``trials=quick`` makes a small one, to try.
``media=FOLDER`` adds the rows on real recordings, clips and photographs (its audio/, video/ and image/),
``detector.scrfd=FILE`` finds their faces with a real detector.
"""

import sys

from vasa.config import main
from vasa.metrics.config import BenchmarkDemoRun


@main("benchmark_demo")
def run(cfg: BenchmarkDemoRun) -> None:
    import torch

    from vasa.checkpoint import plain
    from vasa.inference.pipeline import TalkingFace
    from vasa.inference.trials import Trials
    from vasa.metrics.demo_table import table
    from vasa.pretrained.detector import build_detector
    from vasa.pretrained.judges import Judges
    from vasa.pretrained.landmarks import LandmarkNet
    from vasa.pretrained.registry import path_of

    torch.set_num_threads(cfg.threads)
    face = TalkingFace.from_pretrained(cfg.checkpoint, cfg.device, cfg.detector)
    points = LandmarkNet.from_pretrained(path_of("landmarks", cfg.judges)).to(face.device)
    outcomes = Trials(face, cfg.trials, points, cfg.media).run()
    context = {"checkpoint": face.checkpoint, "trials": plain(cfg.trials)}
    judges, detector = Judges.from_pretrained(cfg.judges, face.device), build_detector(cfg.detector)
    numbers = table(outcomes, judges, detector, cfg.psnr_gain_db, context)
    numbers.write(cfg.output, "benchmark")
    sys.stdout.write(numbers.markdown())


if __name__ == "__main__":
    run()
