"""The tab that shows two settings side by side: the same portrait, the same sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from vasa.app import pickers, show, uploads
from vasa.app.making import Page, make
from vasa.app.speak import checked
from vasa.app.studio import Progress
from vasa.app.wishes import Wishes
from vasa.inference.animate import Animator
from vasa.inference.pipeline import TalkingFace

NAMES = ("A", "B")


def compare_tab(page: Page) -> None:
    """Builds the tab."""

    def compare(request: gr.Request, portrait: str | None, speech: str | None, *values: Any) -> Iterator[str]:
        visit = page.visit(request)

        def prepare() -> Callable[[TalkingFace, Progress], str]:
            image, job = page.portrait(visit, portrait)
            audio, half = uploads.sound(visit, speech, page.studio.config.limits), len(values) // 2
            base = page.studio.base(image=image, audio=audio, motion_csv=True)
            runs = [Wishes(*values[:half]).of(base), Wishes(*values[half:]).of(base)]

            def work(face: TalkingFace, progress: Progress) -> str:
                animator = Animator(face)
                made = [
                    make(animator, visit, progress, run, job, f"Video {name}", f"Setting {name}")
                    for name, run in zip(NAMES, runs, strict=True)
                ]
                return show.pair(*made)

            return work

        yield from page.shown(visit, prepare)

    with gr.Row():
        with gr.Column(min_width=260):
            portrait = pickers.portrait(page.bundled, "compare")
            speech = pickers.sound("compare", page.studio.config.seconds)
        values: list[Any] = []
        for name in NAMES:
            with gr.Column(min_width=260):
                gr.Markdown(f"### Setting {name}")
                values += pickers.controls(f"compare-{name}")
    go, stop = pickers.buttons("compare", "Make both")
    result = pickers.result("compare", "Change a control on one side, then press Make both.")
    go.click(compare, [portrait, speech, *values], result, show_progress="hidden", api_name="compare")
    stop.click(page.stop, None, None, queue=False, api_visibility="private")
    checked(page, result, {portrait: page.seen, speech: uploads.sound})
