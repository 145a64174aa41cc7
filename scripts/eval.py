"""Measures videos, ours or anybody's: ``python scripts/eval.py videos=DIR reference=DIR metrics=[sync,fvd]``.

A folder of folders becomes a table with a row for each. Writes table.md, table.json, table.html (with the
videos side by side) and clips.jsonl into ``out``; what was measured once is not measured again.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vasa.config import main
from vasa.metrics.config import EvalRun

if TYPE_CHECKING:
    from vasa.metrics.evaluation import Evaluation


def evaluation_of(cfg: EvalRun) -> Evaluation:
    import torch

    from vasa.metrics.catalogue import Catalogue
    from vasa.metrics.evaluation import Evaluation
    from vasa.preprocess.framing import ClipFramer

    torch.set_num_threads(cfg.threads)
    return Evaluation(*Catalogue(cfg, ClipFramer(cfg.detector)).build(), cfg.out / "cache", cfg.seed)


def measure_part(cfg: EvalRun, part: int, parts: int) -> None:
    """What one of several processes does."""
    from vasa.metrics.sources import find_rows, references

    rows = find_rows(cfg.videos, cfg.audio, cfg.reference, cfg.portraits)
    evaluation_of(cfg).fill(rows, references(cfg.reference), part, parts)


@main("eval")
def run(cfg: EvalRun) -> None:
    from vasa.metrics.catalogue import context_of
    from vasa.metrics.eval_table import EvalTable
    from vasa.metrics.sources import JOB_LIST, find_rows, references
    from vasa.workers import share_work

    rows = find_rows(cfg.videos, cfg.audio, cfg.reference, cfg.portraits)
    evaluation = evaluation_of(cfg)
    share_work(measure_part, cfg.workers, cfg)
    scores = evaluation.run(rows, references(cfg.reference))
    metrics = [*evaluation.clip_metrics, *evaluation.set_metrics]
    labels = {metric.name: metric.label for metric in metrics}
    table = EvalTable(scores, labels, context_of(cfg, metrics, cfg.videos / JOB_LIST))
    table.write(cfg.out)
    sys.stdout.write(table.markdown())


if __name__ == "__main__":
    run()
