"""CAPP: whether a head moves as somebody saying this would, by one embedding of sound and one of head pose.

VASA-1 (section 4.1) trains the two encoders together on real talking heads, as CLIP trains picture and text,
and scores 3 s of a video by the similarity of their embeddings. No weights were published. Ours are trained
by ``scripts/train_judges.py target=capp``; their scores compare methods with one another and with real video,
never with numbers printed elsewhere.

As the paper says: windows of 3 s, a pose encoder of 6 transformer layers from random weights, sound through
wav2vec 2.0 where its weights are given. Not given in the paper, ours: widths; the pose is yaw, pitch and roll
about their mean in the window (place and size in the picture depend on how a video was cut, and are left
out); three frames make a token; an embedding is the tokens' short codes side by side, so that the cosine
compares what both tracks do at the same moments. Without wav2vec 2.0, log-mel energies and three transformer
layers take its place.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.pretrained.config import CappNetConfig, SpeechConfig
from vasa.pretrained.files import load_network
from vasa.pretrained.speech import NUM_MELS, LogMelSpeech, TransformerSpeech
from vasa.records import SAMPLES_PER_FRAME, VIDEO_FPS

WINDOW = 3 * VIDEO_FPS
"""Frames that are scored together: 3 s (VASA-1, section 4.1)."""
PATCH = 3
"""Frames that make a token."""
ANGLE_UNIT_RAD = 0.1
"""About how far a talking head turns to and fro: angles enter the network in it."""


class TrackEncoder(nn.Module):
    """Frames (B, WINDOW, C) -> unit embedding (B, WINDOW / PATCH * code_dim)."""

    def __init__(self, channels: int, num_layers: int, config: CappNetConfig) -> None:
        super().__init__()
        width = config.width
        self.read = nn.Conv1d(channels, width, 5, padding=2)
        self.join = nn.Conv1d(width, width, PATCH, stride=PATCH)
        self.position = nn.Parameter(0.02 * torch.randn(WINDOW // PATCH, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, config.num_heads, config.feedforward, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.code = nn.Linear(width, config.code_dim)

    def forward(self, track: Tensor) -> Tensor:
        x = (
            self.join(F.gelu(self.read(track.transpose(1, 2)))).transpose(1, 2) + self.position
        )  # (B, L, width)
        for layer in self.layers:
            x = layer(x)
        return F.normalize(self.code(self.norm(x)).flatten(1).float(), dim=-1)


class Wav2Vec2Listener(nn.Module):
    """Samples (B, T, 640) of T frames -> the last hidden states (B, T, E) of wav2vec 2.0, at video rate.

    Its convolutions stay as they are, as is usual when it is tuned; its transformer learns.
    """

    def __init__(self, description: str) -> None:
        super().__init__()
        from transformers import Wav2Vec2Config, Wav2Vec2Model

        # Masking would draw from NumPy's global generator; dropped layers leave parameters without gradient.
        self.model = Wav2Vec2Model(
            Wav2Vec2Config(**{**json.loads(description), "apply_spec_augment": False, "layerdrop": 0.0})
        )
        self.model.freeze_feature_encoder()

    def forward(self, samples: Tensor) -> Tensor:
        hidden = self.model(samples.flatten(1)).last_hidden_state.transpose(1, 2)  # (B, E, 149 of 3 s)
        at_video_rate = F.interpolate(hidden, size=samples.shape[1], mode="linear", align_corners=True)
        return at_video_rate.transpose(1, 2)


class CappNet(nn.Module):
    """Embeds 3 s of sound and 3 s of head pose; the cosine of the two is the score."""

    def __init__(self, config: CappNetConfig) -> None:
        super().__init__()
        if config.audio == "wav2vec2" and not config.wav2vec2_config:
            raise ValueError("a CAPP network on wav2vec2 begins with CappNet.fresh, which reads its weights.")
        self.config = config
        self.listener: nn.Module = nn.Identity()
        channels = 2 * NUM_MELS
        if config.audio == "wav2vec2":
            self.listener = Wav2Vec2Listener(config.wav2vec2_config)
            channels = self.listener.model.config.hidden_size
        self.sound = TrackEncoder(channels, config.sound_layers, config)
        self.pose = TrackEncoder(3, config.pose_layers, config)
        self._mels = LogMelSpeech(SpeechConfig())

    @classmethod
    def fresh(cls, config: CappNetConfig) -> Self:
        """A network to train: random weights, but for wav2vec 2.0, which is read from its folder.

        Raises: FileNotFoundError where there is no such folder.
        """
        if config.audio == "logmel":
            return cls(config)
        speech = TransformerSpeech(SpeechConfig(kind="wav2vec2", path=str(config.wav2vec2)))
        network = cls(dataclasses.replace(config, wav2vec2_config=speech.model.config.to_json_string()))
        assert isinstance(network.listener, Wav2Vec2Listener)
        network.listener.model.load_state_dict(speech.model.state_dict())
        return network

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Reads a network this project trained. Raises: FileNotFoundError, CheckpointError."""
        return load_network(cls, CappNetConfig, path)

    def hear(self, waveform: np.ndarray, num_frames: int) -> Tensor:
        """What ``embed_sound`` takes, for a whole clip (N,) at AUDIO_HZ: (num_frames, D) float32 on the CPU.

        Levelled over the whole clip, so that all its windows have one level: log-mel energies, or the samples
        themselves of each frame, of zero mean and unit variance, for wav2vec 2.0.
        """
        if self.config.audio == "logmel":
            return self._mels.features(waveform, num_frames)
        samples = torch.zeros(num_frames * SAMPLES_PER_FRAME)
        known = torch.from_numpy(np.asarray(waveform, np.float32)[: len(samples)])
        samples[: len(known)] = (known - known.mean()) / (known.var(correction=0) + 1e-7).sqrt()
        return samples.view(num_frames, SAMPLES_PER_FRAME)

    def embed_sound(self, heard: Tensor) -> Tensor:
        """heard (B, WINDOW, D), as ``hear`` gives it -> unit vectors (B, E)."""
        return self.sound(self.listener(heard))

    def embed_pose(self, pose: Tensor) -> Tensor:
        """pose (B, WINDOW, 3 or more): yaw, pitch, roll in radians come first -> unit vectors (B, E)."""
        angles = pose[..., :3].float()
        return self.pose((angles - angles.mean(1, keepdim=True)) / ANGLE_UNIT_RAD)

    @torch.no_grad()
    def score(self, heard: Tensor, pose: Tensor, hop: int, batch: int = 64) -> Tensor:
        """Cosines (n,) of the windows of a clip that start every ``hop`` frames; ``batch`` of them at once.

        heard (T, D), pose (T, 3 or more). Raises: ValueError when the lengths differ or are under a window.
        """
        if len(heard) != len(pose) or len(pose) < WINDOW:
            raise ValueError(
                f"CAPP of {len(heard)} frames of sound and {len(pose)} of pose; wanted equally many, "
                f"at least {WINDOW}."
            )
        device = next(self.parameters()).device
        starts = range(0, len(pose) - WINDOW + 1, hop)
        found = []
        for first in range(0, len(starts), batch):
            some = [slice(start, start + WINDOW) for start in starts[first : first + batch]]
            sound = self.embed_sound(torch.stack([heard[s] for s in some]).to(device))
            moved = self.embed_pose(torch.stack([pose[s] for s in some]).to(device))
            found.append((sound * moved).sum(-1).cpu())
        return torch.cat(found)
