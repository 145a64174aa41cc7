"""Makes a portrait speak: ``python scripts/infer.py image=me.jpg audio=speech.wav output=me.mp4
emotion=happy``.

Writes the video (h264 and aac), a report (.report.json) and a contact sheet (.sheet.png) beside it. Without
arguments a synthetic portrait speaks synthetic words, in outputs/demo/. ``jobs=list.jsonl`` makes many
videos.
"""

from vasa.config import main
from vasa.inference.config import InferRun


@main("infer")
def run(cfg: InferRun) -> None:
    # these import torch: after the command line is known to be right
    from vasa.inference.animate import animate
    from vasa.inference.jobs import run_jobs

    animate(cfg) if cfg.jobs is None else run_jobs(cfg)


if __name__ == "__main__":
    run()
