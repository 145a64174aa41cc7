"""A face space, a motion model and a speech encoder small enough to reason about: frames show exactly what
they were told.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from tiny_files import write_tiny_runs

from vasa.inference.pipeline import TalkingFace
from vasa.motion.config import SamplerConfig
from vasa.preprocess.align import FoundFace
from vasa.preprocess.crop import Crop
from vasa.pretrained.speech import Reference
from vasa.records import CONTROL_INDEX, NUM_CONTROLS, MotionLayout


class PaintedFace:
    """A face space whose dynamics code is the eleven controls, and whose frames are the portrait with bars
    drawn on it.
    """

    layout = MotionLayout.volumetric(NUM_CONTROLS)
    size = 32

    def __init__(self) -> None:
        self.rest = torch.zeros(1, self.layout.width)
        self.largest_batch = 0

    def encode(self, image, points=None, resting=0.0, speaking=False):
        assert image.shape[2] == image.shape[3] >= self.size
        return image

    def own_motion(self, appearance):
        return self.rest.clone()

    def hold_edges(self, appearance):
        return appearance

    def motion(self, images):
        assert images.shape[1:] == (3, self.size, self.size)
        return self.rest.repeat(len(images), 1)

    def render(self, appearance, motion):
        self.largest_batch = max(self.largest_batch, len(motion))
        frames = appearance.expand(len(motion), -1, -1, -1).clone()
        frames[:, 0, :8] = motion[:, 0, None, None].clamp(-1, 1)
        frames[:, 1, :8] = (
            motion[:, self.layout.dynamics.start + CONTROL_INDEX["jaw"], None, None] * 2 - 1
        ).clamp(-1, 1)
        return frames

    def controls(self, motion):
        return motion[:, self.layout.dynamics]

    def ready(self, appearance):
        return appearance

    def replayable(self, appearance):
        return True

    def set_controls(self, motion, controls):
        motion = motion.clone()
        motion[:, self.layout.dynamics] = controls
        return motion


class LoudJaw:
    """A motion model: the jaw follows the first feature, the head noise. Windows of ``window`` frames."""

    layout = PaintedFace.layout
    config = SimpleNamespace(sampler=SamplerConfig())
    window = 40

    def __init__(self) -> None:
        self.seen: dict = {}

    def generate(self, features, conditions, *, generator, num_frames, steps, guidance):
        self.seen = {"conditions": conditions, "steps": steps, "guidance": guidance}
        pending, made = torch.zeros(0, 1), 0
        features = iter(features)
        while made < num_frames:
            while len(pending) < self.window and (chunk := next(features, None)) is not None:
                pending = torch.cat([pending, chunk])
            now, pending = pending[: self.window], pending[self.window :]
            motion = torch.zeros(len(now), self.layout.width)
            motion[:, :2] = 0.3 + 0.05 * torch.randn(len(now), 2, generator=generator)
            motion[:, 5] = -conditions.distance[0, 0].log()
            motion[:, self.layout.dynamics.start + CONTROL_INDEX["jaw"]] = now[:, 0]
            made += len(now)
            yield motion


class Loudness:
    """A speech encoder: the peak of each frame over the loudest of the clip. calls: samples it was given,
    call by call.
    """

    dim, name = 1, "loudness"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def reference(self, blocks):
        return Reference(0.0, max(float(np.abs(block).max()) for block in blocks) or 1.0)

    def features(self, waveform, num_frames, reference=None):
        self.calls.append(len(waveform))
        assert len(waveform) == 640 * num_frames
        reference = reference or self.reference([waveform])
        peaks = np.abs(waveform).reshape(num_frames, 640).max(1)
        return torch.from_numpy(peaks[:, None] / reference.scale).float()


class WholePicture:
    """Finds a face everywhere but in black pictures."""

    def points_of(self, photo, crop):
        return None

    def find(self, photo, min_size, max_size, allow_centre_crop=False, last=None):
        if not photo.any() and not allow_centre_crop:
            raise ValueError("no face was found in the picture.")
        side = min(photo.shape[:2])
        size = min(max(side - side % 2, min_size), max_size)
        return FoundFace(Crop(photo.shape[1] / 2, photo.shape[0] / 2, side, size), "whole", 1, 1.0)


@pytest.fixture
def talking_face() -> TalkingFace:
    return TalkingFace(PaintedFace(), LoudJaw(), Loudness(), WholePicture(), "cpu", {"folder": "stand-in"})


@pytest.fixture
def picture() -> np.ndarray:
    """48 x 40 pixels, every one different from its neighbours."""
    y, x = np.mgrid[:48, :40]
    return np.stack([x * 6, y * 5, 255 - x * 3 - y * 2], -1).astype(np.uint8)


@pytest.fixture
def drawn_face() -> np.ndarray:
    """A face in ellipses, 240 x 240."""
    image = Image.new("RGB", (240, 240), (120, 140, 160))
    pen = ImageDraw.Draw(image)
    pen.ellipse((50, 30, 190, 220), fill=(225, 180, 150))
    for x in (90, 150):
        pen.ellipse((x - 16, 96, x + 16, 116), fill=(250, 250, 250))
        pen.ellipse((x - 8, 98, x + 8, 114), fill=(40, 30, 30))
        pen.rectangle((x - 20, 82, x + 20, 88), fill=(60, 40, 30))
    pen.polygon([(120, 105), (108, 150), (132, 150)], fill=(205, 155, 130))
    pen.ellipse((92, 168, 148, 188), fill=(170, 70, 70))
    return np.asarray(image)


@pytest.fixture(scope="session")
def tiny_runs(tmp_path_factory, request):
    """Untrained runs of the tiny classes: face and motion.safetensors, as training writes them."""
    return write_tiny_runs(tmp_path_factory.mktemp("runs"), request.config.rootpath)
