"""The tab in which a portrait speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from vasa.app import pickers, show, uploads
from vasa.app.config import LimitsConfig
from vasa.app.making import Page, Reader, make
from vasa.app.studio import Progress
from vasa.app.visits import Visit
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
    checked(page, result, {portrait: page.seen, speech: uploads.sound})


def checked(page: Page, result: gr.HTML, readers: dict[Any, Reader]) -> None:
    """Looks at what is chosen in a tab's components as soon as it is: says what is wrong with it, and forgets
    that with the next choice."""
    places, empty = [component.elem_id for component in readers], result.value

    def checks(place: str, read: Reader) -> Callable[..., Any]:
        def optional(visit: Visit, upload: str | None, limits: LimitsConfig) -> Path | None:
            return None if upload is None else read(visit, upload, limits)  # it may still be chosen

        def check(upload: str | None, shown: Any, request: gr.Request) -> Any:
            visit = page.visit(request)
            if not page.check(visit, place, optional, upload):
                return gr.skip()
            for name in (place, *places):
                if name in visit.faults:
                    return show.error(visit.faults[name])
            return empty if show.is_error(shown) else gr.skip()

        return check

    for component, read in readers.items():
        component.change(
            checks(component.elem_id, read),
            [component, result],
            result,
            show_progress="hidden",
            api_visibility="private",
        )
