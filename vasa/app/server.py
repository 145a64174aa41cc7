"""The page as a server on this machine alone: FastAPI with the tabs in it, files of visits, the live view."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from vasa.app import show
from vasa.app.compare import compare_tab
from vasa.app.config import AppRun
from vasa.app.guard import guard
from vasa.app.listing import batch_tab
from vasa.app.live import serve_live
from vasa.app.making import Page
from vasa.app.pickers import Bundled
from vasa.app.reenact import reenact_tab
from vasa.app.speak import speak_tab
from vasa.app.studio import Studio
from vasa.app.talk import talk_tab
from vasa.app.visits import Visits
from vasa.inference.pipeline import TalkingFace

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
STATIC = Path(__file__).parent / "static"
HEAD = '<script src="/own/page.js" defer></script><script src="/own/live.js" defer></script>'
FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]


@contextmanager
def page_app(config: AppRun, face: TalkingFace | None = None) -> Iterator[FastAPI]:
    """The whole page; leaving the block removes everything that visitors brought. face: an already loaded
    checkpoint."""
    visits = Visits(config.limits.visits, config.limits.idle_s)
    before = {name: os.environ.get(name) for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED")}
    os.environ |= {"GRADIO_TEMP_DIR": str(visits.uploads), "GRADIO_ANALYTICS_ENABLED": "False"}
    try:
        bundled = Bundled.draw(visits.root / "portraits", config.size)
        page = Page(Studio(config, face), visits, bundled)
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])
        app.mount("/own", StaticFiles(directory=STATIC))
        app.state.visits = visits
        _serve_visits(app, visits)
        serve_live(app, page)
        _mount(app, page)
        visits.keep_uploads()
        yield app
    finally:
        visits.close()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serve_visits(app: FastAPI, visits: Visits) -> None:
    @app.get("/visit/{token}/{name:path}")
    def visited(token: str, name: str) -> Response:
        file = visits.file(token, name)
        if file is None:
            return PlainTextResponse("There is no such file; its visit may have ended.", 404)
        return FileResponse(file)


def _blocks(page: Page) -> gr.Blocks:
    studio = page.studio
    with gr.Blocks(title="vasa", analytics_enabled=False) as blocks:
        gr.HTML(
            '<header class="v-head"><h1>vasa</h1><p>A portrait and a sound become a talking face, on '
            "this machine alone. Nothing is kept after your visit.</p></header>"
        )
        state = gr.HTML(show.banner(studio.state, studio.is_loading), elem_id="state")
        clock = gr.Timer(1.0)

        def look() -> tuple[str, gr.Timer]:
            is_loading = studio.is_loading
            return show.banner(studio.state, is_loading), gr.Timer(active=is_loading)

        clock.tick(look, None, [state, clock], show_progress="hidden", queue=False, api_visibility="private")
        with gr.Tab("Speak", id="speak"):
            speak_tab(page)
        with gr.Tab("Reenact", id="reenact"):
            reenact_tab(page)
        with gr.Tab("Compare", id="compare"):
            compare_tab(page)
        with gr.Tab("Batch", id="batch"):
            batch_tab(page)
        with gr.Tab("Live", id="live-tab"):
            talk_tab(page, blocks)

        def leave(request: gr.Request) -> None:
            page.visits.end(str(request.session_hash))

        blocks.unload(leave)
    return blocks


def _mount(app: FastAPI, page: Page) -> None:
    limits = page.studio.config.limits
    blocks = _blocks(page)
    blocks.queue(default_concurrency_limit=None, api_open=True)
    guard(blocks, page.visits.uploads)
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        server_name=LOOPBACK,
        server_port=page.studio.config.port,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=int(limits.upload_mb * 1e6),
        theme=gr.themes.Default(primary_hue="indigo", font=FONTS, font_mono=["ui-monospace", "monospace"]),
        css_paths=STATIC / "page.css",
        head=HEAD,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
    )


def serve(config: AppRun) -> None:
    """Serves the page until Ctrl-C. Raises: OSError when the port is taken."""
    # uvicorn raises the signal again when it is done: then what visitors brought must still be removed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with page_app(config) as app, socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((LOOPBACK, config.port))
        port = listening.getsockname()[1]
        log.info("The page is at http://%s:%d; Ctrl-C ends it.", LOOPBACK, port)
        settings = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=3, ws="websockets-sansio"
        )
        uvicorn.Server(settings).run(sockets=[listening])
