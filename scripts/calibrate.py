"""Shows which metric sees which fault: ``python scripts/calibrate.py``.

Gives known faults to synthetic clips in doses, measures them as eval.py does, and writes calibration.html
(with plots), calibration.md and calibration.json into ``out``. A killed run goes on where it was. On real
weights: ``python scripts/calibrate.py i3d=FILE sync.weights=FILE``, the options of eval.py.
"""

import sys

from vasa.config import main
from vasa.metrics.config import CalibrateRun


@main("calibrate")
def run(cfg: CalibrateRun) -> None:
    import torch

    from vasa.metrics.calibration import Calibration, responses
    from vasa.metrics.calibration_clips import fault_rows, write_clips
    from vasa.metrics.calibration_page import markdown, write_report
    from vasa.metrics.catalogue import Catalogue, context_of
    from vasa.metrics.evaluation import Evaluation
    from vasa.preprocess.framing import ClipFramer

    torch.set_num_threads(cfg.threads)
    clip_metrics, set_metrics = Catalogue(cfg, ClipFramer(cfg.detector)).build()
    evaluation = Evaluation(clip_metrics, set_metrics, cfg.out / "cache", cfg.seed)
    scores = evaluation.run(write_clips(cfg))
    labels = {m.name: m.label for m in clip_metrics} | {m.name: m.label for m in set_metrics}
    context = context_of(cfg, [*clip_metrics, *set_metrics])
    calibration = Calibration(responses(scores, fault_rows(cfg.doses), cfg.seed), labels, context)
    write_report(calibration, cfg.out)
    sys.stdout.write(markdown(calibration))


if __name__ == "__main__":
    run()
