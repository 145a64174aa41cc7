"""Compares variants of stage 2 over seeds: ``python scripts/study_motion.py`` writes a table, study.md.

The variants, and the caches of exact animation that they learn from, are in configs/study_motion.yaml; what
is finished is not made again. ``experiment=languages`` asks what unseen languages cost.
"""

from vasa.config import load, main
from vasa.training.study_config import StudyMotionRun


@main("study_motion")
def run(cfg: StudyMotionRun) -> None:
    from vasa.training.study_motion import study_motion

    study_motion(cfg, load)


if __name__ == "__main__":
    run()
