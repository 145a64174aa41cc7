"""What a personalised checkpoint says of itself: its card and its contact sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from vasa.face.volumetric.person import Person
from vasa.training.personalise_config import PersonaliseRun
from vasa.training.personalise_plan import Plan
from vasa.training.personalise_scores import Scores
from vasa.video import spread, write_contact_sheet

COLUMNS = 6
OVER_COPYING_DB, OVER_UNADAPTED_DB, GAZE_R = 6.0, 2.0, 0.7
"""What is wanted of a person's unseen frames."""


def write_sheet(path: Path, scores: Scores) -> None:
    """Unseen frames in three rows: true, as the checkpoint made them before, as it makes them now."""
    places = spread(len(scores.true), COLUMNS)
    rows = [frames[places] for frames in (scores.true, scores.unadapted, scores.adapted)]
    write_contact_sheet(path, [_picture(f) for row in rows for f in row], columns=len(places))


def _picture(frame: Tensor) -> np.ndarray:
    return frame.permute(1, 2, 0).contiguous().numpy()


def card(run: PersonaliseRun, plan: Plan, person: Person, scores: Scores) -> str:
    """Markdown: who, from what, how well, how long, and what it must not be used for."""
    over, gain = scores.adapted_db - scores.copied_db, scores.adapted_db - scores.unadapted_db
    gaze = [
        (
            f"gaze {axis} against the true one, as the judge sees both",
            now,
            GAZE_R,
            "r",
            f"{_said(was)} before",
        )
        for axis, now, was in zip(("aside", "up"), scores.gaze, scores.unadapted_gaze, strict=True)
    ]
    rows = [
        ("PSNR in the face box, over copying the first frame", over, OVER_COPYING_DB, "dB",
         f"{scores.adapted_db:.2f} against {scores.copied_db:.2f} dB"),
        ("PSNR in the face box, over the checkpoint as it was", gain, OVER_UNADAPTED_DB, "dB",
         f"{scores.unadapted_db:.2f} dB"),
        ("sharpness in the face box, of the true frames'", scores.sharpness, None, "", ""),
        *gaze,
    ]  # fmt: skip
    table = [
        f"| {name} | {_said(value)} {unit} | {'' if wanted is None else f'{wanted:g} {unit}'} | {note} |"
        for name, value, wanted, unit, note in rows
    ]
    return "\n".join(
        [
            f"# One person's checkpoint, made from {plan.video}",
            "",
            "Whoever made this said that they had the consent of the person shown (`consent=true`). It holds "
            "pictures of that person: treat it as you would the video. Use it only for what they agreed to, "
            "tell viewers that the result is synthetic, and remove the folder when they ask for it.",
            "",
            "`python scripts/infer.py checkpoint=FOLDER audio=speech.wav` speaks as them, from "
            "`portrait.png`; "
            "any other `image=` is rendered as the checkpoint that this was made from does.",
            "",
            f"## Numbers, on the {len(scores.true)} frames at the video's end that were not learned from",
            "",
            "| number | measured | wanted | note |",
            "|---|---|---|---|",
            *table,
            "",
            "A dash: the true gaze moves by less than two degrees, so there is nothing to follow.",
            "`sheet.png`: true frames, the checkpoint as it was, and this one.",
            "",
            "## Made from",
            "",
            "| | |",
            "|---|---|",
            f"| video | {plan.video}, SHA-256 `{plan.video_sha256[:16]}` |",
            f"| frames kept | {len(person.frames)} of {person.side} px |",
            f"| face space | content SHA-256 `{plan.face_sha256[:16]}`, unchanged |",
            f"| learning | {plan.steps} steps of {run.loop.batch_size} |",
            f"| time | {plan.wall_s:.0f} s, {plan.cpu_s:.0f} s of CPUs |",
            "",
        ]
    )


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
