"""Which inputs make which shard, what of it is done, and how it comes together: on one machine or many.

Inputs, sorted by id, are cut into shards of ``inputs_per_shard``; that depends on nothing else. An input
that is done leaves a fragment in ``work/``; fragments of a range become its shard; the shards' tables
become the manifest, written by whoever finds all of them there. So one process, many, a Slurm array or a
cluster make the same files, and a kill costs what was in hand.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vasa.checkpoint import atomic_path
from vasa.data.manifest import KEPT, MANIFEST, ManifestRow, join_tables, read_table
from vasa.data.shards import FragmentWriter, is_done, join_fragments, remove_fragments
from vasa.data.splits import assign_splits, write_splits
from vasa.preprocess.sources import Input, as_text

SETTINGS = "settings.json"
ODD = ("failed", "crashed", "timeout")
"""Statuses of inputs that nothing is known to be wrong with."""
TOO_MANY = 50
"""Of them in a row are the machine's fault."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Job:
    """One input to be made into a fragment. split: of its speaker."""

    input: Input
    split: str
    shard: int
    fragment: Path


@dataclass(slots=True)
class JobDone:
    """status: of the input. clips: how many came of it. video_s: seconds of it that were read. seconds: of
    processor time, by step."""

    status: str
    clips: int = 0
    video_s: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class ShardPlan:
    """All inputs of a data set as shards of a folder.

    numbers: of the shards that this process and its workers make.
    """

    out: Path
    inputs: Sequence[Input]
    splits: Mapping[str, str]
    per_shard: int
    numbers: range

    def __len__(self) -> int:
        """Shards of the whole data set."""
        return -(-len(self.inputs) // self.per_shard)

    def tar(self, shard: int) -> Path:
        return self.out / "shards" / f"clips-{shard:06d}.tar"

    def folder(self, shard: int) -> Path:
        return self.out / "work" / f"{shard:06d}"

    def jobs(self, shard: int) -> Iterator[Job]:
        """All inputs of a shard, in order."""
        first = shard * self.per_shard
        for number, item in enumerate(self.inputs[first : first + self.per_shard]):
            fragment = self.folder(shard) / f"{number:06d}.tar"
            yield Job(item, self.splits[item.speaker], shard, fragment)

    def todo(self) -> Iterator[Job]:
        """What is missing of this process's shards, shard by shard, looked up as it is asked for."""
        for shard in self.numbers:
            if not is_done(self.tar(shard)):
                yield from (job for job in self.jobs(shard) if not job.fragment.is_file())

    def join(self, shard: int) -> bool:
        """Makes a shard of its fragments if all are there; says whether it is done."""
        tar = self.tar(shard)
        if is_done(tar):
            return True
        fragments = [job.fragment for job in self.jobs(shard)]
        if not all(fragment.is_file() for fragment in fragments):
            return False
        for left in tar.parent.glob(f".{tar.stem}.*.tmp.*"):  # by a kill; no other process makes this shard
            left.unlink(missing_ok=True)
        join_fragments(fragments, tar)
        remove_fragments(self.folder(shard))
        return True

    def undo(self, statuses: Collection[str]) -> int:
        """Removes those of this process's shards in which an input has one of these statuses; how many."""
        undone = 0
        for shard in self.numbers if statuses else ():
            tar = self.tar(shard)
            if is_done(tar):
                table = read_table(tar.with_suffix(".parquet"), ["status"], [("kind", "==", "input")])
                if not set(statuses).isdisjoint(table["status"].to_pylist()):
                    tar.with_suffix(".parquet").unlink()
                    tar.unlink(missing_ok=True)
                    undone += 1
        return undone

    def missing(self) -> list[int]:
        """Shards of the whole data set that are not done."""
        return [shard for shard in range(len(self)) if not is_done(self.tar(shard))]


def plan_shards(
    out: Path, inputs: Sequence[Input], per_shard: int, part: tuple[int, int], split_config: Any
) -> ShardPlan:
    """part: (index, count): every count-th shard from the index-th on."""
    splits = assign_splits(((item.speaker, item.split) for item in inputs), split_config)
    plan = ShardPlan(out, inputs, splits, per_shard, range(0))
    plan.numbers = range(part[0], len(plan), part[1])
    return plan


def hold_settings(out: Path, settings: Mapping[str, Any], inputs: Sequence[Input]) -> None:
    """Writes down what decides how clips and shards look; refuses a folder that was made otherwise."""
    digest = hashlib.sha256()
    for item in inputs:
        digest.update(f"{item.id}\n".encode())
    wanted = {**settings, "inputs": f"{len(inputs)} files, {digest.hexdigest()[:16]}"}
    path = out / SETTINGS
    if not path.is_file():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(wanted, indent=1, sort_keys=True), encoding="utf-8")
        return
    old = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key in sorted({*wanted, *old}) if wanted.get(key) != old.get(key)]
    if changed:
        raise ValueError(
            f"out={out} was made with another {', '.join(changed)}: there "
            f"{', '.join(f'{key}={old.get(key)}' for key in changed)}, now "
            f"{', '.join(f'{key}={wanted.get(key)}' for key in changed)}; keep to what is there, or name "
            "another folder."
        )


