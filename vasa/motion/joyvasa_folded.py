"""JoyVASA's denoiser over one window, exactly as ``JoyvasaDenoiser`` but with nothing computed twice.

The alignment mask lets every token see its own audio frame alone, so attention to audio is the linear map
out_proj(v_proj(.)) of that frame: it knows neither motion nor diffusion step and is computed once a window.
Before it the guided and the null branch are the same, so the first self-attention serves both. The last layer
asks only for the L frames that are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vasa.motion.joyvasa import JoyvasaDenoiser, JoyvasaModel
from vasa.motion.joyvasa_sampler import Guided


class FoldedWindow:
    """A denoiser with the past and the audio of one window given: call it with x_t and t.

    audios: V of them (B, L, A), each a branch of its own. past_motion (B, P, E), past_audio (B, P, A) are
    shared. For inference: no gradients, no dropout. A later change of weights is not seen. precision: of the
    layers' matrix products; sums, norms and what goes in and out stay as they are.
    """

    def __init__(
        self,
        net: JoyvasaDenoiser,
        audios: Sequence[Tensor],
        past_motion: Tensor,
        past_audio: Tensor,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.net, self.branches = net, len(audios)
        self.history = past_motion.shape[1]
        position = net.positions()
        if position.shape[1] > 1:
            position_past, self._position = position[:, : self.history], position[:, self.history :]
        else:
            position_past = self._position = position
        self._past = net.feature_proj(past_motion) + position_past  # (B, P, width)
        memory = torch.cat([torch.cat([past_audio, audio], 1) for audio in audios])  # (V B, P + L, A)
        self._layers = [_Layer.of(layer, memory, precision) for layer in net.transformer.layers]

    def __call__(self, x_t: Tensor, t: int) -> Tensor:
        """Estimates (V, B, L, E) at x_t (B, L, E) and diffusion step t."""
        net = self.net
        step = net.step_token(torch.tensor([t], device=x_t.device))[:, None]
        tokens = torch.cat([self._past, net.feature_proj(x_t) + self._position], 1) + step
        last = len(self._layers) - 1
        for index, layer in enumerate(self._layers):
            skip = self.history if index == last else 0
            tokens = layer.norms[0](tokens[:, skip:] + layer.attended(tokens, skip))
            if index == 0:
                tokens = tokens.repeat(self.branches, 1, 1)
            tokens = layer.norms[1](tokens + layer.heard[:, skip:])
            tokens = layer.norms[2](tokens + layer.fed_forward(tokens))
        return net.motion_dec(tokens).unflatten(0, (self.branches, len(x_t)))


@dataclass(slots=True)
class _Layer:
    """One decoder layer. heard: what attention to a token's own audio frame adds. weights: of the projection
    to queries, keys and values, of what is attended, and of both feed-forward layers, each with its bias.
    """

    norms: tuple[nn.Module, nn.Module, nn.Module]
    heard: Tensor
    weights: list[tuple[Tensor, Tensor]]
    heads: int
    precision: torch.dtype

    @classmethod
    def of(cls, layer: Any, memory: Tensor, precision: torch.dtype) -> _Layer:
        own = layer.self_attn
        pairs = [(own.in_proj_weight, own.in_proj_bias)]
        pairs += [(part.weight, part.bias) for part in (own.out_proj, layer.linear1, layer.linear2)]
        weights = [(weight.to(precision), bias.to(precision)) for weight, bias in pairs]
        norms = layer.norm1, layer.norm2, layer.norm3
        return cls(norms, _heard(layer, memory), weights, own.num_heads, precision)

    def attended(self, tokens: Tensor, skip: int) -> Tensor:
        """Self-attention over tokens (N, T, width), for all but the first ``skip``: (N, T - skip, width)."""
        num, length, width = tokens.shape
        (weight, bias), out = self.weights[0], self.weights[1]
        given = tokens.to(self.precision)
        if skip == 0:
            together = F.linear(given, weight, bias).view(num, length, 3, self.heads, -1)
            query, key, value = together.permute(2, 0, 3, 1, 4)  # each (N, heads, T, width / heads)
        else:
            query = F.linear(given[:, skip:], weight[:width], bias[:width])
            query = query.view(num, length - skip, self.heads, -1).transpose(1, 2)
            together = F.linear(given, weight[width:], bias[width:]).view(num, length, 2, self.heads, -1)
            key, value = together.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        return F.linear(attended.reshape(num, length - skip, width), *out)

    def fed_forward(self, tokens: Tensor) -> Tensor:
        hidden = F.gelu(F.linear(tokens.to(self.precision), *self.weights[2]))
        return F.linear(hidden, *self.weights[3])


def _heard(layer: nn.Module, memory: Tensor) -> Tensor:
    """What attention to its own frame of memory (N, T, A) adds to every token: (N, T, width)."""
    attention: nn.MultiheadAttention = layer.multihead_attn  # type: ignore[assignment]
    width = attention.embed_dim
    value = F.linear(memory, attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
    return attention.out_proj(value)


def window_estimates(
    model: JoyvasaModel,
    audio: Tensor,
    past_motion: Tensor,
    past_audio: Tensor,
    *,
    guided: bool = True,
    plain: bool = False,
    precision: torch.dtype = torch.float32,
) -> Guided:
    """What ``ancestral_sample`` asks: estimates of windows with audio (B, L, A) after a past (B, P, .).

    guided: of [null audio, audio], else of audio alone. Only the window's own audio becomes null; the past
    keeps its. plain: by the graph as published, for comparison. precision: see ``FoldedWindow``.
    """
    audios = [model.null_audio_feat.expand_as(audio), audio] if guided else [audio]
    if not plain:
        return FoldedWindow(model.denoising_net, audios, past_motion, past_audio, precision)
    branches, batch, length = len(audios), len(audio), audio.shape[1]
    heard, past = torch.cat(audios), (past_motion.repeat(branches, 1, 1), past_audio.repeat(branches, 1, 1))

    def estimates(x_t: Tensor, t: int) -> Tensor:
        step = torch.full((branches * batch,), t, device=x_t.device)
        found = model.denoising_net(x_t.repeat(branches, 1, 1), heard, *past, step)
        return found[:, -length:].unflatten(0, (branches, batch))

    return estimates
