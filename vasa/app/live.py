"""The live view: sound in over a WebSocket, frames with their sound out, controls while it runs.

Text messages are JSON. In: ``{"start": {...}}`` with options, then ``{"set": {...}}``, ``{"say": true}``,
``{"interrupt": true}``, ``{"close": true}``. Out: ``{"state": ...}``, ``{"statistics": ...}``, ``{"error":
...}``. Binary messages in are float32 samples at AUDIO_HZ; out: a number, whether it is late, 640 samples of
16 bits and a JPEG, in the order of HEADER. One talk holds a place in the line like any video.
"""

from __future__ import annotations

import asyncio
import io
import json
import struct
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from PIL import Image

from vasa.app.making import Page
from vasa.app.studio import SAID, StoppedError
from vasa.app.visits import LIVE_PORTRAIT, Visit
from vasa.inference.config import InferRun
from vasa.inference.demo import demo_speech
from vasa.inference.generation import Portrait
from vasa.inference.performance import opened, subject
from vasa.inference.pipeline import TalkingFace
from vasa.inference.stream import LiveTalk, Moment
from vasa.records import VIDEO_FPS
from vasa.sentence import sentence

HEADER = struct.Struct("<IB3x")
JPEG_QUALITY = 85
SENT_WITHIN_S = 5.0
"""A page that takes a frame no sooner is gone."""
MOST_SAMPLES = 16_000 * 4
"""Of one message: four seconds. More is refused."""
TEXTS = ("emotion",)
NUMBERS = ("gaze_yaw", "gaze_pitch", "distance", "head_motion", "head_yaw", "head_pitch", "head_roll")


def serve_live(app: FastAPI, page: Page) -> None:
    """Adds the WebSocket to the server."""

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        visit = page.visits.by_token(socket.query_params.get("visit", ""))
        if not _is_own_page(socket) or visit is None:
            await socket.close(1008)
            return
        await socket.accept()
        await Session(page, visit, socket, asyncio.get_running_loop()).run()


def _is_own_page(socket: WebSocket) -> bool:
    """Whether the page that opens it came from here: browsers let any site open a socket to this machine."""
    return urlsplit(socket.headers.get("origin", "")).netloc == socket.headers.get("host")


def changes_of(given: Any) -> dict[str, Any]:
    """What a page asks for, as options. Raises: ValueError for what is no control, or no value of it."""
    if not isinstance(given, dict):
        raise ValueError("controls came in another form than names and values; load the page again.")
    for name, value in given.items():
        kind = str if name in TEXTS else (int, float) if name in NUMBERS else None
        if kind is None:
            raise ValueError(f"{name} cannot be changed; wanted some of {', '.join((*NUMBERS, *TEXTS))}.")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}; wanted a {'name' if kind is str else 'number'}.")
    # a whole number of JSON's is an int, and torch makes other tensors of these
    return {name: value if name in TEXTS else float(value) for name, value in given.items()}


def packed(moment: Moment) -> bytes:
    """A moment as one message."""
    picture = io.BytesIO()
    if not moment.late:  # the page keeps the one before
        Image.fromarray(moment.frame).save(picture, "JPEG", quality=JPEG_QUALITY)
    sound = (moment.sound.clip(-1, 1) * 32767).astype("<i2").tobytes()
    return HEADER.pack(moment.number, moment.late) + sound + picture.getvalue()


