"""Compares variants of stage 1 over seeds: ``python scripts/study_face.py`` writes a table, study.md.

The variants and what they share are in configs/study_face.yaml. What is finished is not trained again.
"""

from functools import partial

from vasa.config import load, main
from vasa.training.study_config import StudyFaceRun


@main("study_face")
def run(cfg: StudyFaceRun) -> None:
    from vasa.training.study import study_face

    study_face(cfg, partial(load, "train_face"))


if __name__ == "__main__":
    run()
