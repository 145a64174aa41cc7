"""Draws contact sheets of the procedural heads: ``python scripts/preview.py size=256 first_seed=40``.

Writes ``<out>/<kind>.png`` for people, controls, poses, emotions and truth.
"""

from vasa.config import main
from vasa.data.synthetic.config import PreviewRun


@main("preview")
def run(cfg: PreviewRun) -> None:
    from vasa.data.synthetic.sheets import write_sheets  # torch: after the command line is known to be right

    write_sheets(cfg)


if __name__ == "__main__":
    run()
