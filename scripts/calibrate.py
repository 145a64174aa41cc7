"""Shows which metric sees which fault: ``python scripts/calibrate.py``.

Gives known faults to synthetic clips in doses, measures them as eval.py does, and writes calibration.html
(with plots), calibration.md and calibration.json into ``out``. A killed run goes on where it was. On real
weights: ``python scripts/calibrate.py i3d=FILE sync.weights=FILE``, the options of eval.py.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vasa.config import main
from vasa.metrics.config import CalibrateRun

if TYPE_CHECKING:
    from vasa.metrics.evaluation import Evaluation


def evaluation_of(cfg: CalibrateRun) -> Evaluation:
    import torch

    from vasa.metrics.catalogue import Catalogue
    from vasa.metrics.evaluation import Evaluation
    from vasa.preprocess.framing import ClipFramer

    torch.set_num_threads(cfg.threads)
    return Evaluation(*Catalogue(cfg, ClipFramer(cfg.detector)).build(), cfg.out / "cache", cfg.seed)


def measure_part(cfg: CalibrateRun, part: int, parts: int) -> None:
    """What one of several processes does."""
    from vasa.metrics.calibration_clips import write_clips

    evaluation_of(cfg).fill(write_clips(cfg), (), part, parts)


@main("calibrate")
def run(cfg: CalibrateRun) -> None:
    from vasa.metrics.calibration import Calibration, responses
    from vasa.metrics.calibration_clips import fault_rows, write_clips
    from vasa.metrics.calibration_page import markdown, write_report
    from vasa.metrics.catalogue import context_of
    from vasa.workers import share_work

    evaluation = evaluation_of(cfg)
    rows = write_clips(cfg)
    share_work(measure_part, cfg.workers, cfg)
    scores = evaluation.run(rows)
    metrics = [*evaluation.clip_metrics, *evaluation.set_metrics]
    labels = {metric.name: metric.label for metric in metrics}
    calibration = Calibration(
        responses(scores, fault_rows(cfg.doses), cfg.seed), labels, context_of(cfg, metrics)
    )
    write_report(calibration, cfg.out)
    sys.stdout.write(markdown(calibration))


if __name__ == "__main__":
    run()
