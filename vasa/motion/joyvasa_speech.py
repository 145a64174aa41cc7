"""What a JoyVASA motion model hears, as a speech encoder of its own: it lies in the motion checkpoint."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vasa.motion.joyvasa import JoyvasaModel
from vasa.pretrained.speech import Reference
from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME


class JoyvasaSpeech:
    """``audio_feature_map`` of HuBERT (dim wide) at 25 fps, as the motion model was trained to hear it.

    Each run of ``window_frames`` frames, counted from the start of what is given, is heard by itself; silence
    fills up the last. So sound that is given in pieces must be cut at multiples of window_frames and without
    overlap, or the pieces differ from the whole. Levels stay as they are recorded (JoyVASA does not
    normalise).
    """

    name = "joyvasa-hubert"

    def __init__(self, model: JoyvasaModel) -> None:
        self.model = model.eval().requires_grad_(False)
        self.dim = model.config.width
        self.window_frames = model.config.window_frames

    def reference(self, blocks: Iterable[np.ndarray]) -> Reference:
        """Always the recording's own level."""
        return Reference(0.0, 1.0)

    @torch.no_grad()
    def features(
        self, waveform: np.ndarray | Tensor, num_frames: int, reference: Reference | None = None
    ) -> Tensor:
        """(num_frames, dim) of sound (N,) at AUDIO_HZ, on the CPU as other encoders' features."""
        sound = torch.as_tensor(waveform).detach().float()
        if sound.ndim != 1 or len(sound) == 0:
            raise ValueError(
                f"waveform has shape {tuple(sound.shape)}; wanted mono (N,) at {AUDIO_HZ} Hz, N > 0."
            )
        if reference is not None:
            sound = (sound - reference.offset) / reference.scale
        window, parts = self.window_frames * SAMPLES_PER_FRAME, []
        for first in range(0, num_frames, self.window_frames):
            piece = sound[first * SAMPLES_PER_FRAME :][:window]
            features = self.hear(F.pad(piece, (0, window - len(piece))))
            parts.append(features[: num_frames - first].cpu())
        return torch.cat(parts)

    def hear(self, window: Tensor) -> Tensor:
        """(L, dim) of one window of sound (L * SAMPLES_PER_FRAME,), where the model runs."""
        device = self.model.audio_feature_map.weight.device
        return self.model.audio_features(window[None].to(device), self.window_frames)[0]
