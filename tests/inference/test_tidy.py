"""A signal may come in any line: nothing half-written may stay."""

from __future__ import annotations

import os
import signal
import tempfile

import numpy as np
import pytest

from vasa.inference.tidy import tidy
from vasa.video import VideoWriter


def test_a_signal_between_making_a_folder_and_remembering_it_leaves_nothing(tmp_path, monkeypatch):
    made, mkdtemp = [], tempfile.mkdtemp

    def interrupted(*args, **kwargs):
        made.append(mkdtemp(*args, **kwargs))
        os.kill(os.getpid(), signal.SIGINT)
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", interrupted)
    writer = VideoWriter(tmp_path / "a.mp4", height=16, width=16)
    with pytest.raises(KeyboardInterrupt, match="carries on"), tidy([tmp_path], "it carries on."), writer:
        raise AssertionError("the signal came before")
    assert made and not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_among_the_frames_leaves_nothing_and_the_old_handler_returns(tmp_path, number):
    before = signal.getsignal(number)
    video = VideoWriter(tmp_path / "a.mp4", height=16, width=16)
    with pytest.raises(KeyboardInterrupt), tidy([tmp_path], "it carries on."), video as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
        os.kill(os.getpid(), number)
        writer.write(np.zeros((16, 16, 3), np.uint8))
    assert not list(tmp_path.iterdir()) and signal.getsignal(number) is before


def test_another_run_in_the_same_folder_is_left_alone(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", height=16, width=16) as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
        with tidy([tmp_path], "it carries on."):
            pass
        writer.write(np.zeros((16, 16, 3), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
