"""What inference animates when it is given nothing: a synthetic portrait and synthetic speech that no
training saw.
"""

from __future__ import annotations

import numpy as np
import torch

from vasa.data.config import SPLIT_SEEDS, SpokenConfig
from vasa.preprocess.align import FoundFace
from vasa.preprocess.crop import Crop, five_points
from vasa.records import Animation

FORMANTS_ONLY = SpokenConfig(espeak_share=0.0, singing_share=0.0, silent_share=0.0)
"""The other voices need the training extra, which nobody has who only wants to see a portrait speak."""

FIRST_PERSON = 15
"""The person of seed 0: one whose mouth and eyes are free of beard, fringe and glasses, so that both show."""


def demo_portrait(seed: int, size: int) -> tuple[np.ndarray, FoundFace]:
    """A held-out head, looking ahead, drawn in full quality: uint8 (size, size, 3), and where its face is.

    It is drawn in the framing of the crop rule, so nothing has to be searched: the whole picture is the crop.
    """
    from vasa.data.synthetic.heads import make_identities
    from vasa.data.synthetic.renderer import render

    with torch.no_grad():
        drawn = render(
            make_identities([_held_out(seed + FIRST_PERSON)], mode="portrait"),
            Animation.neutral(1),
            size=size,
            quality="full",
        )
    pixels = (
        (drawn.image[0] * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    )
    points = five_points((drawn.landmarks[0].double().numpy() + 1) * (size / 2))
    return pixels, FoundFace(Crop(size / 2, size / 2, float(size), size), "drawn", 1, 1.0, points)


def demo_speech(seed: int, seconds: float) -> np.ndarray:
    """A held-out voice: float32 (N,) at AUDIO_HZ."""
    from vasa.data.synthetic.speech import synthesise, voice_from_seed

    return synthesise(seed, seconds, voice_from_seed(_held_out(seed), "test", FORMANTS_ONLY)).audio


def _held_out(seed: int) -> int:
    return SPLIT_SEEDS["test"][seed % len(SPLIT_SEEDS["test"])]
