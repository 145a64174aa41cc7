"""Contact sheets of procedural heads: people, every control at its ends, poses, emotions, and truth drawn
over pictures."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vasa.data.synthetic.animation import emotion_controls, random_animation
from vasa.data.synthetic.config import SHEETS, PreviewRun
from vasa.data.synthetic.heads import Identities, make_identities
from vasa.data.synthetic.renderer import Rendered, flow, render
from vasa.records import CONTROL_HIGH, CONTROL_INDEX, CONTROL_LOW, CONTROL_NAMES, EMOTIONS, Animation

log = logging.getLogger(__name__)
LABEL_HEIGHT = 14
BATCH = 8


def to_pictures(image: Tensor) -> np.ndarray:
    """Images (B, 3, H, W) in [0, 1] as uint8 (B, H, W, 3)."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def render_many(identities: Identities, animation: Animation, size: int, quality: str) -> np.ndarray:
    """Pictures (B, H, W, 3) uint8 of any number of frames, in batches."""
    parts = [
        to_pictures(render(identities[i : i + BATCH], animation[slice(i, i + BATCH)], size, quality).image)
        for i in range(0, len(identities), BATCH)
    ]
    return np.concatenate(parts)


def grid(pictures: np.ndarray, columns: int, labels: list[str]) -> Image.Image:
    """Pictures (B, H, W, 3) in rows of ``columns``, the labels above the columns."""
    count, height, width, _ = pictures.shape
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * width, rows * height + LABEL_HEIGHT), "white")
    for index, picture in enumerate(pictures):
        place = (index % columns * width, index // columns * height + LABEL_HEIGHT)
        sheet.paste(Image.fromarray(picture), place)
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(labels):
        draw.text((column * width + 3, 1), label, fill="black")
    return sheet


def _control_frames() -> tuple[Animation, list[str]]:
    """Neutral, and each control alone at its low (where below zero) and high end; an open smile."""
    settings: list[dict[str, float]] = [{}]
    for name, low, high in zip(CONTROL_NAMES, CONTROL_LOW, CONTROL_HIGH, strict=True):
        settings += [{name: low}] * (low < 0) + [{name: high}]
    settings.append({"jaw": 0.5, "smile": 0.9, "lip_width": 0.5})
    animation = Animation.neutral(len(settings))
    for row, setting in enumerate(settings):
        for name, value in setting.items():
            animation.controls[row, CONTROL_INDEX[name]] = value
    labels = [" ".join(f"{n} {v:+g}" for n, v in setting.items()) or "neutral" for setting in settings]
    return animation, labels


def _pose_frames() -> tuple[Animation, list[str]]:
    turns = [
        ("yaw", 0, -30),
        ("yaw", 0, -15),
        ("yaw", 0, 15),
        ("yaw", 0, 30),
        ("pitch", 1, -20),
        ("pitch", 1, 20),
    ]
    turns += [("roll", 2, -18), ("roll", 2, 18)]
    animation = Animation.neutral(len(turns) + 3)
    for row, (_, axis, degrees) in enumerate(turns):
        animation.pose[row, axis] = np.deg2rad(degrees)
    for row, (column, value) in enumerate(((3, 0.15), (5, np.log(0.8)), (5, np.log(1.25)))):
        animation.pose[len(turns) + row, column] = value
    return animation, [f"{n} {d:+d}" for n, _, d in turns] + [
        "translation_x",
        "distance 1.25",
        "distance 0.8",
    ]


def _emotion_frames() -> tuple[Animation, list[str]]:
    animation = Animation.neutral(len(EMOTIONS))
    animation.controls += emotion_controls(torch.eye(len(EMOTIONS)))
    return animation, list(EMOTIONS)


def _product(identities: Identities, animation: Animation) -> tuple[Identities, Animation]:
    """Every identity (rows) under every frame (columns)."""
    people, frames = len(identities), len(animation)
    rows = torch.arange(people).repeat_interleave(frames)
    return identities[rows], animation[torch.arange(frames).repeat(people)]


def truth_picture(rendered: Rendered, row: int) -> np.ndarray:
    """A picture (H, W, 3) with landmarks, eye and mouth boxes drawn over it."""
    picture = Image.fromarray(to_pictures(rendered.image[row : row + 1])[0])
    draw = ImageDraw.Draw(picture)
    scale = rendered.size / 2

    def pixel(value: float) -> float:
        return (value + 1) * scale

    for u, v in rendered.landmarks[row].tolist():
        draw.point((pixel(u), pixel(v)), fill=(0, 255, 0))
    for box in [*rendered.eye_boxes[row].tolist(), rendered.mouth_box[row].tolist()]:
        draw.rectangle([pixel(value) for value in box], outline=(255, 220, 0))
    return np.asarray(picture)


def _truth_sheet(identities: Identities, cfg: PreviewRun) -> Image.Image:
    """Per person: a wild frame with its truth, its mask, another frame, and that frame carried over by the
    exact flow."""
    count = len(identities)
    seeds = range(cfg.first_seed, cfg.first_seed + count)
    other = random_animation([seed + 1_000_000 for seed in seeds])
    target = render(identities, random_animation(list(seeds)), cfg.size, cfg.quality)
    source = render(identities, other, cfg.size, cfg.quality)
    where, visible = flow(target, identities, other, source)
    carried = torch.nn.functional.grid_sample(source.image, where, align_corners=False) * visible[:, None]
    masks = (target.mask.float() / 255)[:, None].expand(-1, 3, -1, -1)
    columns = [np.stack([truth_picture(target, row) for row in range(count)])]
    columns += [to_pictures(image) for image in (target.image, masks, source.image, carried)]
    pictures = np.stack(columns, 1).reshape(-1, *columns[0].shape[1:])
    return grid(pictures, 5, ["truth", "frame", "mask", "other frame", "other, carried by flow"])


def sheet(kind: str, cfg: PreviewRun) -> Image.Image:
    """One contact sheet."""
    count = cfg.num_people * (4 if kind == "people" else 1)
    identities = make_identities(range(cfg.first_seed, cfg.first_seed + count), cfg.mode)
    if kind == "truth":
        return _truth_sheet(identities, cfg)
    if kind == "people":
        pictures = render_many(identities, Animation.neutral(count), cfg.size, cfg.quality)
        return grid(pictures, 2 * int(np.ceil(np.sqrt(count / 2))), [])
    frames = {"controls": _control_frames, "poses": _pose_frames, "emotions": _emotion_frames}[kind]
    animation, labels = frames()
    pictures = render_many(*_product(identities, animation), cfg.size, cfg.quality)
    return grid(pictures, len(labels), labels)


def write_sheets(cfg: PreviewRun) -> list[Path]:
    """Draws the sheets of a run into its folder; returns their paths."""
    cfg.out.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in cfg.sheets or SHEETS:
        path = cfg.out / f"{kind}.png"
        temporary = path.with_suffix(".png.tmp")
        sheet(kind, cfg).save(temporary, format="PNG")
        temporary.replace(path)
        log.info("wrote %s", path)
        written.append(path)
    return written
