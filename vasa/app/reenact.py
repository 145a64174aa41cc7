"""The tab in which a portrait follows a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from vasa.app import pickers, uploads
from vasa.app.making import Page, make
from vasa.app.speak import checked
from vasa.app.studio import Progress
from vasa.inference.animate import Animator
from vasa.inference.asked import asked_of
from vasa.inference.config import ONLY, POSES
from vasa.inference.pipeline import TalkingFace


def reenact_tab(page: Page) -> None:
    """Builds the tab."""

    def reenact(
        request: gr.Request,
        portrait: str | None,
        driving: str | None,
        speech: str | None,
        pose: str,
        only: str,
        head_motion: float,
    ) -> Iterator[str]:
        visit = page.visit(request)

        def prepare() -> Callable[[TalkingFace, Progress], str]:
            limits = page.studio.config.limits
            image, job = page.portrait(visit, portrait)
            run = page.studio.base(
                image=image,
                driving=uploads.video(visit, driving, limits),
                audio=uploads.sound(visit, speech, limits),
                pose=pose,
                only=only,
                head_motion=head_motion,
                motion_csv=True,
            )
            asked_of(run)
            return lambda face, progress: make(Animator(face), visit, progress, run, job, "Following")

        yield from page.shown(visit, prepare)

    with gr.Row():
        with gr.Column(scale=5):
            with gr.Row():
                with gr.Column(min_width=240):
                    portrait = pickers.portrait(page.bundled, "reenact")
                with gr.Column(min_width=240):
                    driving = gr.Video(
                        sources=["upload", "webcam"],
                        label="Driving video: its head and face are followed",
                        height=250,
                        buttons=[],
                        elem_id="reenact-driving",
                    )
            speech = gr.Audio(
                sources=["upload"],
                type="filepath",
                label="Other sound: without it the video's own is heard",
                buttons=[],
                elem_id="reenact-sound",
            )
            with gr.Row():
                pose = gr.Dropdown(
                    list(POSES), value=POSES[0], label="Pose: added to the portrait's, or in its place"
                )
                only = gr.Dropdown(list(ONLY), value=ONLY[0], label="What is followed")
                head = pickers.head_amplitude("reenact")
            go, stop = pickers.buttons("reenact", "Follow the video")
        with gr.Column(scale=4):
            result = pickers.result("reenact", "Choose a portrait and a driving video that shows a face.")
    inputs: list[Any] = [portrait, driving, speech, pose, only, head]
    go.click(reenact, inputs, result, show_progress="hidden", api_name="reenact")
    stop.click(page.stop, None, None, queue=False, api_visibility="private")
    checked(page, result, {portrait: page.seen, driving: uploads.video, speech: uploads.sound})
