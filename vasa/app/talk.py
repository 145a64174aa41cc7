"""The tab in which a portrait talks live: its markup. What it does is in static/live.js and live.py."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from vasa.app import pickers, show, uploads
from vasa.app.config import LimitsConfig
from vasa.app.making import Page
from vasa.app.visits import LIVE_PORTRAIT, Visit
from vasa.inference.controls import AUTO, NONE
from vasa.records import EMOTIONS

SLIDERS = {
    "gaze_yaw": ("Gaze left - right", 0.0, 1.0),
    "gaze_pitch": ("Gaze down - up", 0.0, 1.0),
    "distance": ("Distance", 1.0, 0.05),
    "head_motion": ("Head amplitude", 1.0, 0.1),
    "head_yaw": ("Head left - right", 0.0, 1.0),
}
"""Control -> its words, its start, its step."""


def talk_tab(page: Page, blocks: gr.Blocks) -> None:
    """Builds the tab."""

    def read(visit: Visit, upload: str | None, limits: LimitsConfig) -> Path:
        visit.live_portrait = path = uploads.picture(visit, upload, limits)  # talks, should it begin now
        return page.look(path)

    def chosen(upload: str | None, request: gr.Request) -> Any:
        visit = page.visit(request)
        if not page.check(visit, LIVE_PORTRAIT, read, upload):
            return gr.skip()
        return show.error(visit.faults[LIVE_PORTRAIT]) if LIVE_PORTRAIT in visit.faults else ""

    def token(request: gr.Request) -> str:
        return f'<i id="live-token" data-token="{page.visit(request).token}"></i>'

    def visit(request: gr.Request) -> str:
        return page.visit(request).token

    with gr.Row():
        with gr.Column(scale=3, min_width=260):
            portrait = pickers.portrait(page.bundled, "live")
            trouble = gr.HTML(elem_id="live-upload")
            secret = gr.HTML()
        with gr.Column(scale=6):
            gr.HTML(_markup(page.studio.config.limits.seconds), elem_id="live-view")
    event: Any = portrait.change
    event(chosen, portrait, trouble, show_progress="hidden", api_visibility="private")
    gr.api(visit, api_name="visit")  # for programs that talk live
    blocks.load(token, None, secret, show_progress="hidden", api_visibility="private")


def _slider(name: str) -> str:
    words, start, step = SLIDERS[name]
    low, high = pickers.ends(name)
    return (
        f"<label>{escape(words)} <output>{start:g}</output>"
        f'<input type="range" data-control="{name}" min="{low:g}" max="{high:g}" step="{step:g}" '
        f'value="{start:g}"></label>'
    )


def _markup(seconds: float) -> str:
    moods = "".join(f"<option>{name}</option>" for name in (AUTO, NONE, *EMOTIONS))
    return f"""
<div id="live" data-seconds="{seconds:g}">
  <div class="v-stage"><canvas id="live-canvas" width="256" height="256"></canvas>
    <div id="live-state" class="v-badge" data-state="off">not started</div></div>
  <div class="v-side">
    <p><button id="live-start" class="v-button v-primary">Start</button>
       <button id="live-stop" class="v-button" disabled>End</button></p>
    <p><button id="live-mic" class="v-button" disabled>Microphone</button>
       <button id="live-say" class="v-button" disabled>Sample speech</button>
       <label class="v-button v-file">Sound file
         <input id="live-file" type="file" accept="audio/*" disabled></label>
       <button id="live-interrupt" class="v-button" disabled>Stop speaking</button></p>
    <label class="v-check"><input id="live-hear" type="checkbox" checked> hear it (off with the microphone,
      unless you wear headphones)</label>
    <div class="v-controls">{"".join(map(_slider, SLIDERS))}
      <label>Emotion<select data-control="emotion">{moods}</select></label></div>
    <div id="live-error" class="v-state v-error" role="alert" hidden></div>
    <table id="live-numbers"><tbody>
      <tr><th>delay, sound to face</th><td data-number="delay">-</td></tr>
      <tr><th>of it made in (p50 / p99)</th><td data-number="made">-</td></tr>
      <tr><th>first frame</th><td data-number="first">-</td></tr>
      <tr><th>frames a second shown</th><td data-number="fps">-</td></tr>
      <tr><th>dropped</th><td data-number="drops">-</td></tr>
      <tr><th>time taken of real time</th><td data-number="factor">-</td></tr>
    </tbody></table>
  </div>
</div>"""
