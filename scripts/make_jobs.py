"""Prepares an evaluation: ``python scripts/make_jobs.py output=outputs/table``.

Writes true videos, portraits, sounds, baselines and a list of jobs. Then
``infer.py list=outputs/table/jobs.jsonl`` makes the videos, ``eval.py videos=outputs/table`` measures them.
``clips_from=FOLDER`` takes real clips.
"""

from vasa.config import main
from vasa.inference.config import MakeJobsRun


@main("make_jobs")
def run(cfg: MakeJobsRun) -> None:
    from vasa.inference.job_lists import make_list

    make_list(cfg)


if __name__ == "__main__":
    run()
