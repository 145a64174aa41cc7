"""From raw videos to shards: the run over all inputs, whose steps are input_maker.py's.

Which process makes an input does not matter (shard_work.py), nor what happened on the way: the same command
carries on.
"""

from __future__ import annotations

import errno
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vasa.checkpoint import plain
from vasa.data.manifest import KEPT
from vasa.preprocess.config import PreprocessRun
from vasa.preprocess.input_maker import InputMaker, prepare
from vasa.preprocess.shard_work import (
    Job,
    JobDone,
    Progress,
    ShardPlan,
    finish,
    hold_settings,
    note_failure,
    plan_shards,
    rejected_share,
)
from vasa.preprocess.sources import find_inputs
from vasa.supervised import Failure, supervise

STEPS = (
    "read at 25 fps and 16 kHz", "shots", "faces", "stretches of one person", "one square", "quality",
    "signals", "identity", "range of pose", "offset of the sound", "masks", "encode",
)  # fmt: skip
"""What is done, in this order; a clip that a step rejects does not reach the next."""
DECIDES = (
    "size", "masks", "mask_stride", "segments", "quality", "sync", "min_sync_confidence", "signals",
    "min_agreement", "encode", "splits", "detector", "matte", "inputs_per_shard",
)  # fmt: skip
"""Options that decide what clips and shards are, and so stay the same in one folder."""
FILES = (
    ("data", "root"), ("detector", "scrfd"), ("detector", "landmarks"), ("matte", "modnet"),
    ("matte", "weights"), ("quality", "iqa"),
    ("sync", "weights"), ("signals", "landmarks"), ("signals", "gaze"), ("signals", "emotion"),
    ("signals", "identity"), ("signals", "judges"),
)  # fmt: skip
"""Options that name a place: what lies there counts, and not what it is called."""
FULL = (errno.ENOSPC, errno.EDQUOT)
SECONDS_A_BYTE = 12e-6
"""Added to ``timeout_s``: five times what a second of 512 px video takes."""
_log = logging.getLogger(__name__)


def preprocess(run: PreprocessRun) -> dict[str, int] | None:
    """Makes what is missing of this process's shards, then the manifest, if all shards are there.

    Returns how many inputs have which status, or None where other processes' shards are missing. Raises:
    FileNotFoundError, ValueError where there is no video, a network's file is missing, the folder was made
    with other options, or ``strict`` and too many inputs were rejected.
    """
    run = with_whole_paths(run)
    inputs = find_inputs(run.data)
    used = InputMaker(replace(run, device="cpu")).used
    hold_settings(run.out, settings_of(run, used), inputs)
    plan = plan_shards(run.out, inputs, run.inputs_per_shard, (run.shard_index, run.num_shards), run.splits)
    undone = plan.undo(run.retry)
    if undone:
        _log.info("%d shards are made again: inputs of them were %s.", undone, " or ".join(run.retry))
    for shard in plan.numbers:
        plan.join(shard)
    left = Counter(job.shard for job in plan.todo())
    progress = Progress(left.total())
    try:
        _make_all(run, plan, left, progress)
    except OSError as error:
        if error.errno in FULL:
            raise OSError(
                f"{run.out}: {error.strerror}. All that is done is kept. Make room, also for one shard twice "
                "while it is joined, and give the same command again."
            ) from error
        raise
    if progress.total:
        _log.info("%s", progress.text())
    if progress.seconds:
        _log.info("%s.", progress.spent())
    counts = finish(plan, about_of(run, used), run.splits)
    if counts is not None:
        _tell(run, counts)
        _be_strict(run, counts)
    return counts


def _make_all(run: PreprocessRun, plan: ShardPlan, left: Counter[int], progress: Progress) -> None:
    """left: inputs of each shard that are still to be made."""
    results = supervise(
        prepare, (run,), plan.todo(), run.workers, partial(_patience, run), run.engine, run.gpus
    )
    for job, result in results:
        if isinstance(result, Failure):
            note_failure(job, run.data.name, result.status, result.reason)
            result = JobDone(result.status)
        left[job.shard] -= 1
        if not left[job.shard] and not plan.join(job.shard):
            raise ValueError(
                f"Shard {job.shard} is done, but not all of its fragments are in {plan.folder(job.shard)}: "
                "every worker must see out= under the same name."
            )
        progress.add(result)


def with_whole_paths(run: PreprocessRun) -> PreprocessRun:
    """Relative paths of a run, seen from here: workers may be elsewhere."""

    def whole(value: Any) -> Any:
        """Paths, and texts that are names of files."""
        if isinstance(value, Path):
            return value.expanduser().absolute()
        place = Path(value).expanduser() if isinstance(value, str) else None
        return str(place.absolute()) if place and place.is_file() else value

    for section in {section for section, _ in FILES}:
        config = getattr(run, section)
        named = {name: whole(getattr(config, name)) for owner, name in FILES if owner == section}
        run = replace(run, **{section: replace(config, **named)})
    return replace(run, out=whole(run.out))


def _patience(run: PreprocessRun, job: Job) -> float:
    """Seconds that an input may take: longer ones have larger files."""
    with suppress(OSError):
        return run.timeout_s + job.input.video.stat().st_size * SECONDS_A_BYTE
    return run.timeout_s


def _tell(run: PreprocessRun, counts: dict[str, int]) -> None:
    kept, total = counts.get(KEPT, 0), sum(counts.values())
    reasons = ", ".join(f"{number} {status}" for status, number in counts.items() if status != KEPT)
    _log.info(
        "%s: %d inputs = %d kept + %d rejected%s.",
        run.out, total, kept, total - kept, f" ({reasons})" if reasons else "",
    )  # fmt: skip


def _be_strict(run: PreprocessRun, counts: dict[str, int]) -> None:
    share = rejected_share(counts)
    if run.strict and share > run.max_rejected_share:
        raise ValueError(
            f"{share:.1%} of the inputs gave no clip; strict=true allows {run.max_rejected_share:.1%} "
            f"(max_rejected_share). All that was made is in {run.out}; its manifest says why."
        )


def settings_of(run: PreprocessRun, used: dict[str, str]) -> dict[str, Any]:
    """What decides how a folder looks, as plain data: files by their hashes and not by where they lie."""
    settings = plain(run)
    chosen = {name: settings[name] for name in DECIDES}
    chosen["data"] = settings["data"]
    for section, name in FILES:
        del chosen[section][name]
    return {**chosen, "networks": used}


def about_of(run: PreprocessRun, used: dict[str, str]) -> dict[str, Any]:
    """What the manifest says of how it was made."""
    libraries = {name: version(name) for name in ("vasa", "torch", "av", "numpy")}
    return {"steps": list(STEPS), "versions": libraries, **settings_of(run, used)}
