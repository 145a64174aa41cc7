"""Sweeps: one portrait and one sound with one control at several values, all else equal; what measuring a
control needs. Several controls may be swept in one folder, each from the same start.

``sweep_list`` makes the list for anybody's portrait, ``rows`` for a clip of an evaluation.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from vasa.face.volumetric.person import PERSON_FILE
from vasa.inference.config import SWEEPS, SWEPT_TOGETHER, InferRun
from vasa.inference.controls import RANGES
from vasa.inference.jobs import Job, job_of, write_jobs

ROW = "controls"
AS_IT_IS = "as_it_is"


def steps(control: str = "") -> list[tuple[str, dict[str, Any]]]:
    """(label, options) of the videos of a sweep, of the sweeps that a word stands for, or of every one that a
    judge of short clips can read; first the one for which nothing is asked, which the others are held to.
    """
    judged = tuple(name for name in SWEEPS if name != "blink_rate")
    swept = SWEPT_TOGETHER.get(control, (control,)) if control else judged
    found: list[tuple[str, dict[str, Any]]] = [(AS_IT_IS, {})]
    for name in swept:
        for value in SWEEPS[name]:
            said = f"{value:+g}" if name in RANGES and RANGES[name].is_angle else str(value)
            found.append((f"{name}_{said}", {name: value}))
    return found


def sweep_list(config: InferRun) -> InferRun:
    """Writes the list of ``config.sweep`` into ``config.out`` and gives back the run that makes its videos.

    They go into its folder ``controls``, with job files that ``scripts/eval.py metrics=[controls]`` reads.
    Raises: ValueError where there is no picture or no sound.
    """
    assert config.sweep is not None and config.out is not None
    # whom the checkpoint was made for is shown; a driver brings its sound, and a saved motion needs none
    needless = {"image": (config.checkpoint / PERSON_FILE).is_file()}
    needless["audio"] = config.driving is not None or config.motion is not None
    for name, is_needless in needless.items():
        if getattr(config, name) is None and not is_needless:
            raise ValueError(f"sweep={config.sweep} comes without {name}; add {name}=FILE, which all share.")
    config.out.mkdir(parents=True, exist_ok=True)
    files = {name: getattr(config, name) for name in ("image", "audio") if getattr(config, name) is not None}
    # through links, as the system itself goes up from a folder
    named = {name: os.path.relpath(path.resolve(), config.out.resolve()) for name, path in files.items()}
    jobs = [
        job_of({"name": label, "row": ROW, "group": label, **named, **values})
        for label, values in steps(config.sweep)
    ]
    path = config.out / f"{config.sweep}.jsonl"
    write_jobs(path, jobs)
    return replace(config, sweep=None, list=path, image=None, audio=None)


def rows(clip: str, portrait: str, seed: int, framed: bool) -> list[Job]:
    """Every sweep of one clip of an evaluation's folder."""
    return [
        job_of(
            name=f"{clip}_{label}",
            row=ROW,
            image=portrait,
            audio=f"audio/{clip}.wav",
            seed=seed,
            framed=framed,
            group=f"{clip}_{label}",
            **values,
        )
        for label, values in steps()
    ]
