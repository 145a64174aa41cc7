"""The live view over its WebSocket: frames with their sound, controls while it runs, and who is let in."""

import io
import json
import re
import struct
import time

import numpy as np
import pytest
from PIL import Image

from vasa.app.live import changes_of, packed
from vasa.inference.config import LivePlan
from vasa.inference.stream import Moment

gradio_client = pytest.importorskip("gradio_client", reason="gradio is not installed")
sockets = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")


@pytest.fixture
def visit(running):
    """The secret of a visit, as the page gets it."""
    client = gradio_client.Client(running.url, verbose=False)
    yield client.predict(api_name="/visit")
    client.close()


def joined(running, visit, origin=None):
    address = f"{running.url.replace('http', 'ws')}/live?visit={visit}"
    return sockets.connect(address, origin=origin or running.url)


def received(socket, kind, seconds=40):
    """The next message that has this key, or the next frame."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = socket.recv(timeout=seconds)
        if kind == "frame" and isinstance(message, bytes):
            return message
        if isinstance(message, str) and kind in (said := json.loads(message)):
            return said
    raise AssertionError(f"no {kind} came")


def begun(socket):
    """Its turn has come: those of an earlier talk's frames that are on their way may still have the line."""
    while (said := received(socket, "state"))["state"] == "waiting":
        pass
    return said


def test_a_moment_is_packed_as_the_page_unpacks_it():
    sound = np.linspace(-2, 1, 640, dtype=np.float32)
    data = packed(Moment(7, np.full((32, 48, 3), 200, np.uint8), sound))
    assert struct.unpack("<IB", data[:5]) == (7, 0)
    heard = np.frombuffer(data[8 : 8 + 1280], "<i2")
    assert (heard[0], heard[-1]) == (-32767, 32767)
    assert np.asarray(Image.open(io.BytesIO(data[8 + 1280 :]))).mean() == pytest.approx(200, abs=2)
    late = packed(Moment(8, np.zeros((32, 48, 3), np.uint8), sound, late=True))
    assert (late[4], len(late)) == (1, 8 + 1280)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "controls came in another form"),
        ({"image": "/etc/passwd"}, "image cannot be changed"),
        ({"gaze_yaw": "left"}, "gaze_yaw is 'left'; wanted a number"),
        ({"gaze_yaw": True}, "gaze_yaw is True; wanted a number"),
        ({"emotion": 3}, "emotion is 3; wanted a name"),
    ],
)
def test_a_page_changes_controls_and_nothing_else(given, words):
    with pytest.raises(ValueError, match=words):
        changes_of(given)


def test_frames_come_with_the_sound_that_was_sent(running, visit):
    with joined(running, visit) as socket:
        socket.send(json.dumps({"start": {"gaze_yaw": 5, "emotion": "happy"}}))
        assert begun(socket)["state"] == "loading"
        plan = LivePlan()
        gathered_ms = 40.0 * (plan.hop + plan.lookahead + plan.right)
        assert received(socket, "state") == {"state": "talking", "gathered_ms": gathered_ms}
        first = received(socket, "frame")  # nobody has said anything: it idles
        assert Image.open(io.BytesIO(first[8 + 1280 :])).size == (64, 64)
        for _ in range(10):
            socket.send(np.full(640, 0.5, "<f4").tobytes())
        loud = [received(socket, "frame") for _ in range(75)]
        levels = [abs(np.frombuffer(data[8 : 8 + 1280], "<i2").astype(int)).max() for data in loud]
        assert levels.count(16383) == 10
        numbers = received(socket, "statistics")["statistics"]
        assert {"total_p50_ms", "total_p99_ms", "first_frame_ms", "real_time_factor", "drops"} <= set(numbers)


def test_controls_change_and_mistakes_are_said_while_it_runs(running, visit):
    with joined(running, visit) as socket:
        socket.send(json.dumps({"start": {}}))
        received(socket, "frame")
        socket.send(json.dumps({"set": {"gaze_yaw": 20, "emotion": "sad"}}))
        socket.send(json.dumps({"set": {"gaze_yaw": 80}}))
        assert received(socket, "error")["error"].startswith("gaze_yaw is 80 degrees")
        for wrong, words in (
            (b"\0" * 7, "7 bytes of sound"),
            ("{", "cannot be read"),
            ("[]", "cannot be read"),
        ):
            socket.send(wrong)
            assert words in received(socket, "error")["error"]
        socket.send(json.dumps({"say": True}))
        socket.send(json.dumps({"interrupt": True}))
        received(socket, "frame")
        socket.send(json.dumps({"close": True}))
        assert received(socket, "state") == {"state": "ended"}


def test_a_talk_holds_a_place_in_the_line(running, visit):
    client = gradio_client.Client(running.url, verbose=False)
    other = client.predict(api_name="/visit")
    with joined(running, visit) as first:
        first.send(json.dumps({"start": {}}))
        received(first, "frame")
        with joined(running, visit) as again:
            again.send(json.dumps({"start": {}}))
            assert "A video of yours is being made" in received(again, "error")["error"]
        with joined(running, other) as second:
            second.send(json.dumps({"start": {}}))
            assert received(second, "state") == {"state": "waiting", "ahead": 1}
            first.close()
            received(second, "frame")
    client.close()


def test_only_the_page_itself_with_a_visit_is_let_in(running, visit):
    from websockets.exceptions import InvalidStatus

    for secret, origin in ((visit, "http://evil.example"), ("x", None), ("", None)):
        with pytest.raises(InvalidStatus, match=re.escape("HTTP 403")), joined(running, secret, origin):
            pass
