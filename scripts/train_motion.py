"""Trains stage 2: ``python scripts/train_motion.py`` on data/latents/demo, or ``cache=FOLDER
validation_cache=FOLDER``.

Writes ``motion.safetensors`` (averaged weights, normaliser, config, hash of the face's motion encoder),
states to resume from, metrics and pictures of tracks into the run folder; where ``face`` is named also films
with sound. The same command carries on after a kill.
"""

from vasa.config import main
from vasa.training.motion_config import TrainMotionRun


@main("train_motion")
def run(cfg: TrainMotionRun) -> None:
    from vasa.inference.film import MotionFilm  # torch: after the command line is known to be right
    from vasa.training.train_motion import train_motion

    shown = cfg.face is not None and cfg.film_seconds > 0
    film = MotionFilm(cfg.face, cfg.film_seconds, cfg.loop.seed, cfg.loop.device) if shown else None
    train_motion(cfg, film)


if __name__ == "__main__":
    run()
