"""scripts/stream.py from every source to every sink, its sentences, and what is left after a stop."""

import io
import os
import runpy
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vasa.audio import read_audio
from vasa.inference.bundle import bundle
from vasa.inference.config import BundleRun
from vasa.inference.live_session import stream
from vasa.inference.stream_config import StreamRun
from vasa.records import AUDIO_HZ
from vasa.video import VideoReader
from vasa.video.fragments import FragmentWriter


@pytest.fixture(scope="module")
def checkpoint(tiny_runs, tmp_path_factory):
    return bundle(BundleRun(face=tiny_runs, motion=tiny_runs, output=tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 8000), 8000)
    return path


def plan():
    from vasa.inference.config import LivePlan

    return LivePlan(hop=3, lookahead=2, right=1, left=12, window=8)


def run_of(checkpoint, **more):
    common = {"checkpoint": checkpoint, "size": 64, "fast": False, "plan": plan(), "pace": False}
    return StreamRun(**{**common, **more})


def test_a_file_becomes_a_film_with_its_sound(checkpoint, sound, tmp_path):
    output = tmp_path / "new" / "talk.mp4"
    found = stream(run_of(checkpoint, source="file", audio=sound, sink="file", output=output))
    assert found["frames"] == 25 and found["drops"] == 0
    assert len(VideoReader(output)) == 25
    heard, rate_hz = read_audio(output)
    assert rate_hz == AUDIO_HZ and len(heard) >= 16000 and np.abs(heard).max() > 0.05
    assert [path.name for path in output.parent.iterdir()] == ["talk.mp4"]


def test_at_its_own_pace_a_file_takes_as_long_as_it_lasts(checkpoint, sound, tmp_path):
    begun = time.perf_counter()
    options = {"source": "file", "audio": sound, "sink": "file", "output": tmp_path / "a.mp4", "pace": True}
    found = stream(run_of(checkpoint, **options))
    assert found["frames"] == 25 and time.perf_counter() - begun > 1


def test_a_pipe_becomes_raw_frames(checkpoint, monkeypatch):
    samples = (np.random.default_rng(1).normal(0, 0.1, 8000) * 32767).astype("<i2")
    given, taken = io.BytesIO(samples.tobytes() + b"\x00"), io.BytesIO()
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=given))
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(buffer=taken, flush=lambda: None))
    run = run_of(checkpoint, source="stdin", rate=8000, sink="stdout", format="raw", patience=0.3)
    found = stream(run)
    assert found["frames"] == 25 and len(taken.getvalue()) == 25 * 64 * 64 * 3


def test_a_microphone_and_a_window(checkpoint, monkeypatch):
    spoken, shown = [], []

    class Input:
        def __init__(self, callback, blocksize, **_):
            self._push, self._block = callback, blocksize

        def start(self):
            for _ in range(30):
                self._push(np.full((self._block, 1), 0.1, np.float32), self._block, None, None)

    class Output:
        def __init__(self, **_):
            pass

        def start(self):
            pass

        stop = start

        def write(self, block):
            spoken.append(block)

    cv2 = types.SimpleNamespace(
        error=RuntimeError,
        WINDOW_NORMAL=0,
        WND_PROP_VISIBLE=0,
        namedWindow=lambda *_: None,
        destroyWindow=lambda *_: None,
        imshow=lambda _, picture: shown.append(picture),
        waitKey=lambda _: ord("q") if len(shown) == 12 else -1,
        getWindowProperty=lambda *_: 1.0,
    )
    monkeypatch.setitem(
        sys.modules, "sounddevice", types.SimpleNamespace(InputStream=Input, OutputStream=Output)
    )
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    found = stream(run_of(checkpoint, source="mic", sink="window", pace=True))
    assert len(shown) == len(spoken) == found["frames"] == 12
    assert spoken[0].shape == (640, 1) and float(spoken[0].max()) == pytest.approx(0.1)


def test_without_the_packages_a_sentence_says_so(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ModuleNotFoundError, match=r"vasa\[live\]"):
        stream(run_of(checkpoint, source="mic", sink="stdout", format="raw", pace=True))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"source": "radio"}, "wanted one of mic, file, stdin"),
        ({"source": "file"}, "audio names the file of source=file"),
        ({"sink": "stdout", "output": Path("x.mp4")}, "output names the file of sink=file"),
        ({"sink": "window", "format": "raw"}, "goes with sink=stdout"),
        ({"rate": 100}, "wanted 4000 to 192000"),
        ({"patience": 0.0}, "wanted more than 0"),
        ({"pace": False}, "go by the clock"),
        ({"distance": 9.0}, "distance is 9"),
    ],
)
def test_options_that_do_not_fit_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        run = StreamRun(**given)
        stream(run)


def test_a_stop_keeps_what_was_made(root, checkpoint, tmp_path):
    """Ctrl-C while it idles: the film is whole."""
    output = tmp_path / "talk.mp4"
    words = [f"checkpoint={checkpoint}", "size=64", "fast=false", "source=stdin", "sink=file"]
    words += [f"output={output}", "plan.hop=3", "plan.window=8"]
    process = subprocess.Popen(
        [sys.executable, str(root / "scripts/stream.py"), *words],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    while "Ready" not in line:
        assert line or process.poll() is None, process.stderr.read()
        line = process.stderr.readline()
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130), said
    assert "frames" in said and len(VideoReader(output)) >= 3


def test_the_script_runs(root, checkpoint, sound, tmp_path):
    run = runpy.run_path(str(root / "scripts" / "stream.py"))["run"]
    words = [f"checkpoint={checkpoint}", "size=64", "fast=false", "pace=false", "plan.window=8", "plan.hop=3"]
    run([*words, "source=file", f"audio={sound}", "sink=file", f"output={tmp_path}/a.mp4"])
    assert (tmp_path / "a.mp4").is_file()


def test_a_film_that_fails_leaves_nothing(tmp_path):
    frame, silence = np.zeros((64, 64, 3), np.uint8), np.zeros(640, np.float32)
    with (
        pytest.raises(ValueError, match="wanted uint8"),
        FragmentWriter(tmp_path / "a.mp4", 64, 64) as writer,
    ):
        writer.write(frame, silence)
        writer.write(frame[:10], silence)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="even width"):
        FragmentWriter(tmp_path / "a.mp4", 63, 64)
