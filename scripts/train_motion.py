"""Trains stage 2: ``python scripts/train_motion.py`` on data/latents/demo, or ``cache=FOLDER
validation_cache=FOLDER``.

Writes ``motion.safetensors`` (averaged weights, normaliser, config, hash of the face's motion encoder),
states to resume from, metrics and pictures of tracks into the run folder. The same command carries on after a
kill.
"""

from vasa.config import main
from vasa.training.motion_config import TrainMotionRun


@main("train_motion")
def run(cfg: TrainMotionRun) -> None:
    from vasa.training.train_motion import train_motion  # torch: after the command line is known to be right

    train_motion(cfg)


if __name__ == "__main__":
    run()
