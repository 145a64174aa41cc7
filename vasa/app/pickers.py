"""The parts of a tab: who speaks, what is heard, how it is done, and the two buttons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from vasa.app.show import waiting_for
from vasa.checkpoint import atomic_path
from vasa.inference.config import MAX_SEED
from vasa.inference.controls import AUTO, NONE, RANGES
from vasa.inference.demo import demo_portrait
from vasa.inference.provenance import file_hash
from vasa.records import EMOTIONS

BUNDLED_SEEDS = (0, 7, 8, 2)
"""Of synthetic portraits that no training saw; the first has mouth and eyes that nothing hides."""


def _as_given(value: Any) -> Any:
    """A number as it came: what is wrong with it is the library's to say."""
    return value


def _as_uploaded(payload: Any) -> str | None:
    """The path of an upload that nobody has opened yet: what is wrong with a picture is ours to say."""
    return None if payload is None else payload.path


@dataclass(slots=True)
class Bundled:
    """The synthetic portraits that come with the page."""

    paths: list[Path]

    @classmethod
    def draw(cls, folder: Path, size: int) -> Bundled:
        """Draws them into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number, seed in enumerate(BUNDLED_SEEDS, 1):
            path = folder / f"synthetic_{number}.png"
            pixels: np.ndarray = demo_portrait(seed, size)[0]
            with atomic_path(path) as temporary:
                Image.fromarray(pixels).save(temporary, "PNG")
            paths.append(path)
        return cls(paths)

    def holds(self, path: Path) -> bool:
        """Whether a file is one of these: its face need not be searched."""
        return file_hash(path) in {file_hash(own) for own in self.paths}


def portrait(bundled: Bundled, tab: str) -> gr.Image:
    """Who speaks: a picture of the visitor's, or one that comes with the page."""
    picture = gr.Image(
        value=str(bundled.paths[0]),
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        label="Portrait",
        height=250,
        buttons=[],
        elem_id=f"{tab}-portrait",
    )
    picture.preprocess = _as_uploaded  # type: ignore[method-assign, assignment]  # a subclass would write a .pyi here
    gallery = gr.Gallery(
        value=[str(path) for path in bundled.paths],
        columns=len(bundled.paths),
        allow_preview=False,
        show_label=False,
        buttons=[],
        interactive=False,
        elem_id=f"{tab}-bundled",
        elem_classes="v-bundled",
    )

    def chosen(event: gr.SelectData) -> str:
        return str(bundled.paths[event.index])

    gallery.select(chosen, None, picture, show_progress="hidden", queue=False)
    return picture


def sound(tab: str, seconds: float, label: str = "Speech") -> gr.Audio:
    """What is heard."""
    return gr.Audio(
        sources=["upload", "microphone"],
        type="filepath",
        label=f"{label} (none: {seconds:g} s synthetic)",
        buttons=[],
        elem_id=f"{tab}-sound",
    )


def ends(name: str) -> tuple[float, float]:
    """What a control may be, as people see it: whole degrees where it is an angle."""
    low, high = RANGES[name].low, RANGES[name].high
    if not RANGES[name].is_angle:
        return low, high
    return float(math.trunc(math.degrees(low) - 1e-6)), float(math.trunc(math.degrees(high) + 1e-6))


def head_amplitude(tab: str) -> gr.Slider:
    """How much of the head's movement is kept."""
    low, high = ends("head_motion")
    made = gr.Slider(low, high, 1, step=0.1, label="Head amplitude", elem_id=f"{tab}-head_motion")
    made.preprocess = _as_given  # type: ignore[method-assign, assignment]
    return made


def controls(tab: str) -> list[Any]:
    """How it is done, in the order of ``Wishes``."""

    def slider(name: str, label: str, value: float, step: float) -> gr.Slider:
        low, high = ends(name) if name in RANGES else (0.0, 1.0)
        made = gr.Slider(low, high, value, step=step, label=label, elem_id=f"{tab}-{name}")
        made.preprocess = _as_given  # type: ignore[method-assign, assignment]
        return made

    with gr.Row():
        yaw = slider("gaze_yaw", "Gaze left - right", 0, 1)
        pitch = slider("gaze_pitch", "Gaze down - up", 0, 1)
    with gr.Row():
        emotion = gr.Dropdown(
            [AUTO, NONE, *EMOTIONS],
            value=AUTO,
            label="Emotion",
            elem_id=f"{tab}-emotion",
        )
        strength = slider("strength", "Strength of it", 1, 0.05)
    with gr.Row():
        distance = slider("distance", "Distance", 1, 0.05)
        head = head_amplitude(tab)
    with gr.Row():
        guidance = gr.Textbox(
            label="Guidance by the sound",
            placeholder="the checkpoint's own",
            max_lines=1,
            elem_id=f"{tab}-guidance",
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, elem_id=f"{tab}-seed")
    return [yaw, pitch, distance, emotion, strength, head, guidance, seed]


def buttons(tab: str, words: str) -> tuple[gr.Button, gr.Button]:
    """Go and stop."""
    with gr.Row():
        go = gr.Button(words, variant="primary", elem_id=f"{tab}-go")
        stop = gr.Button("Stop", elem_id=f"{tab}-stop", scale=0, min_width=90)
    return go, stop


def result(tab: str, words: str) -> gr.HTML:
    """Where states, errors and videos appear."""
    return gr.HTML(waiting_for(words), elem_id=f"{tab}-result")
