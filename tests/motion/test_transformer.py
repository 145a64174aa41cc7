"""The denoiser: size at the paper's settings, what depends on what, and which condition may be absent."""

from dataclasses import replace

import pytest
import torch
from motion_cases import A, E, K, W, conditions
from torch import nn

from vasa.motion.conditions import without
from vasa.motion.config import MotionConfig, TransformerConfig
from vasa.motion.transformer import Block, MotionTransformer


def tiny(audio_as_tokens: bool = False) -> MotionTransformer:
    torch.manual_seed(0)
    net = TransformerConfig(
        width=32, num_layers=2, num_heads=2, feedforward=64, audio_as_tokens=audio_as_tokens
    )
    model = MotionTransformer(MotionConfig(window_frames=W, history_frames=K, transformer=net), E, A)
    nn.init.normal_(
        model.motion_out.weight, std=0.1
    )  # it starts at zero, where nothing could be seen to matter
    return model


def test_paper_config_has_about_29_million_parameters() -> None:
    with torch.device("meta"):
        model = MotionTransformer(MotionConfig(), 6 + 512, 768)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert abs(millions - 29) < 0.05 * 29, (
        millions
    )  # the paper rounds, and its input and output widths are not given


@pytest.mark.parametrize("audio_as_tokens", [False, True])
@pytest.mark.parametrize("name", ["audio", "history", "gaze", "distance", "emotion"])
def test_every_condition_is_heard_and_its_null_hides_it(name: str, audio_as_tokens: bool) -> None:
    model, c = tiny(audio_as_tokens), conditions()
    x_t, t = torch.randn(2, W, E), torch.tensor([3, 700])
    given = model(x_t, t, c)
    other = replace(c, **{name: getattr(c, name) + 1})
    assert not torch.allclose(given, model(x_t, t, other))
    null = model(x_t, t, without(c, name))
    assert not torch.allclose(given, null)
    hidden = without(other, name)
    if name == "history":
        hidden = replace(hidden, history_audio=c.history_audio + 1)  # X_pre and A_pre are absent together
    assert torch.equal(null, model(x_t, t, hidden))


def test_each_condition_learns_its_own_null() -> None:
    model, c = tiny(), conditions()
    for name in ("audio", "history", "gaze", "distance", "emotion"):
        model.zero_grad()
        model(torch.randn(2, W, E), torch.tensor([3, 700]), without(c, name)).square().sum().backward()
        learning = {n for n, p in model.nulls.items() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
        assert learning == ({"history", "history_audio"} if name == "history" else {name})


def test_padded_frames_reach_no_output_and_get_no_gradient() -> None:
    for audio_as_tokens in (False, True):
        model, c = tiny(audio_as_tokens), conditions()
        valid = (torch.arange(-K, W).expand(2, K + W) < 7) & (torch.arange(-K, W) >= -2)
        x_t = torch.randn(2, W, E, requires_grad=True)
        c.audio.requires_grad_(True)
        c.history.requires_grad_(True)
        model(x_t, torch.tensor([3, 700]), c, valid)[:, :7].square().sum().backward()
        assert bool((x_t.grad[:, :7].abs().sum(-1) > 0).all()) and bool(
            (c.audio.grad[:, :7].abs().sum(-1) > 0).all()
        )
        assert not x_t.grad[:, 7:].any() and not c.audio.grad[:, 7:].any()
        assert c.history.grad[:, -2:].any() and not c.history.grad[:, :-2].any()


@pytest.mark.parametrize("audio_as_tokens", [False, True])
def test_a_shorter_window_and_history_are_the_whole_ones_with_padding(audio_as_tokens: bool) -> None:
    torch.manual_seed(0)
    net = TransformerConfig(
        width=32,
        num_layers=2,
        num_heads=2,
        feedforward=64,
        audio_as_tokens=audio_as_tokens,
        audio_context_layers=2,
        local_kernel=3,
    )
    model = MotionTransformer(MotionConfig(window_frames=W, history_frames=K, transformer=net), E, A)
    nn.init.normal_(model.motion_out.weight, std=0.1)
    c, x_t, t = conditions(), torch.randn(2, W, E), torch.tensor([3, 400])
    w, k = 6, 3
    valid = (torch.arange(-K, W).expand(2, K + W) < w) & (torch.arange(-K, W) >= -k)
    short = replace(
        c,
        audio=c.audio[:, :w],
        has_audio=c.has_audio[:, :w],
        history=c.history[:, -k:],
        history_audio=c.history_audio[:, -k:],
    )
    torch.testing.assert_close(
        model(x_t[:, :w], t, short), model(x_t, t, c, valid)[:, :w], rtol=1e-4, atol=1e-5
    )


def test_our_block_equals_pytorchs() -> None:
    block = Block(32, 2, 64)
    theirs = nn.TransformerEncoderLayer(
        32, 2, 64, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    renamed = {
        "query_key_value.weight": "self_attn.in_proj_weight",
        "query_key_value.bias": "self_attn.in_proj_bias",
        "attention_out": "self_attn.out_proj",
        "norm_attention": "norm1",
        "norm_feedforward": "norm2",
        "hidden_in": "linear1",
        "hidden_out": "linear2",
    }
    state = {}
    for name, value in block.state_dict().items():
        ours = next(prefix for prefix in renamed if name.startswith(prefix))
        state[name.replace(ours, renamed[ours])] = value
    theirs.load_state_dict(state)
    x = torch.randn(3, 7, 32)
    torch.testing.assert_close(block(x), theirs(x), rtol=1e-5, atol=1e-5)  # float32, another order of sums


def test_the_local_convolution_reaches_neighbours_of_its_own_stream_only() -> None:
    """Two streams of five frames: sound, then motion, whose ends must not touch."""
    block = Block(32, 2, 64, local_kernel=3)
    hidden = torch.zeros(1, 4 + 10, 64, requires_grad=True)
    for at, reached in ((4 + 4, {4 + 3, 4 + 4}), (4 + 6, {4 + 5, 4 + 6, 4 + 7}), (2, set())):
        (gradient,) = torch.autograd.grad(block._neighbours(hidden, 2, None)[0, at].sum(), hidden)
        assert set(gradient[0].abs().sum(-1).nonzero().flatten().tolist()) == reached


def test_a_window_of_more_frames_than_learned_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 10 after 4"):
        tiny()(torch.zeros(1, W + 1, E), torch.zeros(1), conditions(1))


def test_width_must_fit_the_heads() -> None:
    with pytest.raises(ValueError, match="num_heads"):
        TransformerConfig(width=100, num_heads=8)
    with pytest.raises(ValueError, match="local_kernel"):
        TransformerConfig(local_kernel=4)
