"""The tab in which a portrait speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from vasa.app import pickers, uploads
from vasa.app.making import Page, make
from vasa.app.studio import Progress
from vasa.app.wishes import Wishes
from vasa.inference.animate import Animator
from vasa.inference.pipeline import TalkingFace


def speak_tab(page: Page) -> None:
    """Builds the tab."""

    def speak(request: gr.Request, portrait: str | None, speech: str | None, *values: Any) -> Iterator[str]:
        visit = page.visit(request)

        def prepare() -> Callable[[TalkingFace, Progress], str]:
            image, job = page.portrait(visit, portrait)
            audio = uploads.sound(visit, speech, page.studio.config.limits)
            run = Wishes(*values).of(page.studio.base(), image=image, audio=audio, motion_csv=True)
            return lambda face, progress: make(Animator(face), visit, progress, run, job, "Rendering")

        yield from page.shown(visit, prepare)

    with gr.Row():
        with gr.Column(scale=5):
            with gr.Row():
                with gr.Column(min_width=240):
                    portrait = pickers.portrait(page.bundled, "speak")
                with gr.Column(min_width=240):
                    speech = pickers.sound("speak", page.studio.config.seconds)
            values = pickers.controls("speak")
            go, stop = pickers.buttons("speak", "Make it speak")
        with gr.Column(scale=4):
            result = pickers.result("speak", "Choose a portrait and a sound, then press Make it speak.")
    go.click(speak, [portrait, speech, *values], result, show_progress="hidden", api_name="speak")
    stop.click(page.stop, None, None, queue=False, api_name="stop")
    checked(page, portrait.upload, portrait, uploads.picture, result)
    checked(page, speech.change, speech, uploads.sound, result)


def checked(page: Page, event: Any, component: Any, read: Callable[..., Any], result: gr.HTML) -> None:
    """Holds a file against the limits as soon as it is uploaded; says what is wrong with it."""

    def look(upload: str | None, request: gr.Request) -> Any:
        return page.check_upload(page.visit(request), read, upload) or gr.skip()

    event(look, component, result, show_progress="hidden", api_visibility="private")
