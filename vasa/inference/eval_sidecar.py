"""The job file beside a video (``a.job.json`` beside ``a.mp4``): what was asked for.

It is what measuring a control needs, and all that ``scripts/eval.py`` ever learns of the generator. Only rows
that ask more than options have one; where a video comes from is provenance.py's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vasa.checkpoint import atomic_path
from vasa.inference.config import SWEEPS, InferRun
from vasa.inference.controls import AUTO, NONE
from vasa.inference.jobs import CLIP_FILES, Job
from vasa.inference.provenance import OF_MODEL, changed_options, settings

JOB_ENDING = ".job.json"
CONTROLS = tuple(SWEEPS)


def write_eval_sidecar(run: InferRun, job: Job, folder: Path, checkpoint: Mapping[str, Any]) -> None:
    """Writes the job file of a finished video, if its row asks for one. folder: the list's."""
    if job.asked:
        with atomic_path(_place(run)) as temporary:
            text = json.dumps(_content(run, job, folder, checkpoint), indent=1, ensure_ascii=False)
            temporary.write_text(text, encoding="utf-8")


def has_eval_sidecar(run: InferRun, job: Job, folder: Path, checkpoint: Mapping[str, Any]) -> bool:
    """Whether the job file is there and says this, where the row asks for one."""
    if not job.asked:
        return True
    try:
        found = json.loads(_place(run).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return found == json.loads(json.dumps(_content(run, job, folder, checkpoint)))


def _place(run: InferRun) -> Path:
    assert run.output is not None
    return run.output.with_name(run.output.stem + JOB_ENDING)


def _content(run: InferRun, job: Job, folder: Path, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The row, with paths seen from the video's folder, and who made it with which settings."""
    video = run.output
    assert video is not None

    def seen(path: Path) -> str:
        return Path(os.path.relpath(path, video.parent)).as_posix()

    asked, controls = job.asked, {name: value for name, value in settings(run).items() if name in CONTROLS}
    if run.emotion in (AUTO, NONE):
        del controls["emotion"]
    for name in (*CLIP_FILES, "reference"):
        if asked.get(name) is not None:
            asked[name] = seen(folder / asked[name])
    if job.pose_from is not None or job.expression_from is not None:
        controls = {}  # frames drive: nothing else is asked
    files = {"portrait": run.image, "audio": run.audio}
    changed = {name: value for name, value in changed_options(run).items() if name not in CONTROLS}
    return {
        "name": job.name,
        "group": job.group or job.name,
        **{name: seen(path) for name, path in files.items() if path is not None},
        **controls,
        "seed": run.seed,
        **asked,
        "made_by": {
            **{n: checkpoint[n] for n in OF_MODEL if n in checkpoint},
            "size": run.size,
            **changed,
        },
    }
