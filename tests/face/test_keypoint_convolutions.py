"""Convolutions that do less work say the same as the library's."""

import pytest
import torch
import torch.nn.functional as F

from vasa.face.keypoints.convolutions import AfterRepetition, DirectConv, FourierConv, WinogradConv, conv_of


def weights(outputs, inputs, kernel, dims):
    shape = (outputs, inputs, *[kernel] * dims)
    return torch.randn(shape) / (inputs * kernel**dims) ** 0.5, torch.randn(outputs)


def close(found, wanted, tolerance):
    wanted = wanted.movedim(1, -1)
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max() / wanted.square().mean().sqrt()) < tolerance


@pytest.mark.parametrize("height, width, batch", [(8, 12, 1), (20, 4, 2), (4, 40, 9)])
def test_winograd_in_the_plane(height, width, batch):
    weight, bias = weights(10, 64, 3, 2)
    x = torch.randn(batch, 64, height, width)
    found = WinogradConv(weight, bias)(x.movedim(1, -1))
    close(found, F.conv2d(x, weight, bias, padding=1), 3e-5)


def test_winograd_in_a_volume_adds_up_the_planes_beside():
    weight, bias = weights(6, 64, 3, 3)
    x = torch.randn(2, 64, 5, 8, 12)
    found = WinogradConv(weight, bias)(x.movedim(1, -1))
    close(found, F.conv3d(x, weight, bias, padding=1), 3e-5)


@pytest.mark.parametrize("depth, height, width", [(16, 22, 22), (2, 40, 30), (8, 7, 64)])
def test_fourier(depth, height, width):
    weight, bias = weights(5, 12, 7, 3)
    x = torch.randn(2, 12, depth, height, width)
    found = FourierConv(weight, bias)(x.movedim(1, -1))
    close(found, F.conv3d(x, weight, bias, padding=3), 1e-5)


@pytest.mark.parametrize("factor", [2, 4])
def test_repeated_pixels_are_read_once(factor):
    weight, bias = weights(7, 5, 3, 2)
    x = torch.randn(2, 5, 6, 9)
    found = AfterRepetition(weight, bias, factor)(x.movedim(1, -1))
    close(found, F.conv2d(F.interpolate(x, scale_factor=factor), weight, bias, padding=1), 1e-5)


def test_repeated_planes_of_a_volume():
    weight, bias = weights(7, 5, 3, 3)
    x = torch.randn(2, 5, 4, 6, 9)
    found = AfterRepetition(weight, bias, 2)(x.movedim(1, -1))
    repeated = F.interpolate(x, scale_factor=(1, 2, 2))
    close(found, F.conv3d(repeated, weight, bias, padding=1), 1e-5)


def test_which_way_is_taken():
    thin, wide, broad = weights(64, 8, 3, 2), weights(64, 64, 3, 2), weights(4, 64, 7, 3)
    assert isinstance(conv_of(*wide, True), WinogradConv)
    assert isinstance(conv_of(*broad, True), FourierConv)
    for pair in (thin, wide, broad):
        assert isinstance(conv_of(*pair, pair is thin), DirectConv)
    x = torch.randn(1, 8, 8, 8)
    close(conv_of(*thin, True)(x.movedim(1, -1)), F.conv2d(x, *thin, padding=1), 1e-5)
