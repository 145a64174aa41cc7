"""The ends of a live talk: where its sound comes from and where its frames go."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from vasa.audio import read_audio, resample
from vasa.inference.stream import LiveTalk, Moment
from vasa.inference.stream_config import StreamRun
from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME
from vasa.video.fragments import FragmentWriter

BLOCK_S = 0.02
"""Of sound that is pushed at a time."""
Show = Callable[[Moment], None]


def sound_of(run: StreamRun) -> np.ndarray | None:
    """The sound of source=file, at AUDIO_HZ; None of others. Raises: FileNotFoundError, ValueError."""
    if run.audio is None:
        return None
    waveform, rate_hz = read_audio(run.audio)
    return resample(np.asarray(waveform), rate_hz)


def start_source(run: StreamRun, talk: LiveTalk, sound: np.ndarray | None) -> None:
    """Pushes sound into a talk from a thread of its own, until there is no more. Raises: OSError without a
    microphone; ModuleNotFoundError without the package that records.
    """
    if run.source == "mic":
        _record(talk)
        return
    feed = (lambda: _play(sound, talk, run.pace)) if sound is not None else (lambda: _pipe(run, talk))
    threading.Thread(
        target=_until_closed, args=(feed, talk), name="sound of a live talk", daemon=True
    ).start()


def _until_closed(feed: Callable[[], None], talk: LiveTalk) -> None:
    try:
        feed()
    except RuntimeError:  # the talk was stopped before its sound ended
        return
    talk.close()


def _play(sound: np.ndarray, talk: LiveTalk, pace: bool) -> None:
    """Pushes a sound as a microphone would, or at once."""
    if not pace:
        talk.push(sound)
        return
    begun, block = time.perf_counter(), round(BLOCK_S * AUDIO_HZ)
    for start in range(0, len(sound), block):
        time.sleep(max(0.0, begun + (start + block) / AUDIO_HZ - time.perf_counter()))
        talk.push(sound[start : start + block])


def _pipe(run: StreamRun, talk: LiveTalk) -> None:
    """Pushes 16-bit samples as they come through stdin. Rates other than AUDIO_HZ are converted by the frame,
    which is exact where 40 ms are whole samples.
    """
    stream: BinaryIO = sys.stdin.buffer
    block = 2 * round(run.rate * SAMPLES_PER_FRAME / AUDIO_HZ)
    while data := stream.read(block):
        samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / 32768
        talk.push(resample(samples, run.rate) if len(samples) else samples)


def _record(talk: LiveTalk) -> None:
    stream = _sounddevice().InputStream(
        samplerate=AUDIO_HZ,
        channels=1,
        dtype="float32",
        blocksize=round(BLOCK_S * AUDIO_HZ),
        callback=lambda block, *_: talk.push(block[:, 0].copy()),
    )
    stream.start()


def _sounddevice() -> Any:
    """The package that records and plays. Raises: ModuleNotFoundError in a sentence."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise ModuleNotFoundError(
            f"a microphone and a window's sound want the package sounddevice and PortAudio ({error}); "
            "pip install 'vasa[live]', or take source=file|stdin and sink=file|stdout."
        ) from error
    return sounddevice


@contextmanager
def opened_sink(run: StreamRun, shape: tuple[int, int]) -> Iterator[Show]:
    """What shows moments of frames of a shape (height, width). Raises: OSError, ModuleNotFoundError."""
    if run.sink == "window":
        with _window() as show:
            yield show
    elif run.format == "raw":
        yield lambda moment: _raw(sys.stdout.buffer, moment)
    else:
        with FragmentWriter(run.output, *shape) as writer:
            yield lambda moment: writer.write(moment.frame, moment.sound)


def _raw(out: BinaryIO, moment: Moment) -> None:
    out.write(moment.frame.tobytes())
    out.flush()


@contextmanager
def _window() -> Iterator[Show]:
    """A window of OpenCV, with sound; closing it, or q, ends the talk."""
    import cv2

    name = "vasa"
    try:
        cv2.namedWindow(name, cv2.WINDOW_NORMAL)
    except cv2.error as error:
        raise OSError("no window can be opened here; take sink=file or sink=stdout.") from error
    speaker = _sounddevice().OutputStream(samplerate=AUDIO_HZ, channels=1, dtype="float32")
    speaker.start()

    def show(moment: Moment) -> None:
        cv2.imshow(name, moment.frame[:, :, ::-1])
        speaker.write(moment.sound[:, None])
        if cv2.waitKey(1) == ord("q") or cv2.getWindowProperty(name, cv2.WND_PROP_VISIBLE) < 1:
            raise KeyboardInterrupt

    try:
        yield show
    finally:
        speaker.stop()
        cv2.destroyWindow(name)