class Session:
    """One talk with one page: a thread makes frames and waits until each is sent; messages come meanwhile."""

    def __init__(self, page: Page, visit: Visit, socket: WebSocket, loop: asyncio.AbstractEventLoop) -> None:
        self._page, self._visit, self._socket, self._loop = page, visit, socket, loop
        self._talk: LiveTalk | None = None
        self._gone = threading.Event()

    async def run(self) -> None:
        """Until the talk has ended or the page is gone."""
        worker: threading.Thread | None = None
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                try:
                    if worker is None:
                        run = self._options(message.get("text"))
                        worker = threading.Thread(target=self._work, args=(run,), daemon=True)
                        worker.start()
                    else:
                        await asyncio.to_thread(self._hear, message.get("text"), message.get("bytes"))
                except SAID as error:
                    await self._socket.send_text(self._error(error))
        except (WebSocketDisconnect, RuntimeError):
            return  # the talk has ended, and its socket with it
        finally:
            self._gone.set()
            if self._talk is not None:
                self._talk.stop()
            if worker is not None:
                await asyncio.to_thread(worker.join)

    def _options(self, text: str | None) -> InferRun:
        start = _read(text).get("start", {})
        image = self._visit.live_portrait or self._page.bundled.paths[0]
        return self._page.studio.base(image=image, seed=0, **changes_of(start))

    def _hear(self, text: str | None, sound: bytes | None) -> None:
        """One message of the page, beside the event loop: a talk that has enough sound makes one wait."""
        talk = self._talk
        if talk is None:
            return  # not begun yet: nobody listens
        if sound is not None:
            if len(sound) % 4 or len(sound) > 4 * MOST_SAMPLES:
                raise ValueError(f"{len(sound)} bytes of sound; wanted float32, 4 s at most at a time.")
            talk.push(np.frombuffer(sound, "<f4"))
            return
        said = _read(text)
        if "set" in said:
            talk.set(**changes_of(said["set"]))
        if "interrupt" in said:
            talk.interrupt()
        if "say" in said:
            talk.push(demo_speech(0, self._page.studio.config.seconds))
        if "close" in said:
            talk.close()

    # ------------------------------------------------------------------ the talk's thread

    def _work(self, run: InferRun) -> None:
        try:
            self._talked(run)
        except (ConnectionError, TimeoutError):
            pass  # the page is gone
        except SAID as error:
            self._tell(self._error(error))
        with suppress(*SAID):
            self._wait(self._socket.close())

    def _talked(self, run: InferRun) -> None:
        studio, visit = self._page.studio, self._visit
        fault = visit.faults.get(LIVE_PORTRAIT)
        if fault is not None:
            raise ValueError(fault)
        with studio.line.join(visit.key) as place:
            visit.stopped.clear()
            while place.ahead:
                self._tell(json.dumps({"state": "waiting", "ahead": place.ahead}))
                if visit.stopped.wait(0.5) or self._gone.is_set():
                    return
            self._tell(json.dumps({"state": "loading"}))
            face = studio.live_face()
            talk = self._talk = LiveTalk(face, self._portrait(face, run), run)
            heard = run.plan.hop + run.plan.lookahead + run.plan.right
            self._tell(json.dumps({"state": "talking", "gathered_ms": 1000 * heard / VIDEO_FPS}))
            self._shown(talk)
        self._tell(json.dumps({"state": "ended"}))

    def _portrait(self, face: TalkingFace, run: InferRun) -> Portrait:
        assert run.image is not None
        who = subject(run, face, opened(run), self._page.bundled.holds(run.image))
        if not isinstance(who, Portrait):
            raise ValueError(f"image {run.image.name!r} is a video; wanted a picture to talk live.")
        return who

    def _shown(self, talk: LiveTalk) -> None:
        began, limit = time.monotonic(), self._page.studio.config.limits.live_s
        for moment in talk:
            if self._visit.stopped.is_set() or self._gone.is_set():
                talk.stop()
                return
            if time.monotonic() - began > limit:
                talk.stop()
                raise StoppedError(f"A live talk lasts {limit:g} s at most; start it again.")
            self._wait(self._socket.send_bytes(packed(moment)))
            if moment.number % VIDEO_FPS == VIDEO_FPS - 1:
                self._tell(json.dumps({"statistics": talk.statistics()}))

    def _error(self, error: BaseException) -> str:
        return json.dumps({"error": self._visit.plain(sentence(error))})

    def _tell(self, text: str) -> None:
        self._wait(self._socket.send_text(text))

    def _wait(self, sending: Any) -> None:
        if self._gone.is_set():
            sending.close()
            raise ConnectionError("the page is gone")
        try:
            asyncio.run_coroutine_threadsafe(sending, self._loop).result(SENT_WITHIN_S)
        except (RuntimeError, WebSocketDisconnect) as error:
            raise ConnectionError("the page is gone") from error


def _read(text: str | None) -> dict[str, Any]:
    try:
        said = json.loads(text or "null")
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise ValueError("a message of the page cannot be read; load the page again.")
    return said
