"""The page behind a real server on a free port of this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from vasa.app.config import AppRun


@dataclass(slots=True)
class Running:
    """A page that is served. root: its temporary folder."""

    url: str
    root: Path


HEARTBEAT_S = "0.2"
"""Of gradio: how soon it knows that a client is gone. Its own is 15 s."""


@contextlib.contextmanager
def served(config: AppRun) -> Iterator[Running]:
    """Serves a page until the block is left."""
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    from vasa.app.server import page_app

    with pytest.MonkeyPatch.context() as patch, page_app(config) as app, socket.socket() as listening:
        patch.setenv("GRADIO_HEARTBEAT_INTERVAL", HEARTBEAT_S)
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", app.state.visits.root)
        server.should_exit = True
        thread.join(20)
