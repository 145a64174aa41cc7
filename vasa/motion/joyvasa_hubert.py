"""The speech encoder inside a JoyVASA model: HuBERT (Hsu et al. 2021) over one window of sound.

Its weights were trained further with the motion model, so they come from the motion checkpoint and never
from a hub.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from vasa.motion.joyvasa_config import HUBERT_HEAD_DIM, HubertSizes

HOP = 320
"""Samples from one step of HuBERT's front end to the next: 50 a second, two a video frame."""
FIELD = 400
"""Samples that one step sees."""


def build_hubert(sizes: HubertSizes) -> nn.Module:
    """An untrained HuBERT with the stock values of the base size for all that ``sizes`` does not say."""
    from transformers import HubertConfig, HubertModel  # heavy, and not needed to read about sizes

    config = HubertConfig(
        hidden_size=sizes.width,
        num_hidden_layers=sizes.num_layers,
        num_attention_heads=sizes.width // HUBERT_HEAD_DIM,
        intermediate_size=sizes.feedforward,
        conv_dim=(sizes.conv_width,) * 7,
        num_conv_pos_embeddings=sizes.position_kernel,
        num_conv_pos_embedding_groups=sizes.position_groups,
    )
    return HubertModel(config)


def pad_audio(waveform: Tensor) -> Tensor:
    """A waveform (B, N), longer by what makes N / 320 whole steps of the front end out of N samples.

    Half of it on either side: reflected in two goes, the second reflecting the first, and one sample repeated
    where the half is odd. A remainder of more than 80 samples leaves nothing to add. Source: JoyVASA.
    """
    length = waveform.shape[1]
    half = -((length - HOP * (length // HOP) - (FIELD - HOP)) // 2)
    if half <= 0:
        return waveform
    for _ in range(2 if half > 1 else 0):
        waveform = F.pad(waveform, (half // 2, half // 2), mode="reflect")
    return F.pad(waveform, (1, 1), mode="replicate") if half % 2 else waveform


def hidden_states(hubert: Any, waveform: Tensor, num_frames: int) -> Tensor:
    """Last hidden states (B, 2 num_frames, width) of sound (B, N) at 16 kHz in [-1, 1], of any level.

    The front end's output is cut to two steps a frame, and stretched where the sound is shorter.
    """
    steps = 2 * num_frames
    seen = hubert.feature_extractor(pad_audio(waveform))[..., :steps]  # (B, conv_width, <= steps)
    seen = resized(seen, steps).transpose(1, 2)
    projected = hubert.feature_projection(seen)
    if hubert.training:
        projected = hubert._mask_hidden_states(projected)  # SpecAugment
    return hubert.encoder(projected).last_hidden_state


def resized(values: Tensor, length: int) -> Tensor:
    """values (B, C, T) at ``length`` positions in time, linearly (align_corners=False)."""
    if values.shape[2] == length:
        return values
    return F.interpolate(values, size=length, mode="linear", align_corners=False)
