"""L2CS-Net: the published file by its own names with made-up numbers, and angles that become those of
records.py.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from vasa.checkpoint import CheckpointError
from vasa.geometry import CAMERA_DISTANCE, project_camera, rotation_matrix, to_camera
from vasa.pretrained.l2cs import NUM_BINS, SIZE, L2CSNet, relative_to_head
from vasa.pretrained.vgg import IMAGENET_MEAN


def published(yaw_deg: float, pitch_deg: float) -> dict[str, Tensor]:
    """A file as published: ResNet-50, two heads, and a layer from earlier attempts. It sees nothing, and says
    these angles.
    """
    with torch.device("meta"):
        names = {n: t for n, t in torchvision.models.resnet50().state_dict().items() if n[:3] != "fc."}
    tensors = {n: torch.tensor(float("running_var" in n)).expand(t.shape) for n, t in names.items()}
    for head, degrees in (("yaw", yaw_deg), ("pitch", pitch_deg)):
        bias = torch.zeros(NUM_BINS)
        bias[round((degrees + 180) / 4)] = 60.0
        tensors |= {f"fc_{head}_gaze.weight": torch.zeros(NUM_BINS, 2048), f"fc_{head}_gaze.bias": bias}
    return tensors | {"fc_finetune.weight": torch.zeros(3, 2051), "fc_finetune.bias": torch.zeros(3)}


def level_landmarks() -> Tensor:
    """A box of landmarks (1, 68, 2) whose eyes are in the middle of the picture."""
    points = torch.rand(1, 68, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    points[:, 36:48] -= points[:, 36:48].mean(1, keepdim=True)
    return points


def test_the_published_file_loads_and_its_left_is_our_minus(tmp_path: Path) -> None:
    torch.save(published(20, 8), tmp_path / "L2CSNet_gaze360.pkl")
    network = L2CSNet.from_published(tmp_path / "L2CSNet_gaze360.pkl")
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    image, pose = torch.zeros(1, 3, 64, 64), torch.zeros(1, 6)
    gaze = torch.rad2deg(network.gaze(image, level_landmarks(), pose))
    torch.testing.assert_close(gaze, torch.tensor([[-20.0, 8.0]]), atol=1e-3, rtol=0)
    pose[0, 0] = math.radians(10)  # the head turns to the viewer's right, the eyes stay where they are
    turned = torch.rad2deg(network.gaze(image, level_landmarks(), pose))
    assert turned[0, 0] == pytest.approx(-30, abs=0.2)


def test_the_face_arrives_normalised_at_its_size_and_black_beyond_the_picture() -> None:
    class Seen(L2CSNet):
        def forward(self, pictures: Tensor) -> Tensor:
            self.pictures = pictures
            return torch.zeros(len(pictures), 2)

    network = Seen()
    image = torch.ones(1, 3, 64, 64) * 2 * torch.tensor(IMAGENET_MEAN)[:, None, None] - 1
    points = level_landmarks()
    network.gaze(image, points, torch.zeros(1, 6))
    assert network.pictures.shape == (1, 3, SIZE, SIZE) and network.pictures.abs().max() < 1e-5


def test_another_file_is_refused(tmp_path: Path) -> None:
    tensors = published(0, 0)
    del tensors["fc_yaw_gaze.bias"]
    torch.save(tensors, tmp_path / "other.pkl")
    with pytest.raises(CheckpointError, match="L2CS-Net.*fc_yaw_gaze.bias"):
        L2CSNet.from_published(tmp_path / "other.pkl")
    with pytest.raises(FileNotFoundError, match="L2CS-Net"):
        L2CSNet.from_published(tmp_path / "nothing.pkl")


def test_eyes_on_the_camera_are_so_from_any_place_and_pose() -> None:
    """Angles of 0 mean a look into the lens; the direction from the eyes to it follows from geometry.py."""
    generator = torch.Generator().manual_seed(1)
    poses = (torch.rand(9, 6, generator=generator) - 0.5) * torch.tensor([1.0, 0.6, 0.6, 0.6, 0.6, 0.4])
    eyes = to_camera(torch.tensor([[0.0, 0.01, 0.65]]), poses)[:, 0]
    to_lens = torch.nn.functional.normalize(torch.tensor([0.0, 0.0, CAMERA_DISTANCE]) - eyes, dim=-1)
    x, y, z = (rotation_matrix(poses[:, :3]).transpose(1, 2) @ to_lens[..., None])[..., 0].unbind(-1)
    wanted = torch.stack([torch.atan2(x, z), torch.asin(y)], -1)
    found = relative_to_head(torch.zeros(9, 2), project_camera(eyes), poses)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert wanted.abs().max() > 0.2, "the case is no trivial one"
