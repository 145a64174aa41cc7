"""Learns one person from their video: ``python scripts/personalise.py consent=true video=me.mp4 out=me``.

Within ten minutes of two CPU cores, or seconds of a GPU, ``out`` is a checkpoint: ``python scripts/infer.py
checkpoint=me audio=speech.wav`` speaks as them. Its README.md says how well, on frames that were not learned
from. The same command carries on after a kill. consent=true says that the person shown agreed.
"""

from vasa.config import main
from vasa.training.personalise_config import PersonaliseRun


@main("personalise")
def run(cfg: PersonaliseRun) -> None:
    from vasa.preprocess.person_video import PersonReader, read_fine
    from vasa.training.personalise import personalise

    personalise(cfg, PersonReader(cfg.detector, cfg.max_seconds), read_fine)


if __name__ == "__main__":
    run()
