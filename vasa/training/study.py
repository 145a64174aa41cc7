"""Studies of stage 1: the same trunk trained on under several variants and seeds, probed, in one table."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from vasa.checkpoint import atomic_path, plain
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.pretrained.judges import Judges
from vasa.training.face_config import TrainFaceRun
from vasa.training.face_probe import REACH, probe
from vasa.training.state import differences
from vasa.training.study_config import ProbeOptions, StudyFaceRun
from vasa.training.train_face import held_out, train_face

COLUMNS = ("reach", "knows", "leak", "drift", "psnr_self", "psnr_cross", "sharpness")
_log = logging.getLogger(__name__)

Row = dict[str, float]


def study_face(run: StudyFaceRun, load: Callable[[Sequence[str]], TrainFaceRun]) -> Path:
    """Trains and probes what is missing; returns the table, Markdown. load: arguments -> a training run."""
    rows: dict[str, list[Row]] = {}
    for name in run.only or run.variants:
        for seed in run.seeds:
            folder = run.run_dir / name / str(seed)
            arguments = [*run.base, *run.variants[name], f"run_dir={folder}"]
            arguments += [f"loop.seed={seed}", f"pairs.draw_seed={seed}"]
            rows.setdefault(name, []).append(_measured(load(arguments), run.probe, folder))
    table = run.run_dir / "study.md"
    with atomic_path(table) as temporary:
        temporary.write_text(markdown(rows, run.seeds), encoding="utf-8")
    _log.info("%s", table)
    return table


def _measured(cfg: TrainFaceRun, options: ProbeOptions, folder: Path) -> Row:
    def measure() -> Row:
        begun = time.process_time()
        weights = train_face(cfg)
        seconds = time.process_time() - begun
        return probe_face(FaceAutoencoder.from_pretrained(weights), cfg, options) | {"cpu_s": seconds}

    return measured_once(folder, {"run": plain(cfg), "probe": plain(options)}, measure)


Scores = TypeVar("Scores")


def measured_once(folder: Path, made_from: Mapping[str, Any], measure: Callable[[], Scores]) -> Scores:
    """Scores of one training, plain data, from its probe.json if it is there, else measured and kept.

    Raises: ValueError if what is there was made from another config.
    """
    path = folder / "probe.json"
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        changed = differences(known["made_from"], dict(made_from))
        if changed:
            raise ValueError(
                f"{path} was measured under another config ({'; '.join(changed[:4])}); remove {folder} to "
                "train again, or give another run_dir."
            )
        return known["scores"]
    scores = measure()
    with atomic_path(path) as temporary:
        text = json.dumps({"scores": scores, "made_from": made_from}, indent=1)
        temporary.write_text(text, encoding="utf-8")
    return scores


def probe_face(model: FaceAutoencoder, cfg: TrainFaceRun, options: ProbeOptions) -> Row:
    """Scores of a face space on the held-out people of its own data."""
    pairs = held_out(cfg.pairs, options.people)
    pairs.prepare()
    batches = [pairs.batch_at(number, options.batch_size) for number in range(options.batches)]
    return probe(model, batches, Judges.from_pretrained(options.judges))


def markdown(rows: dict[str, list[Row]], seeds: Sequence[int]) -> str:
    """Means over seeds with the lowest and highest, then the reach of each control."""
    lines = [f"Seeds {', '.join(map(str, seeds))}: mean (lowest to highest).", ""]
    lines += table_lines("variant", COLUMNS, {n: [spread(r, c) for c in COLUMNS] for n, r in rows.items()})
    names = [f"reach_{name}" for name in REACH]
    reach = {name: [f"{fmean(r[n] for r in found):.2f}" for n in names] for name, found in rows.items()}
    some = next(iter(rows.values()))[0]
    reach["true pictures"] = [f"{some[n.replace('reach', 'ceiling')]:.2f}" for n in names]
    return "\n".join([*lines, "", *table_lines("reach of", tuple(REACH), reach)]) + "\n"


def table_lines(first: str, columns: Sequence[str], rows: dict[str, list[str]]) -> list[str]:
    """A Markdown table: rows of cells by name."""
    head = [f"| {first} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    return head + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]


def spread(rows: list[Row], column: str) -> str:
    """Mean of a column over seeds, with the lowest and highest."""
    values = [row[column] for row in rows]
    shown = f"{fmean(values):.2f}"
    return shown if len(values) == 1 else f"{shown} ({min(values):.2f} to {max(values):.2f})"
