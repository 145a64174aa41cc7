"""Makes a portrait speak: ``python scripts/infer.py image=me.jpg audio=speech.wav output=me.mp4
emotion=happy``.

Writes the video (h264 and aac), where it comes from (.provenance.json) and a contact sheet (.sheet.png).
Without arguments a synthetic portrait speaks synthetic words, in outputs/demo/. ``list=jobs.csv out=DIR``
makes many videos, a row for each, in ``workers=N`` processes or those of torchrun (docs/inference.md);
``sweep=gaze_yaw out=DIR`` one portrait with that control at several values, ``sweep=gaze`` or ``sweep=head``
with several controls so (docs/controls.md).
``driving=video.mp4`` moves the portrait as a video does, ``paste=true`` shows the whole picture, and an image
that is a video gets other lips (docs/editing.md).
"""

from vasa.config import main
from vasa.inference.config import InferRun


@main("infer")
def run(cfg: InferRun) -> None:
    # these import torch: after the command line is known to be right
    from vasa.inference.animate import animate
    from vasa.inference.batch import run_list
    from vasa.inference.sweeps import sweep_list

    if cfg.sweep is not None:
        cfg = sweep_list(cfg)
    animate(cfg) if cfg.list is None else run_list(cfg)


if __name__ == "__main__":
    run()
