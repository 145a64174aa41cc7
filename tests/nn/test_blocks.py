"""Blocks: shapes, standardised filters, folding, and adaptive norms that start as plain ones."""

import pytest
import torch

from vasa.nn.blocks import (
    AdaptiveGroupNorm3d,
    AdaptiveResBlock3d,
    Conv2d,
    Conv3d,
    ResBlock2d,
    ResBlock3d,
    fold,
    group_norm,
)


@pytest.mark.parametrize(("conv", "shape"), [(Conv2d(3, 5), (2, 3, 6, 6)), (Conv3d(3, 5), (2, 3, 4, 6, 6))])
def test_scaling_or_shifting_a_filter_changes_nothing(conv, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before = conv(x)
    with torch.no_grad():
        conv.weight.mul_(3.0).add_(0.5)
    torch.testing.assert_close(conv(x), before, atol=2e-3, rtol=0)  # weights of 0.1 shifted by 0.5, in fp32


def test_folding_changes_no_output():
    torch.manual_seed(0)
    block, x = ResBlock2d(8, 12), torch.randn(2, 8, 6, 6)
    before = block(x)
    fold(block)
    fold(block)  # twice is once
    torch.testing.assert_close(block(x), before)


def test_unit_variance_passes_through_a_standardised_filter():
    torch.manual_seed(0)
    out = Conv2d(64, 64)(torch.randn(2, 64, 32, 32))[..., 2:-2, 2:-2]
    assert 0.8 < out.std() < 1.2


def test_zero_condition_is_a_plain_group_norm():
    x = torch.randn(2, 8, 2, 3, 3)
    norm = AdaptiveGroupNorm3d(8, 4, 16)
    torch.testing.assert_close(norm(x, torch.zeros(2, 4, 4, 4)), group_norm(8)(x))
    assert not torch.allclose(norm(x, torch.randn(2, 4, 4, 4)), group_norm(8)(x))


def test_blocks_change_width_only():
    assert ResBlock3d(4, 8)(torch.randn(1, 4, 2, 4, 4)).shape == (1, 8, 2, 4, 4)
    assert AdaptiveResBlock3d(4, 8, 3, 16)(torch.randn(1, 4, 2, 4, 4), torch.randn(1, 3, 4, 4)).shape == (
        1,
        8,
        2,
        4,
        4,
    )


@pytest.mark.parametrize(("channels", "groups"), [(3, 1), (16, 4), (96, 24), (256, 32)])
def test_groups_hold_at_least_four_channels(channels, groups):
    assert group_norm(channels).num_groups == groups
