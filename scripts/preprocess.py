"""Cuts faces out of videos: ``python scripts/preprocess.py root=videos out=data/clips workers=8``.

For stage 1: writes one file of frames for each video that shows a face, and manifest.csv, which says of every
video what became of it. The same command carries on after a kill.
"""

from vasa.config import main
from vasa.preprocess.config import PreprocessRun


@main("preprocess")
def run(cfg: PreprocessRun) -> None:
    from vasa.preprocess.clips import preprocess  # torch: after the command line is known to be right

    preprocess(cfg)


if __name__ == "__main__":
    run()
