"""What ``scripts/stream.py`` does: one live talk from a source to a sink, and how long its parts took."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress

from vasa.inference.animate import load_face
from vasa.inference.generation import Portrait
from vasa.inference.live_ends import opened_sink, sound_of, start_source
from vasa.inference.live_times import PARTS
from vasa.inference.performance import opened, subject
from vasa.inference.stream import LiveTalk
from vasa.inference.stream_config import StreamRun
from vasa.records import VIDEO_FPS

TOLD_EVERY_S = 10
log = logging.getLogger(__name__)


def stream(run: StreamRun) -> dict[str, float]:
    """Talks until the sound ends, the window is closed or Ctrl-C; what was made by then is kept. Gives the
    talk's statistics.

    Raises: ValueError, FileNotFoundError, OSError, ModuleNotFoundError, each in one sentence.
    """
    options = run.options()
    sound, photo = sound_of(run), opened(options)
    if options.image is not None and photo is None:
        raise ValueError(f"image={options.image} is a video; a live talk wants a photograph.")
    face = load_face(options)
    portrait = subject(options, face, photo)
    assert isinstance(portrait, Portrait)
    patience = run.patience if run.pace and run.source != "file" else None
    talk = LiveTalk(face, portrait, options, run.plan, patience, run.pace)
    side = portrait.picture.shape[0]
    shape = (side, side) if portrait.surround is None else portrait.surround.shape
    log.info("Ready: %dx%d px at %d frames/s.", *reversed(shape), VIDEO_FPS)
    told = time.monotonic()
    with opened_sink(run, shape) as show:
        start_source(run, talk, sound)
        with suppress(KeyboardInterrupt):  # Ctrl-C is how a talk without an end is ended
            for moment in talk:
                show(moment)
                if time.monotonic() - told > TOLD_EVERY_S:
                    told = time.monotonic()
                    log.info("%s", summary(talk.statistics()))
        talk.stop()
    found = talk.statistics()
    log.info("%s", summary(found))
    return found


def summary(found: Mapping[str, float]) -> str:
    """Statistics of a talk in a line."""
    parts = [
        f"{part} {found[f'{part}_p50_ms']:.0f}/{found[f'{part}_p99_ms']:.0f}"
        for part in PARTS
        if f"{part}_p50_ms" in found
    ]
    words = [f"{found['frames']:.0f} frames", f"{found['drops']:.0f} dropped"]
    if "real_time_factor" in found:
        words.append(f"real-time factor {found['real_time_factor']:.2f}")
    if "first_frame_ms" in found:
        words.append(f"first frame after {found['first_frame_ms']:.0f} ms")
    return f"{', '.join(words)}; p50/p99 ms: {', '.join(parts)}"
