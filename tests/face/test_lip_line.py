"""The lip line is found in the picture, whatever a detector believed."""

import pytest
import torch

from vasa.data.synthetic.heads import make_identities, neutral_landmarks
from vasa.data.synthetic.renderer import render
from vasa.face.volumetric.shape import settle_lip_line
from vasa.records import Animation


@pytest.mark.parametrize("shift", [-0.04, 0.0, 0.04])
def test_a_misplaced_mouth_settles_on_the_dark_line(shift):
    people = make_identities(range(6))
    image = render(people, Animation.neutral(6), size=192).image * 2 - 1
    true = neutral_landmarks(people)
    believed = true.clone()
    believed[:, 48:, 1] += shift
    found = settle_lip_line(believed, torch.zeros(6, 6), image)
    error = (found - true)[:, 48:, 1].mean(1)
    assert error.abs().median() < 0.015  # a pixel at 192 px
    assert torch.equal(found[:, :48], believed[:, :48])
