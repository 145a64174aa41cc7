"""Makes a portrait speak: ``python scripts/infer.py image=me.jpg audio=speech.wav output=me.mp4
emotion=happy``.

Writes the video (h264 and aac), a report (.report.json) and a contact sheet (.sheet.png) beside it. Without
arguments a synthetic portrait speaks synthetic words, in outputs/demo/.
"""

from vasa.config import main
from vasa.inference.config import InferRun


@main("infer")
def run(cfg: InferRun) -> None:
    from vasa.inference.animate import animate  # torch: after the command line is known to be right

    animate(cfg)


if __name__ == "__main__":
    run()
