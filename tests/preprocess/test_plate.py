"""Plates: what is known stays, holes continue it smoothly, and frames lie over it by their mattes."""

from __future__ import annotations

import pytest
import torch

from vasa.geometry import pixel_grid
from vasa.preprocess.plate import Backdrop, background_plate, fill

SIZES = [(64, 64), (37, 50)]


def scene(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A wall that grows lighter from corner to corner (1, 3, H, W), a disc in it (1, 1, H, W), and both."""
    grid = pixel_grid(height, width)
    wall = (grid @ torch.tensor([[0.4, -0.2, 0.1], [0.3, 0.3, -0.5]])).permute(2, 0, 1)[None]
    person = (grid.norm(dim=-1) < 0.5).float()[None, None]
    return wall, person, person * torch.tensor([1.0, -1.0, 1.0]).view(1, 3, 1, 1) + (1 - person) * wall


@pytest.mark.parametrize("size", SIZES)
def test_known_pixels_stay_and_a_hole_in_a_slope_is_filled_by_the_slope(size) -> None:
    wall, hole, picture = scene(*size)
    filled = fill(picture, 1 - hole)
    known = (hole == 0).expand_as(wall)
    assert torch.equal(filled[known], picture[known])
    # Laplace's equation continues a slope exactly; a few steps of diffusion a level come within a tenth of
    # the 1.2 that the wall spans, where the mean of what is known would be 0.35 off.
    assert float((filled - wall).abs().max()) < 0.12
    inside = filled[~known]
    assert float(inside.max()) <= float(wall.max()) and float(inside.min()) >= float(wall.min())


@pytest.mark.parametrize("size", SIZES)
def test_the_plate_shows_nothing_of_the_person_and_all_of_the_rest(size) -> None:
    wall, person, picture = scene(*size)
    plate = background_plate(picture, person)
    assert float((plate - wall).abs().max()) < 0.2
    far = (pixel_grid(*size).norm(dim=-1) > 0.65).expand_as(wall)
    assert torch.equal(plate[far], picture[far])


def test_a_picture_without_any_background_is_its_own_plate() -> None:
    picture = torch.rand(2, 3, 16, 16)
    alpha = torch.ones(2, 1, 16, 16)
    alpha[1] = 0
    alpha[1, :, 4:8, 4:8] = 1
    plate = background_plate(picture, alpha)
    assert torch.equal(plate[0], picture[0])
    assert not torch.equal(plate[1], picture[1])


class TopIsPerson:
    """Fitted, it takes the upper half for the person; a quarter of everything in frames that are light."""

    name = "top"

    def fitted(self, picture: torch.Tensor) -> TopIsPerson:
        return TopIsPerson()

    def alpha(self, images: torch.Tensor) -> torch.Tensor:
        alpha = torch.zeros(len(images), 1, *images.shape[-2:])
        alpha[:, :, : images.shape[-2] // 2] = 1
        return alpha.where(images.mean((1, 2, 3), keepdim=True) < 0.9, torch.tensor(0.25))


def test_frames_lie_over_the_plate_by_their_alpha() -> None:
    backdrop = Backdrop.of(torch.rand(1, 3, 4, 4) - 1, TopIsPerson())
    plate = backdrop.plate
    frames = torch.stack([torch.rand(3, 4, 4), torch.ones(3, 4, 4)])
    out = backdrop.behind(frames)
    assert torch.equal(out[0, :, :2], frames[0, :, :2]) and torch.equal(out[0, :, 2:], plate[0, :, 2:])
    assert torch.allclose(out[1], 0.25 * frames[1] + 0.75 * plate[0])
