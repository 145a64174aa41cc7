"""Trains the frozen stand-in networks: ``python scripts/train_judges.py``, or some: ``only=[judge_pose]``.

Renders the pools of labelled frames that are missing, trains each network from where it stopped, and writes
``checkpoints/judges/<name>.safetensors`` with its scores on people it has not seen.
"""

from vasa.config import main
from vasa.training.judge_config import TrainJudgesRun


@main("train_judges")
def run(cfg: TrainJudgesRun) -> None:
    from vasa.training.train_judges import train_judges  # torch: after the command line is known to be right

    train_judges(cfg)


if __name__ == "__main__":
    run()
