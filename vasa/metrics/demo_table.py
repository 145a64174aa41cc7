"""The table of a checkpoint's numbers: every row that its trials allow."""

from __future__ import annotations

from typing import Any

from vasa.data.trials import Outcomes
from vasa.metrics.real_rows import photograph_rows, real_clip_rows, recording_rows
from vasa.metrics.rendered_rows import condition_rows, reenactment_rows, speech_rows, speed_row
from vasa.metrics.report import Table
from vasa.pretrained.detector import Detector
from vasa.pretrained.judges import Judges


def table(
    outcomes: Outcomes,
    judges: Judges,
    detector: Detector | None,
    psnr_gain_db: float,
    context: dict[str, Any],
) -> Table:
    """Every row that the outcomes allow; what could not be tried has a reason instead of a value.

    psnr_gain_db: what self-reenactment must gain over copying. context: what is known of the checkpoint.
    """
    missing = outcomes.skipped.get("real", "there were none")
    return Table(
        [
            *(reenactment_rows(outcomes.reenactment, judges, psnr_gain_db) if outcomes.reenactment else []),
            *(speech_rows(outcomes.spoken, judges) if outcomes.spoken else []),
            *(condition_rows(outcomes.asked, outcomes.asked_true, judges) if outcomes.asked else []),
            *recording_rows(outcomes.recordings, outcomes.spoken, judges, missing),
            *real_clip_rows(outcomes.real_clips, missing),
            *photograph_rows(outcomes.photographs, judges, detector, missing),
            *([speed_row(outcomes.spoken)] if outcomes.spoken else []),
        ],
        {**context, "skipped": outcomes.skipped},
    )
