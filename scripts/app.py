"""The web page, on this machine alone: ``python scripts/app.py`` and open http://127.0.0.1:7860 in a browser.

Portraits speak, follow videos, are compared and made by the list, and talk live (docs/app.md). ``port=0``
takes a free port, which is printed. Ctrl-C ends it and removes everything that visitors brought.
"""

from vasa.app.config import AppRun
from vasa.config import main


@main("app")
def run(cfg: AppRun) -> None:
    # these import torch and gradio: after the command line is known to be right
    from vasa.app.server import serve

    serve(cfg)


if __name__ == "__main__":
    run()