@dataclass(slots=True)
class Progress:
    """Says how far it is: rate, time left, what became of the inputs."""

    total: int
    every_s: float = 10.0
    counts: Counter[str] = field(default_factory=Counter)
    clips: int = 0
    seconds: Counter[str] = field(default_factory=Counter)
    odd: int = 0  # inputs in a row that failed for no reason of their own
    begun: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)

    def add(self, done: JobDone) -> None:
        self.counts[done.status] += 1
        self.clips += done.clips
        self.seconds.update(done.seconds)
        self.odd = self.odd + 1 if done.status in ODD else 0
        if self.odd >= TOO_MANY:
            raise ValueError(
                f"{TOO_MANY} inputs one after the other ended as {' or '.join(ODD)}, the last one as "
                f"{done.status}: that is hardly their fault. All that is done is kept. Once the cause is "
                f"mended, the same command with retry=[{','.join(ODD)}] carries on."
            )
        now = time.monotonic()
        if now - self.said >= self.every_s:
            self.said = now
            _log.info("%s", self.text())

    def text(self) -> str:
        done = self.counts.total()
        rate = done / max(time.monotonic() - self.begun, 1e-9)
        named = ", ".join(f"{number} {status}" for status, number in self.counts.most_common())
        left = (self.total - done) / max(rate, 1e-9)
        return (
            f"{done} of {self.total} inputs ({named}), {self.clips} clips; {3600 * rate:.0f} inputs/h, "
            f"{int(left) // 3600}:{int(left) // 60 % 60:02d}:{int(left) % 60:02d} left"
        )

    def spent(self) -> str:
        """Where processor time went, the most first."""
        total = self.seconds.total()
        parts = [f"{step} {seconds / total:.0%}" for step, seconds in self.seconds.most_common()]
        return f"{total:.0f} s of processor time: {', '.join(parts)}"


def note_failure(job: Job, source: str, status: str, reason: str) -> None:
    """The fragment of an input that took its process with it: a row and no clip."""
    row = ManifestRow(
        id=job.input.id,
        kind="input",
        source=source,
        file=job.input.file,
        speaker=as_text(job.input.speaker),
        split=job.split,
        status=status,
        reason=reason,
    )
    with FragmentWriter(job.fragment) as fragment:
        fragment.note(row)


def finish(plan: ShardPlan, about: Mapping[str, Any], split_config: Any) -> dict[str, int] | None:
    """The manifest and the lists of splits, once every shard is there; how many inputs have which status.

    None while shards are missing: other processes make them.
    """
    missing = plan.missing()
    if missing:
        _log.info(
            "%d of %d shards are not done yet (%s%s); the last process to end writes the manifest.",
            len(missing), len(plan), ", ".join(map(str, missing[:5])), ", ..." if len(missing) > 5 else "",
        )  # fmt: skip
        return None
    path = plan.out / MANIFEST
    parts = [plan.tar(shard).with_suffix(".parquet") for shard in range(len(plan))]
    join_tables(path, parts, about)
    write_splits(plan.out, plan.splits, split_config)
    statuses = read_table(path, ["status"], [("kind", "==", "input")])["status"].to_pylist()
    return dict(Counter(statuses).most_common())


def rejected_share(counts: Mapping[str, int]) -> float:
    return 1 - counts.get(KEPT, 0) / max(sum(counts.values()), 1)
