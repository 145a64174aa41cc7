"""Hours, memory and disk of stage 1 on given GPUs: ``python scripts/plan_training.py gpus=8xA100``.

Counts the operations of a training step without computing them, for the named files of
configs/experiment/train_face (recipes=) and configs/face (face=), and prints a table. Needs no GPU.
"""

import sys

from vasa.benchmark.config import PlanTrainingRun
from vasa.config import load, main


@main("plan_training")
def run(cfg: PlanTrainingRun) -> None:
    from vasa.benchmark.plan import table

    recipes = {name: load("train_face", [f"experiment={name}"]) for name in cfg.experiments}
    faces = {name: load("train_face", [f"face={name}"]).face for name in cfg.faces}
    sys.stdout.write(table(recipes, faces, cfg))


if __name__ == "__main__":
    run()
