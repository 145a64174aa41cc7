"""Head pose from landmarks: exact on the mean face, near on other people, in the units of records.py."""

from __future__ import annotations

import pytest
import torch

from vasa.data.synthetic.heads import make_identities, neutral_landmarks
from vasa.geometry import project
from vasa.pretrained.head_pose import FITTED, MEAN_XYZ, pose_from_landmarks

RANGES = torch.tensor([1.0, 0.7, 0.7, 0.4, 0.4, 0.5])


def poses(count: int) -> torch.Tensor:
    return (torch.rand(count, 6, generator=torch.Generator().manual_seed(3)) - 0.5) * RANGES


def test_poses_of_the_mean_face_are_found_exactly() -> None:
    wanted = poses(12)
    points = torch.zeros(12, 68, 2)
    points[:, FITTED] = project(torch.tensor(MEAN_XYZ), wanted)
    torch.testing.assert_close(pose_from_landmarks(points), wanted, atol=1e-4, rtol=0)


def test_poses_of_other_people_are_found_to_a_few_degrees() -> None:
    """Twelve procedural people: how much their shape, which a fit to the mean cannot know, costs."""
    wanted = poses(12)
    people = neutral_landmarks(make_identities(range(2_500_000, 2_500_012)))
    error = (pose_from_landmarks(project(people, wanted)) - wanted).abs()
    assert (torch.rad2deg(error[:, :3]).mean(0) < torch.tensor([1.5, 3.5, 0.7])).all()
    assert error[:, 3:].mean(0).max() < 0.05


def test_the_mean_points_are_those_of_the_procedural_heads() -> None:
    people = neutral_landmarks(make_identities(range(24)))[:, FITTED]
    assert (people.mean(0) - torch.tensor(MEAN_XYZ)).abs().max() < 0.025  # people spread by up to 0.043


def test_points_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="wanted finite"):
        pose_from_landmarks(torch.full((2, 68, 2), float("nan")))
    with pytest.raises(ValueError, match="wanted finite"):
        pose_from_landmarks(torch.zeros(2, 5, 2))
