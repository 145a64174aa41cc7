"""Enlarging a picture before it is warped."""

import torch

from vasa.geometry import pixel_grid
from vasa.nn.warp import enlarge_twice, sample_image


def waves(size, shift=0.0, fine=1.5):
    """A picture with waves of pi and more pixels of a 32 px one, sampled at pixel centres."""
    axis = (torch.arange(size) + 0.5) / size * 32 + shift
    return (torch.sin(axis * fine)[None, :] + torch.cos(axis * 0.6)[:, None])[None, None]


def test_new_pixels_lie_a_quarter_pixel_beside_the_old():
    error = (enlarge_twice(waves(32)) - waves(64))[..., 8:-8, 8:-8].abs()
    assert error.max() < 0.05


def test_a_flat_picture_stays_flat_to_its_border():
    torch.testing.assert_close(enlarge_twice(torch.full((1, 3, 6, 6), 0.3)), torch.full((1, 3, 12, 12), 0.3))


def test_sampling_between_pixels_is_nearer_the_truth_after_enlarging():
    sharp, truth = waves(32, fine=2.0), waves(32, shift=0.5, fine=2.0)
    grid = pixel_grid(32, 32)[None] + torch.tensor([0.5 * 2 / 32, 0.5 * 2 / 32])
    plain, enlarged = (sample_image(image, grid, mode="bicubic") for image in (sharp, enlarge_twice(sharp)))

    def error(image):
        return (image - truth)[..., 6:-6, 6:-6].abs().mean()

    assert error(enlarged) < 0.3 * error(plain)
