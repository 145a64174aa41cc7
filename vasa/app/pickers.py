"""The parts of a tab: who speaks, what is heard, how it is done, and the two buttons."""

from __future__ import annotations

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


class Picture(gr.Image):
    """An image whose file reaches us as it was uploaded: what is wrong with it is ours to say."""

    is_template = True

    def preprocess(self, payload: Any) -> str | None:
        """The path of the file, which nobody has opened yet."""
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


def portrait(bundled: Bundled, tab: str) -> Picture:
    """Who speaks: a picture of the visitor's, or one that comes with the page."""
    picture = Picture(
        value=str(bundled.paths[0]),
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        label="Portrait: upload a picture, or choose one below",
        height=300,
        buttons=[],
        elem_id=f"{tab}-portrait",
    )
    gallery = gr.Gallery(
        value=[str(path) for path in bundled.paths],
        columns=len(bundled.paths),
        height=96,
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
        label=f"{label}: upload or record; without it {seconds:g} s of synthetic speech",
        buttons=[],
        elem_id=f"{tab}-sound",
    )


def controls(tab: str) -> list[Any]:
    """How it is done, in the order of ``Wishes``."""
    degrees = {name: round(np.degrees(RANGES[name].high)) for name in ("gaze_yaw", "gaze_pitch")}

    def slider(name: str, label: str, low: float, high: float, value: float, step: float) -> gr.Slider:
        return gr.Slider(low, high, value, step=step, label=label, elem_id=f"{tab}-{name}")

    with gr.Row():
        yaw = slider(
            "gaze_yaw",
            "Gaze, left to right (degrees)",
            -degrees["gaze_yaw"] + 1,
            degrees["gaze_yaw"] - 1,
            0,
            1,
        )
        pitch = slider(
            "gaze_pitch", "Gaze, down to up (degrees)", -degrees["gaze_pitch"], degrees["gaze_pitch"], 0, 1
        )
    with gr.Row():
        emotion = gr.Dropdown(
            [AUTO, NONE, *EMOTIONS],
            value=AUTO,
            label="Emotion (none: as the sound suggests)",
            elem_id=f"{tab}-emotion",
        )
        strength = slider("strength", "Strength of the emotion", 0, 1, 1, 0.05)
    with gr.Row():
        distance = slider(
            "distance", "Distance, near to far", RANGES["distance"].low, RANGES["distance"].high, 1, 0.05
        )
        head = slider("head_motion", "Head amplitude (0: still)", 0, RANGES["head_motion"].high, 1, 0.1)
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
