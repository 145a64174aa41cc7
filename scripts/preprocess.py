"""Cuts clips of one person out of videos:
``python scripts/preprocess.py data=folder data.root=videos out=data/clips``.

Writes shards of clips (frames, sound, signals), manifest.parquet, which says of every input and every clip
what became of it, and lists of splits, into ``out``. The same command carries on after a kill. docs/data.md
says what is done, how to spread it over machines, and how to see what came of it (report_data.py).
"""

from vasa.config import main
from vasa.preprocess.config import PreprocessRun


@main("preprocess")
def run(cfg: PreprocessRun) -> None:
    from vasa.preprocess.pipeline import preprocess  # torch: after the command line is known to be right

    preprocess(cfg)


if __name__ == "__main__":
    run()
