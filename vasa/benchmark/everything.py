"""``scripts/benchmark.py all``: every measurement in one run, one JSON file and one page of tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from vasa.benchmark.config import BenchmarkAllRun, BenchmarkKeypointsRun, BenchmarkRun
from vasa.benchmark.end_to_end import Load, measure_case
from vasa.benchmark.everything_table import end_table, startup_table, talk_table
from vasa.benchmark.keypoints import benchmark_keypoints
from vasa.benchmark.report import markdown as face_table
from vasa.benchmark.report import measure as measure_faces
from vasa.benchmark.report import processor
from vasa.benchmark.startup import measure_startup
from vasa.benchmark.talk import measure_talk
from vasa.benchmark.variants import chosen
from vasa.checkpoint import atomic_path, plain, versions
from vasa.device import choose_device

UNPACED_S = 20.0
"""At most, of the talks that go as fast as they can."""


def benchmark_all(run: BenchmarkAllRun, load: Load) -> str:
    """Measures what ``parts`` name, writes all.json and all.md, and gives the latter's text.

    What a part has found is written before the next begins, so that a run that is stopped has not been in
    vain. load: of a run's name and options, the run. Raises: ValueError, OSError of what is measured.
    """
    variants = chosen(run.chosen_variants, choose_device(run.device).type)  # before anything is measured
    found: dict[str, Any] = {"context": context(run)}
    texts = [heading(found["context"])]
    for part in run.chosen_parts:
        if sys.stderr.isatty():
            sys.stderr.write(f"{part} ...\n")
        if part == "end":
            found[part], text = _end(run, load, variants)
        elif part == "stream":
            found[part], text = _stream(run, load)
        elif part == "faces":
            found[part], text = _faces(run, load)
        elif part == "keypoints":
            found[part], text = _keypoints(run)
        else:
            starts = measure_startup(run.checkpoint, run.device, run.sizes_px[0], run.rounds)
            found[part], text = [asdict(start) for start in starts], startup_table(starts)
        texts.append(text)
        write(run, "all", found, "\n".join(texts))
    return "\n".join(texts)


def context(run: BenchmarkAllRun) -> dict[str, Any]:
    """Options, versions, and the machine."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"options": plain(run), "versions": versions(), "processor": processor(), "gpu": gpu}


def heading(known: dict[str, Any]) -> str:
    """A line of what was measured on what."""
    own = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
    threads = known["options"]["threads"]
    return f"{own}. {processor()}, {threads} thread(s) of torch; GPU: {known['gpu'] or 'none'}.\n"


def write(run: BenchmarkAllRun, name: str, found: dict[str, Any], text: str) -> None:
    """A report as JSON, and as a page."""
    for file, content in ((f"{name}.json", json.dumps(found, indent=1) + "\n"), (f"{name}.md", text)):
        with atomic_path(run.output / file) as temporary:
            temporary.write_text(content, encoding="utf-8")


def _shared(run: BenchmarkAllRun) -> list[str]:
    """Options that infer.py and stream.py both have."""
    words = [f"checkpoint={run.checkpoint}", f"device={run.device}", f"threads={run.threads}"]
    words += [] if run.image is None else [f"image={run.image}"]
    return words + ([] if run.fast is None else [f"fast={str(run.fast).lower()}"])


def _end(run: BenchmarkAllRun, load: Load, variants: Sequence[Any]) -> tuple[list[dict[str, Any]], str]:
    given = [*_shared(run), f"seconds={run.clip_seconds}"]
    cases = []
    for size in run.sizes_px:
        for batch in run.batch_sizes:
            cases += measure_case(load, given, variants, size, batch, run.rounds)
    return [{**asdict(case), "frames_per_s": case.frames_per_s} for case in cases], end_table(cases)


def _stream(run: BenchmarkAllRun, load: Load) -> tuple[list[dict[str, Any]], str]:
    talks = []
    for size in run.sizes_px:
        talks.append(measure_talk(load, _shared(run), size, run.seconds, pace=True))
        talks.append(measure_talk(load, _shared(run), size, min(run.seconds, UNPACED_S), pace=False))
    return [asdict(talk) for talk in talks], talk_table(talks)


def _faces(run: BenchmarkAllRun, load: Load) -> tuple[dict[str, Any], str]:
    configs = {name: load("train_face", [f"face={name}"]).face for name in run.faces}
    report = measure_faces(BenchmarkRun(face=run.face, output=run.output, rounds=run.rounds), configs)
    return report["results"], "\n## A frame, by config\n\n" + face_table(report)


def _keypoints(run: BenchmarkAllRun) -> tuple[list[dict[str, Any]], str]:
    own = BenchmarkKeypointsRun(output=run.output, rounds=run.rounds, narrow=run.narrow)
    text = benchmark_keypoints(own)
    costs = json.loads((run.output / "keypoints.json").read_text(encoding="utf-8"))["costs"]
    return costs, "\n## Keypoint systems\n\n" + text
