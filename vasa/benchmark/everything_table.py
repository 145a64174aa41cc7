"""What ``benchmark.py all`` found, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from vasa.benchmark.end_to_end import STAGES, Case
from vasa.benchmark.paired import NOTE
from vasa.benchmark.startup import STEPS, Start
from vasa.benchmark.talk import Talk

END_NOTE = (
    "Portrait and speech to an mp4 through the code of infer.py; the checkpoint is loaded before. Medians of "
    "rounds in turns. Faster, cheaper: against the plain way in the same rounds, by the wall and by the "
    "time of all processors, the encoder's with it. dB: PSNR of the frames against the plain way's, before "
    "encoding. Stages in milliseconds a frame, but for load and portrait, which are seconds; encoding goes "
    "on beside the others, waiting is for it."
)
TALK_NOTE = (
    "stream.py over procedural speech. Milliseconds, p50 / p99: a hop's wait for its sound, its features, "
    "its motion; a frame decoded; total: from the last sound that a hop needs to its first frame. Shown: "
    "frames made, not shown again, a second. Memory: of the process, after two seconds of frames and at "
    "the end."
)
WAITED = ("wait", "total")
"""Of a talk without a pace these tell how much sound was pushed at once, nothing else."""
START_NOTE = (
    "Fresh processes in turns, medians, seconds of the wall; more than bare Python in the same rounds. "
    "Until: when the steps to a first frame were done."
)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def end_table(cases: Sequence[Case]) -> str:
    """Of files, end to end."""
    once = ("load", "portrait")
    columns = ["px", "batch", "way", "frames/s", "real-time factor", "faster", "cheaper", "dB", "CPU ms"]
    rows = [
        [
            str(case.shape[0]),
            str(case.batch),
            case.variant,
            f"{case.frames_per_s:.1f}",
            f"{case.real_time_factor:.2f}",
            str(case.faster or "-"),
            str(case.cheaper or "-"),
            "equal" if case.psnr_db is None else f"{case.psnr_db:.1f}",
            f"{1000 * median(taken.cpu_s for taken in case.rounds) / case.frames:.1f}",
            *(
                f"{case.stage_s(name):.2f}"
                if name in once
                else f"{1000 * case.stage_s(name) / case.frames:.1f}"
                for name in STAGES
            ),
        ]
        for case in cases
    ]
    ways = dict.fromkeys(f"{case.variant}: {' '.join(case.options) or 'no options'}" for case in cases)
    own = table([*columns, *STAGES], rows)
    return "\n".join(["", "## Files", "", END_NOTE, NOTE, "; ".join(ways) + ".", "", *own])


def talk_table(talks: Sequence[Talk]) -> str:
    """Of live talks."""
    parts = list(dict.fromkeys(part for talk in talks for part in talk.parts))
    columns = ["px", "pace", "seconds", "frames", "dropped", "shown/s", "first frame ms", *parts, "MiB"]
    rows = []
    for talk in talks:
        found = talk.statistics
        told = {name: both for name, both in talk.parts.items() if talk.pace or name not in WAITED}
        times = [told.get(part) for part in parts]
        rows.append(
            [
                str(talk.size),
                "its own" if talk.pace else "none",
                f"{talk.seconds:g}",
                f"{found['frames']:.0f}",
                f"{found['drops']:.0f}",
                f"{talk.shown_per_s:.1f}",
                f"{found.get('first_frame_ms', float('nan')):.0f}",
                *("-" if pair is None else f"{pair[0]:.0f} / {pair[1]:.0f}" for pair in times),
                " to ".join(_mib(value) for value in (talk.early_mib, talk.late_mib)),
            ]
        )
    return "\n".join(["", "## Live talks", "", TALK_NOTE, "", *table(columns, rows)])


def startup_table(starts: Sequence[Start]) -> str:
    """Of start-up."""
    columns = ["", "seconds", "more than bare", "times bare", *(f"until {step}" for step in STEPS)]
    rows = [
        [
            start.what,
            f"{start.seconds:.2f}",
            f"{start.over_bare_s:.2f}",
            f"{start.times_bare:.1f}",
            *(f"{start.until[step]:.2f}" if step in start.until else "-" for step in STEPS),
        ]
        for start in starts
    ]
    return "\n".join(["", "## Start-up", "", START_NOTE, "", *table(columns, rows)])


def _mib(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
