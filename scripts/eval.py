"""Measures videos, ours or anybody's: ``python scripts/eval.py videos=DIR reference=DIR metrics=[sync,fvd]``.

A folder of folders becomes a table with a row for each. Writes table.md, table.json, table.html (with the
videos side by side) and clips.jsonl into ``out``; what was measured once is not measured again.
"""

import sys

from vasa.config import main
from vasa.metrics.config import EvalRun


@main("eval")
def run(cfg: EvalRun) -> None:
    import torch

    from vasa.metrics.catalogue import Catalogue, context_of
    from vasa.metrics.eval_table import EvalTable
    from vasa.metrics.evaluation import Evaluation
    from vasa.metrics.sources import JOB_LIST, find_rows, references
    from vasa.preprocess.framing import ClipFramer

    torch.set_num_threads(cfg.threads)
    rows = find_rows(cfg.videos, cfg.audio, cfg.reference, cfg.portraits)
    clip_metrics, set_metrics = Catalogue(cfg, ClipFramer(cfg.detector)).build()
    evaluation = Evaluation(clip_metrics, set_metrics, cfg.out / "cache", cfg.seed)
    scores = evaluation.run(rows, references(cfg.reference))
    metrics = [*clip_metrics, *set_metrics]
    labels = {metric.name: metric.label for metric in metrics}
    table = EvalTable(scores, labels, context_of(cfg, metrics, cfg.videos / JOB_LIST))
    table.write(cfg.out)
    sys.stdout.write(table.markdown())


if __name__ == "__main__":
    run()
