"""A portrait that speaks while it hears: ``python scripts/stream.py image=me.jpg source=mic sink=window``.

``source=file audio=speech.wav sink=file output=me.mp4`` plays a file as a microphone would; ``sink=stdout``
writes fragmented mp4, or with ``format=raw`` rgb24 frames, for ffmpeg, OBS and virtual cameras
(docs/streaming.md). Says at the end how long its parts took.
"""

from vasa.config import main
from vasa.inference.stream_config import StreamRun


@main("stream")
def run(cfg: StreamRun) -> None:
    from vasa.inference.live_session import stream  # torch: after the command line is known to be right

    stream(cfg)


if __name__ == "__main__":
    run()
