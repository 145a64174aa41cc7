"""What became of a list: failed.csv for who mends it, report.json with where the time went."""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vasa.checkpoint import atomic_path
from vasa.inference.report import PARTS

log = logging.getLogger(__name__)

FAILED, REPORT = "failed.csv", "report.json"
POLL_S = 0.5


@dataclass(slots=True)
class Failed:
    """A row that has no video. line: of the list. input: what it names."""

    line: int
    input: str
    reason: str


@dataclass(slots=True)
class Outcome:
    """What one process, or all, made of their rows. seconds: by part, summed over processes."""

    made: int = 0
    there: int = 0
    frames: int = 0
    failed: list[Failed] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    disk_full: bool = False
    processes: int = 1
    wall_s: float = 0.0

    def count(self, frames: int, timings: Mapping[str, float]) -> None:
        """One more video. timings: of ``animate.Made``."""
        self.made, self.frames = self.made + 1, self.frames + frames
        for part in (*PARTS, "encode", "total"):
            self._spend(part, timings[f"{part}_s"])

    def add(self, other: Outcome) -> None:
        """What another process did."""
        self.made, self.there, self.frames = (
            self.made + other.made, self.there + other.there, self.frames + other.frames
        )  # fmt: skip
        self.failed += other.failed
        self.disk_full, self.processes = self.disk_full or other.disk_full, self.processes + other.processes
        for part, seconds in other.seconds.items():
            self._spend(part, seconds)

    def _spend(self, part: str, seconds: float) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds


def part_file(out: Path, rank: int) -> Path:
    """Where process ``rank`` of several tells the first one what it did."""
    return out / f".part-{rank}.json"


def remove_stale_parts(out: Path, rank: int, since_s: float) -> None:
    """Takes away what processes of an earlier, killed run told: this process's own part and, by the first
    one, all from before ``since_s`` (seconds of the clock), when those of this run were not there yet.
    """
    part_file(out, rank).unlink(missing_ok=True)
    if rank == 0:
        for path in out.glob(".part-*.json"):
            with suppress(FileNotFoundError):  # its own process was quicker
                if path.stat().st_mtime < since_s:
                    path.unlink()


def write_part(out: Path, rank: int, outcome: Outcome) -> None:
    with atomic_path(part_file(out, rank)) as temporary:
        temporary.write_text(json.dumps(asdict(outcome)), encoding="utf-8")


def add_parts(outcome: Outcome, out: Path, processes: int) -> None:
    """Waits for the other processes, which may be on other machines, and adds what they did."""
    for rank in range(1, processes):
        path = part_file(out, rank)
        if not path.exists():
            log.info("Waiting for process %d of %d.", rank + 1, processes)
        while not path.exists():
            time.sleep(POLL_S)
        known = json.loads(path.read_text(encoding="utf-8"))
        known["failed"] = [Failed(**one) for one in known["failed"]]
        outcome.add(Outcome(**known))
        path.unlink()


def write_list_report(out: Path, outcome: Outcome, rows: int) -> None:
    """failed.csv where rows failed (none is left behind where none did), and report.json."""
    outcome.failed.sort(key=lambda one: one.line)
    if outcome.failed:
        with (
            atomic_path(out / FAILED) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["row", "input", "reason"])
            writer.writerows([one.line, one.input, one.reason] for one in outcome.failed)
    else:
        (out / FAILED).unlink(missing_ok=True)
    spent = _time(outcome)
    content = {
        "rows": rows,
        "made": outcome.made,
        "there_already": outcome.there,
        "failed": [asdict(one) for one in outcome.failed],
        "frames": outcome.frames,
        "processes": outcome.processes,
        "wall_s": round(outcome.wall_s, 2),
        "frames_per_s": round(outcome.frames / outcome.wall_s, 2) if outcome.wall_s else None,
        "time": spent,
        "encoding_beside_s": round(outcome.seconds.get("encode", 0.0), 2),
    }
    with atomic_path(out / REPORT) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    log.info(
        "%d videos made, %d there already, %d failed; %.0f s, %.1f frames/s: %s.",
        outcome.made,
        outcome.there,
        len(outcome.failed),
        outcome.wall_s,
        outcome.frames / max(outcome.wall_s, 1e-9),
        ", ".join(f"{part} {100 * one['share']:.0f} %" for part, one in spent.items()),
    )


def _time(outcome: Outcome) -> dict[str, dict[str, float]]:
    """Seconds and shares of what processes did one after the other; rest: files, hashes, sidecars. Encoding
    went on beside it, but for ``waiting``.
    """
    spent = {part: outcome.seconds.get(part, 0.0) for part in ("load", *PARTS)}
    videos = sum(outcome.seconds.get(part, 0.0) for part in PARTS)
    spent["rest"] = max(0.0, outcome.seconds.get("total", 0.0) - videos)
    whole = sum(spent.values()) or 1.0
    return {
        part: {"seconds": round(seconds, 2), "share": round(seconds / whole, 4)}
        for part, seconds in spent.items()
    }
