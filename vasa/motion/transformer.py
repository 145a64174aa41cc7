"""VASA-1's denoiser H(x_t, t, C): a transformer encoder over one sequence of condition tokens and motion
tokens.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vasa.motion.conditions import WindowConditions
from vasa.motion.config import MotionConfig
from vasa.records import EMOTIONS

NULL_STD = 0.02
"""Standard deviation of freshly drawn nulls and positions, as is usual for embeddings."""
NUM_LEADING = 4
"""Tokens before the frames: t, g, d, e."""
CONDITION_WIDTHS = {"gaze": 2, "distance": 1, "emotion": len(EMOTIONS)}


class MotionTransformer(nn.Module):
    """Estimates the clean normalised motion X_0 of a window.

    The sequence is [t, g, d, e | X_pre (K) | X_t (W)], joined along time as in VASA-1 (section 3.2),
    self-attention only. Sound either joins as K + W tokens more (A_pre, A) or is added to the motion tokens
    of the same frames (``audio_as_tokens``). Not given in the paper, ours: pre-norm, learned positions over
    the K + W frames shared by motion and sound, a learned vector per kind of token, time as a token that is
    also added to the X_t tokens, one learned null per condition, the output head starting at zero (the mean
    motion).
    """

    def __init__(self, config: MotionConfig, motion_dim: int, audio_dim: int) -> None:
        super().__init__()
        net = config.transformer
        width = net.width
        self.window_frames, self.history_frames = config.window_frames, config.history_frames
        self.audio_as_tokens = net.audio_as_tokens
        self.motion_in = nn.Linear(motion_dim, width)
        self.audio_in = nn.Linear(audio_dim, width)
        self.audio_context = nn.ModuleList(
            [nn.Conv1d(width, width, 5, padding=2) for _ in range(net.audio_context_layers)]
        )
        self.controls_in = nn.ModuleDict({name: nn.Linear(n, width) for name, n in CONDITION_WIDTHS.items()})
        self.nulls = nn.ParameterDict(
            {name: _embedding(width) for name in (*CONDITION_WIDTHS, "audio", "history", "history_audio")}
        )
        self.kinds = nn.ParameterDict(
            {name: _embedding(width) for name in ("history", "noisy", "audio", "time")}
        )
        self.position = _embedding(self.history_frames + self.window_frames, width)
        self.time_mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))
        self.blocks = nn.ModuleList(
            [Block(width, net.num_heads, net.feedforward, net.local_kernel) for _ in range(net.num_layers)]
        )
        self.norm = nn.LayerNorm(width)
        self.motion_out = nn.Linear(width, motion_dim)
        nn.init.zeros_(self.motion_out.weight)
        nn.init.zeros_(self.motion_out.bias)

    def forward(
        self, x_t: Tensor, t: Tensor, conditions: WindowConditions, valid: Tensor | None = None
    ) -> Tensor:
        """x_t (B, w, E) noisy motion, t (B,) diffusion step, conditions with k frames of history; w <= W,
        k <= K. valid (B, k + w) bool, False where a frame of history or window is padding (default: none is).

        Fewer frames are the same as W and K of them with the others marked as padding. Returns the estimate
        of X_0, (B, w, E).
        """
        num_frames, before = x_t.shape[1], conditions.history.shape[1]
        if num_frames > self.window_frames or before > self.history_frames:
            raise ValueError(
                f"x_t has {num_frames} frames after {before} of history; this network was built for at most "
                f"{self.window_frames} after {self.history_frames}."
            )
        position = self.position[self.history_frames - before : self.history_frames + num_frames]
        time = self.time_mlp(_sinusoid(t, self.position.shape[1]))  # (B, width)
        controls = self._control_tokens(conditions, time)  # (B, 4, width)
        # (B, k + w, width), as is the sound
        motion = self._motion_tokens(x_t, time, conditions) + position
        audio = self._audio_tokens(conditions, valid)
        if self.audio_as_tokens:
            streams = [audio + self.kinds["audio"] + position, motion]
        else:
            streams = [motion + audio]
        sequence = torch.cat([controls, *streams], 1)
        present = None
        if valid is not None:
            present = torch.cat([valid.new_ones(controls.shape[:2]), *[valid] * len(streams)], 1)
        for block in self.blocks:
            sequence = block(sequence, len(streams), present)
        return self.motion_out(self.norm(sequence[:, -num_frames:]))

    def _motion_tokens(self, x_t: Tensor, time: Tensor, conditions: WindowConditions) -> Tensor:
        noisy = self.motion_in(x_t) + self.kinds["noisy"] + time[:, None]
        given = conditions.has_history[:, None]
        history = self._or_null("history", self.motion_in(conditions.history), given) + self.kinds["history"]
        return torch.cat([history, noisy], 1)

    def _audio_tokens(self, conditions: WindowConditions, valid: Tensor | None) -> Tensor:
        now = self._or_null("audio", self.audio_in(conditions.audio), conditions.has_audio)
        given = conditions.has_history[:, None]
        before = self._or_null("history_audio", self.audio_in(conditions.history_audio), given)
        audio = torch.cat([before, now], 1)
        for convolution in self.audio_context:
            if valid is not None:
                audio = audio * valid[..., None]  # as a convolution pads the ends of a shorter window
            audio = audio + F.gelu(convolution(audio.transpose(1, 2)).transpose(1, 2))
        return audio

    def _or_null(self, name: str, value: Tensor, present: Tensor) -> Tensor:
        """value (B, n, width) where present (B, n or 1), else the learned null of that condition."""
        return torch.where(present[..., None], value, self.nulls[name])

    def _control_tokens(self, conditions: WindowConditions, time: Tensor) -> Tensor:
        tokens = [time + self.kinds["time"]]
        for name, layer in self.controls_in.items():
            present = getattr(conditions, f"has_{name}")[:, None]
            tokens.append(torch.where(present, layer(getattr(conditions, name)), self.nulls[name]))
        return torch.stack(tokens, 1)  # (B, 4, width)


class Block(nn.Module):
    """Pre-norm self-attention and feed-forward, both residual.

    With ``local_kernel`` the hidden layer of the feed-forward also passes a depthwise convolution over the
    frames of each stream (not in the paper): what neighbouring frames have in common, which is most of
    denoising motion, is then learned in a fraction of the steps that attention needs for it.
    """

    def __init__(self, width: int, num_heads: int, feedforward: int, local_kernel: int = 0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_attention, self.norm_feedforward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.hidden_in, self.hidden_out = nn.Linear(width, feedforward), nn.Linear(feedforward, width)
        self.local = None
        if local_kernel:
            padding = local_kernel // 2
            self.local = nn.Conv1d(
                feedforward, feedforward, local_kernel, padding=padding, groups=feedforward
            )

    def forward(self, x: Tensor, num_streams: int = 1, present: Tensor | None = None) -> Tensor:
        """x (B, 4 + num_streams x frames, width); present (B, the same) bool, False for padding (default: all
        is present).
        """
        batch, length, width = x.shape
        heads = self.query_key_value(self.norm_attention(x)).view(batch, length, 3, self.num_heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (B, heads, L, width / heads)
        mask = None if present is None else present[:, None, None]  # over keys
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.attention_out(attended.transpose(1, 2).reshape(batch, length, width))
        hidden = self.hidden_in(self.norm_feedforward(x))
        if self.local is not None:
            hidden = hidden + self._neighbours(hidden, num_streams, present)
        return x + self.hidden_out(F.gelu(hidden))

    def _neighbours(self, hidden: Tensor, num_streams: int, present: Tensor | None) -> Tensor:
        """The convolution along each stream of frames of hidden (B, L, width); zero for the four tokens
        before.
        """
        assert self.local is not None
        if present is not None:
            hidden = hidden * present[..., None]
        frames = rearrange(hidden[:, NUM_LEADING:], "b (s t) c -> (b s) c t", s=num_streams)
        mixed = rearrange(self.local(frames), "(b s) c t -> b (s t) c", s=num_streams)
        return F.pad(mixed, (0, 0, NUM_LEADING, 0))


def _embedding(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * NULL_STD)


def _sinusoid(t: Tensor, width: int) -> Tensor:
    """Sines and cosines (B, width) of diffusion steps t (B,), periods from 2 pi to 10 000 times that."""
    half = width // 2
    frequency = torch.exp(torch.arange(half, device=t.device, dtype=torch.float32) * (-math.log(1e4) / half))
    angle = t[:, None].float() * frequency
    return torch.cat([angle.cos(), angle.sin()], -1)
