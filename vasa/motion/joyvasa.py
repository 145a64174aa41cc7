"""JoyVASA's motion model (Cao et al. 2024) under the names of its released file: denoiser, speech encoder
and the buffers of its diffusion.

``JoyvasaDenoiser.forward`` is the graph as published; ``joyvasa_folded`` computes the same in less time.
Knows nothing of files, windows or faces.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vasa.motion.joyvasa_config import JoyvasaConfig
from vasa.motion.joyvasa_hubert import build_hubert, hidden_states, resized
from vasa.motion.joyvasa_sampler import DiffusionSchedule

DROPOUT = 0.1


class PositionTable(nn.Module):
    """Sines (even entries) and cosines (odd) of positions, one row each (Vaswani et al. 2017, section
    3.5).
    """

    pe: Tensor

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
        angle = torch.arange(rows, dtype=torch.float32)[:, None] * frequency
        self.register_buffer("pe", torch.stack([angle.sin(), angle.cos()], -1).reshape(1, rows, width))


class JoyvasaDenoiser(nn.Module):
    """Estimates the clean normalised motion of L frames after P given ones, from as many audio features.

    Every token sees all of the motion and exactly its own audio frame. Differs from upstream in nothing:
    position "legacy" adds row P + L of the table to all tokens, as the released file was trained.
    """

    alignment_mask: Tensor

    def __init__(self, config: JoyvasaConfig) -> None:
        super().__init__()
        self.config = config
        width, tokens = config.width, config.history_frames + config.window_frames
        self.register_buffer("alignment_mask", ~torch.eye(tokens, dtype=torch.bool))  # True: not seen
        self.TE = PositionTable(config.step_rows, width)
        self.diff_step_map = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.PE = PositionTable(config.position_rows, width)
        self.feature_proj = nn.Linear(config.motion_dim, width)
        layer = nn.TransformerDecoderLayer(
            width, config.num_heads, config.feedforward, DROPOUT, "gelu", batch_first=True
        )
        self.transformer = nn.TransformerDecoder(layer, config.num_layers)
        self.motion_dec = nn.Sequential(
            nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, config.motion_dim)
        )

    def forward(
        self, motion: Tensor, audio: Tensor, past_motion: Tensor, past_audio: Tensor, step: Tensor
    ) -> Tensor:
        """motion (B, L, E) at diffusion step (B,), audio (B, L, A), past_motion (B, P, E), past_audio
        (B, P, A). Returns (B, P + L, E); the last L are the estimate.
        """
        tokens = self.feature_proj(torch.cat([past_motion, motion], 1)) + self.positions()
        tokens = tokens + self.step_token(step)[:, None]
        memory = torch.cat([past_audio, audio], 1)
        return self.motion_dec(self.transformer(tokens, memory, memory_mask=self.alignment_mask))

    def positions(self) -> Tensor:
        """What is added to the tokens for where they stand: (1, P + L or 1, width)."""
        tokens = len(self.alignment_mask)
        rows = slice(tokens, tokens + 1) if self.config.position == "legacy" else slice(0, tokens)
        return self.PE.pe[:, rows]

    def step_token(self, step: Tensor) -> Tensor:
        """What is added to every token for the diffusion step (B,): (B, width)."""
        return self.diff_step_map(self.TE.pe[0, step])


class JoyvasaModel(nn.Module):
    """Everything that the released file holds, spelled as there.

    start_motion_feat, start_audio_feat: the past of a first window. null_audio_feat: stands for audio that is
    not given.
    """

    def __init__(self, config: JoyvasaConfig) -> None:
        super().__init__()
        self.config = config
        P, A = config.history_frames, config.width
        self.start_motion_feat = nn.Parameter(torch.randn(1, P, config.motion_dim))
        self.start_audio_feat = nn.Parameter(torch.randn(1, P, A))
        self.null_audio_feat = nn.Parameter(torch.randn(1, 1, A))
        self.audio_encoder = build_hubert(config.hubert)
        self.audio_feature_map = nn.Linear(config.hubert.width, A)
        self.denoising_net = JoyvasaDenoiser(config)
        self.diffusion_sched = DiffusionSchedule(config.schedule, config.num_steps)

    def audio_features(self, waveform: Tensor, num_frames: int) -> Tensor:
        """(B, num_frames, A) at 25 fps of sound (B, N) at 16 kHz; each row is heard as one piece.

        In released models one window is 100 frames of 64,000 samples.
        """
        hidden = hidden_states(self.audio_encoder, waveform, num_frames)
        return self.audio_feature_map(resized(hidden.transpose(1, 2), num_frames).transpose(1, 2))

    def start(self, batch: int) -> tuple[Tensor, Tensor]:
        """Past motion (B, P, E) and past audio (B, P, A) of a first window."""
        return self.start_motion_feat.expand(batch, -1, -1), self.start_audio_feat.expand(batch, -1, -1)
