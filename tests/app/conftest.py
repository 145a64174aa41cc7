"""A page that runs: the tiny checkpoint behind a real server on a free port of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from served_page import Running, served
from tiny_files import write_tiny_runs

from vasa.app.config import AppRun, LimitsConfig
from vasa.inference.bundle import bundle
from vasa.inference.config import BundleRun

LIMITS = LimitsConfig(upload_mb=2.0, megapixels=2.0, seconds=4.0, rows=4, waiting=1, live_s=60.0)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, request) -> Path:
    """A checkpoint folder of untrained tiny networks."""
    runs = write_tiny_runs(tmp_path_factory.mktemp("runs"), request.config.rootpath)
    return bundle(BundleRun(face=runs, motion=runs, output=tmp_path_factory.mktemp("tiny") / "demo"))


@pytest.fixture(scope="session")
def app_config(checkpoint) -> AppRun:
    """Options of the page under test."""
    return AppRun(checkpoint=checkpoint, size=64, seconds=0.4, limits=LIMITS)


@pytest.fixture(scope="session")
def running(app_config) -> Iterator[Running]:
    """The page, for all tests."""
    pytest.importorskip("gradio", reason="gradio is not installed")
    with served(app_config) as page:
        yield page


@pytest.fixture
def sound(tmp_path) -> Path:
    """Half a second of a hum."""
    path = tmp_path / "hum.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(8000) / 9).astype(np.float32), 16_000)
    return path


@pytest.fixture
def grey(tmp_path) -> Path:
    """A picture without a face."""
    path = tmp_path / "grey.png"
    Image.new("RGB", (128, 128), (99, 99, 99)).save(path)
    return path
